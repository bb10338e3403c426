//! Random and mutated bytes, and the decoders that they are thrown at: what tests do for a moment and `benches/fuzz.rs` for minutes.

use rehearsal::compare::{CompareSettings, Drive, Remembered, Rules, compare_drives};
use rehearsal::outcome::Output;
use rehearsal::schema::{
    SchemaKind, SchemaText, Schemas, SubjectVersion, frame, from_message_pack, recognise_message_pack,
};
use rehearsal::spill::SpillSpace;

/// Bytes of JSON that a decoder may make of a value: so many, and 64 for each byte.
const SAID_FREE: usize = 1 << 20;

/// Mutants are cut to this length, which the largest sample does not reach.
const BYTES_MAX: usize = 4_096;

const AVRO: &str = r#"{"type":"record","name":"Node","fields":[
    {"name":"id","type":"long"},{"name":"name","type":"string"},{"name":"next","type":["null","Node"]},
    {"name":"tags","type":{"type":"array","items":"string"}},{"name":"m","type":{"type":"map","values":"double"}},
    {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
    {"name":"kind","type":{"type":"enum","name":"K","symbols":["A","B"]}},
    {"name":"hash","type":{"type":"fixed","name":"F","size":4}},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;
const NULLS: &str = r#"{"type":"array","items":"null"}"#;
const PROTO: &str = r#"syntax = "proto3"; message Node { int64 id = 1; string name = 2; Node next = 3; repeated int32 n = 4;
    map<string, Node> m = 5; oneof one { bytes raw = 6; double d = 7; } repeated sint64 s = 8; fixed32 f = 9; }"#;

/// A decoder with values that it reads.
pub(super) struct Decoder {
    /// Name, such as `avro`.
    pub(super) name: &'static str,
    /// Valid values, from which mutants are made.
    pub(super) samples: Vec<Vec<u8>>,
    decode: Box<dyn Decode>,
}

/// Reads bytes or refuses them; fails where it does what it must never do.
trait Decode: Fn(&[u8]) -> Result<bool, String> {}

impl<F: Fn(&[u8]) -> Result<bool, String>> Decode for F {}

impl Decoder {
    /// Throws bytes at the decoder; says whether it read them.
    ///
    /// # Errors
    ///
    /// What it must never do, as a fragment.
    pub(super) fn throw(&self, bytes: &[u8]) -> Result<bool, String> {
        (self.decode)(bytes)
    }
}

fn framed(id: i32, payload: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), payload].concat()
}

fn schemas() -> Schemas {
    let text = |id, kind, schema: &str| SchemaText {
        id,
        kind,
        schema: schema.to_owned(),
        references: vec![],
        subjects: vec![SubjectVersion { subject: format!("s{id}"), version: 1 }],
    };
    Schemas::new([
        text(1, SchemaKind::Avro, AVRO),
        text(2, SchemaKind::Avro, NULLS),
        text(3, SchemaKind::Protobuf, PROTO),
        text(4, SchemaKind::Json, "{}"),
    ])
}

/// Every decoder of values.
pub(super) fn decoders() -> Vec<Decoder> {
    let schemas = schemas();
    let mut decoders = vec![
        described("avro", framed_samples(1, &avro_samples()), &schemas),
        described(
            "avro of nulls",
            framed_samples(2, &[b"\x00".to_vec(), b"\x06\x00".to_vec(), b"\x05\x02\x00".to_vec()]),
            &schemas,
        ),
        described("protobuf", framed_samples(3, &proto_samples()), &schemas),
        described("json schema", framed_samples(4, &json_samples()), &schemas),
        Decoder { name: "message-pack", samples: message_pack_samples(), decode: Box::new(message_pack) },
    ];
    for (name, schema) in [("avro without a frame", "s1"), ("protobuf without a frame", "s3")] {
        let described = schemas.described(schema, None).unwrap();
        let samples =
            if schema == "s1" { avro_samples() } else { proto_samples().iter().map(|one| one[1..].to_vec()).collect() };
        let decode = move |bytes: &[u8]| match described.decode(bytes) {
            Ok(said) => is_bounded_json(&said, bytes.len()).map(|()| true),
            Err(_) => Ok(false),
        };
        decoders.push(Decoder { name, samples, decode: Box::new(decode) });
    }
    decoders.extend(comparisons(&schemas));
    decoders
}

fn framed_samples(id: i32, payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
    payloads.iter().map(|payload| framed(id, payload)).collect()
}

fn avro_samples() -> Vec<Vec<u8>> {
    let tail = b"\x02\x02a\x00\x02\x02k\0\0\0\0\0\0\xf0\x3f\x00\x04\x01\xf4\x02\x01\x02\x03\x04\x80\x01";
    let leaf = [&b"\x02\x04ab\x00"[..], tail].concat();
    let nested = [&b"\x03\x02c\x02"[..], &leaf, tail].concat();
    let block = b"\x02\x00\x00\x01\x04\x02a\x00\x00\x00\x00\x01\x02\x03\x04\x00".to_vec();
    vec![leaf, nested, block]
}

fn proto_samples() -> Vec<Vec<u8>> {
    let leaf =
        b"\x08\x96\x01\x12\x02ab\x22\x03\x01\x02\x03\x32\x02\xff\x00\x42\x02\x01\x02\x4d\x01\x00\x00\x00".to_vec();
    let nested = [&b"\x1a\x19"[..], &leaf, b"\x2a\x05\x0a\x01k\x12\x00\xa2\x06\x01x"].concat();
    [leaf, nested].map(|message| [&[0][..], &message].concat()).to_vec()
}

fn json_samples() -> Vec<Vec<u8>> {
    [
        r#"{"id":"\u00e9\ud83d\ude00","n":[1,-2.50e3,0.1,12345678901234567890],"a":{"at":"2013-01-05T00:00:00Z","b":null}}"#,
        r#"[{"sku":"a","n":1},{"sku":"b","n":2},{"sku":"a","n":3}]"#,
        r#" { "a" : true , "a" : false , "text" : "req-1f took 5 ms" } "#,
        "1e300",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn message_pack_samples() -> Vec<Vec<u8>> {
    [
        &b"\x83\xa2id\x07\xa1n\x93\xcd\x01\x00\xcb\x3f\xf0\0\0\0\0\0\0\xd3\xff\xff\xff\xff\xff\xff\xff\xff\xa1b\xc4\x02\xff\x00"[..],
        b"\xde\x00\x02\x01\xd6\xff\x50\xe7\x6d\x00\x92\x01\x02\xda\x00\x01a",
        b"\xdd\x00\x00\x00\x02\xc7\x03\x05abc\xca\x7f\xc0\0\0",
        b"\x81\x81\x01\x02\x03",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// What a registry's schemas describe: read, and written again as it was.
fn described(name: &'static str, samples: Vec<Vec<u8>>, schemas: &Schemas) -> Decoder {
    let schemas = schemas.clone();
    let decode = move |bytes: &[u8]| {
        let (frame_of, rest) = schemas.unframed(bytes);
        if [frame_of, rest].concat() != bytes {
            return Err("the frame and what it frames are not the value".to_owned());
        }
        if frame(bytes).is_some_and(|framed| framed.id <= 0) {
            return Err("a frame of no id".to_owned());
        }
        let Ok(said) = schemas.decode(bytes) else { return Ok(false) };
        is_bounded_json(&said, bytes.len())?;
        let Ok(tree) = schemas.decode_value(bytes) else { return Ok(true) };
        match schemas.encode(bytes, &tree) {
            Ok(again) if again == bytes => Ok(true),
            Ok(again) => Err(format!("written again as it was it has other bytes: {again:x?}")),
            Err(error) => Err(format!("cannot be written again as it was: {error}")),
        }
    };
    Decoder { name, samples, decode: Box::new(decode) }
}

fn message_pack(bytes: &[u8]) -> Result<bool, String> {
    let recognised = recognise_message_pack(bytes);
    match from_message_pack(bytes) {
        Ok(said) if recognised.as_ref().is_some_and(|other| *other != said) => {
            Err("recognised as another value".to_owned())
        }
        Ok(said) => is_bounded_json(&said, bytes.len()).map(|()| true),
        Err(_) if recognised.is_some() => Err("recognised and yet not read".to_owned()),
        Err(_) => Ok(false),
    }
}

/// What was decoded is JSON, and not larger than its bound.
fn is_bounded_json(said: &[u8], bytes: usize) -> Result<(), String> {
    if said.len() > SAID_FREE + 64 * bytes {
        return Err(format!("{} bytes of JSON from {bytes}", said.len()));
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(said) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("what was decoded is no JSON: {error}")),
    }
}

/// Whole comparisons, which read JSON by a scanner and a tree of their own, bring it into shape and show what differs.
fn comparisons(schemas: &Schemas) -> Vec<Decoder> {
    let shapes = "set = ['$..n']
        keyed-by = [{ path = '$', key = '$.sku' }]
        normalise = [{ path = '$.a.at', as = 'timestamp' }, { path = '$..b', as = 'decimal' }]
        mask-regex = [{ path = '$.text', pattern = '[0-9]+ ms' }]
        ignore = ['$..k', '$.items[?@.x == 1]']
        tolerance = [{ path = '$..d', absolute = 1 }]
        identity = ['$.id']";
    let declared = |form: &str| format!("[topics.t]\nvalue = '{form}'");
    let mixed = || [json_samples(), message_pack_samples(), framed_samples(1, &avro_samples())].concat();
    let of = |name, toml: &str, samples: Vec<Vec<u8>>| {
        let rules = toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap().with_schemas(schemas.clone());
        let first = samples[0].clone();
        let decode = move |bytes: &[u8]| compares(&first, bytes, &rules).map(|()| true);
        Decoder { name, samples, decode: Box::new(decode) }
    };
    vec![
        of("comparison", "", mixed()),
        of("comparison by rules", shapes, mixed()),
        of("comparison of json", &declared("json"), json_samples()),
        of("comparison of message-pack", &declared("message-pack"), message_pack_samples()),
        of("comparison of text", &declared("text"), json_samples()),
        of("comparison of bytes", &declared("bytes"), mixed()),
    ]
}

/// Comparing a value with itself agrees; comparing it with another mirrors when sides are swapped.
fn compares(one: &[u8], other: &[u8], rules: &Rules) -> Result<(), String> {
    let drive = |value: &[u8]| {
        let output = Output {
            topic: "t".to_owned(),
            key: Some(b"k".to_vec()),
            value: Some(value.to_vec()),
            ..Output::default()
        };
        Remembered::finished(vec![output])
    };
    let compared = |old: &[u8], new: &[u8]| {
        let (old, new) = (drive(old), drive(new));
        compare_drives(&[&old as &dyn Drive], &[&new as &dyn Drive], rules, None, &SpillSpace::system())
            .map_err(|error| error.to_string())
    };
    let same = compared(other, other)?;
    if same.matched != 1 || !same.patterns.is_empty() {
        return Err(format!("it differs from itself: {:?}", same.patterns));
    }
    let (there, back) = (compared(one, other)?, compared(other, one)?);
    if there.matched != back.matched {
        return Err(format!("{} matched one way, {} the other", there.matched, back.matched));
    }
    let shown = serde_json::to_string(&there).map_err(|error| error.to_string())?;
    // Two values of four KiB at most a pattern's example, and what is said of them.
    if shown.len() > 256 << 10 {
        return Err(format!("{} bytes to show two values", shown.len()));
    }
    Ok(())
}

/// Numbers that follow from a seed alone.
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits, by splitmix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// What lengths and counts are easily mistaken for.
const NASTY: [&[u8]; 12] = [
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\x7f\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"1e999999999999999999",
    b"\\ud800",
    b"\x00",
];

/// What nests.
const NESTS: [&[u8]; 7] = [b"[", b"{\"a\":", b"\x91", b"\x81\xa1a", b"\x81\x81", b"\x1a\x7f", b"\x02\x02c\x02"];

/// Makes bytes of the samples of a decoder: flipped, cut, extended, repeated, nested, spliced, or made up.
pub(super) fn mutant(samples: &[Vec<u8>], draws: &mut Draws) -> Vec<u8> {
    if draws.below(12) == 0 {
        let length = draws.below(64);
        return (0..length).map(|_| draws.next() as u8).collect();
    }
    let mut bytes = samples[draws.below(samples.len())].clone();
    for _ in 0..=draws.below(4) {
        mutate(&mut bytes, samples, draws);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn mutate(bytes: &mut Vec<u8>, samples: &[Vec<u8>], draws: &mut Draws) {
    let at = draws.below(bytes.len());
    let length = draws.below(9).min(bytes.len().saturating_sub(at));
    match draws.below(10) {
        0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << draws.below(8),
        2 if !bytes.is_empty() => bytes[at] = draws.next() as u8,
        3 => bytes.truncate(at),
        4 => bytes.extend((0..draws.below(16)).map(|_| draws.next() as u8).collect::<Vec<_>>()),
        5 => _ = bytes.drain(at..at + length),
        6 => {
            let part = bytes[at..at + length].to_vec();
            let copies = 1 + draws.below(40);
            bytes.splice(at..at, part.repeat(copies));
        }
        7 => {
            let nasty = NASTY[draws.below(NASTY.len())];
            let over = if draws.below(2) == 0 { nasty.len().min(bytes.len().saturating_sub(at)) } else { 0 };
            bytes.splice(at..at + over, nasty.iter().copied());
        }
        8 => {
            let nest = NESTS[draws.below(NESTS.len())].repeat(1 + draws.below(300));
            bytes.splice(at..at, nest);
        }
        _ => {
            let other = &samples[draws.below(samples.len())];
            let from = draws.below(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}
