//! Values of every form: read as what they are declared or recognised to be, compared by path, line or region.

use std::collections::{BTreeMap, BTreeSet};

use rehearsal::compare::{
    Apart, Change, CompareError, CompareSettings, Comparison, Drive, Expectations, ExpectedSettings, Facts,
    FidelityBounds, Gates, Judgement, Kind, Remembered, Row, Rules, Standing, Verdict, compare_drives, judge, settle,
};
use rehearsal::outcome::{Ending, EndingReport, Output, Receipt};
use rehearsal::report::{Format, Report, render};
use rehearsal::schema::{SchemaKind, SchemaText, Schemas, SubjectVersion};
use rehearsal::spill::SpillSpace;

use super::schema::framed;

const AVRO: &str =
    r#"{"type":"record","name":"Payout","fields":[{"name":"amount","type":"long"},{"name":"to","type":"string"}]}"#;
/// The same in another version: a field more, which values here leave out of what they say by its default.
const AVRO_AGAIN: &str = r#"{"type":"record","name":"Payout","doc":"again","fields":[{"name":"amount","type":"long"},{"name":"to","type":"string"}]}"#;
const PROTO: &str =
    "syntax = \"proto3\"; message Other { string x = 1; } message Payout { int64 amount = 1; string to = 2; }";

fn schemas() -> Schemas {
    let text = |id, kind, schema: &str, subject: &str, version| SchemaText {
        id,
        kind,
        schema: schema.to_owned(),
        references: vec![],
        subjects: vec![SubjectVersion { subject: subject.to_owned(), version }],
    };
    Schemas::new([
        text(11, SchemaKind::Avro, AVRO, "payouts-value", 1),
        text(12, SchemaKind::Avro, AVRO_AGAIN, "payouts-value", 2),
        text(21, SchemaKind::Protobuf, PROTO, "proto-value", 1),
        text(22, SchemaKind::Protobuf, &format!("{PROTO} message Third {{}}"), "proto-value", 2),
        text(31, SchemaKind::Json, "{}", "json-value", 1),
        text(32, SchemaKind::Json, "{\"type\":\"object\"}", "json-value", 2),
    ])
}

fn drive(values: &[Vec<u8>]) -> Remembered {
    let output = |(at, value): (usize, &Vec<u8>)| Output {
        sequence: at as i64,
        topic: "payouts".to_owned(),
        key: Some(format!("k{at}").into_bytes()),
        value: Some(value.clone()),
        ..Output::default()
    };
    Remembered::finished(values.iter().enumerate().map(output).collect())
}

fn rules(toml: &str) -> Rules {
    let rules = toml::from_str::<CompareSettings>(toml).unwrap().check().unwrap().with_schemas(schemas());
    rules.check_schemas().unwrap();
    rules
}

fn compared(toml: &str, old: &[Vec<u8>], new: &[Vec<u8>]) -> Comparison {
    let (old, new) = (drive(old), drive(new));
    compare_drives(&[&old as &dyn Drive], &[&new as &dyn Drive], &rules(toml), None, &SpillSpace::system()).unwrap()
}

fn found(toml: &str, old: &[u8], new: &[u8]) -> Vec<(Kind, Option<String>, Option<Change>)> {
    let comparison = compared(toml, &[old.to_vec()], &[new.to_vec()]);
    comparison.patterns.into_iter().map(|pattern| (pattern.kind, pattern.path, pattern.change)).collect()
}

fn changed(path: &str, change: Change) -> Vec<(Kind, Option<String>, Option<Change>)> {
    vec![(Kind::Changed, Some(path.to_owned()), Some(change))]
}

fn encoding() -> Vec<(Kind, Option<String>, Option<Change>)> {
    vec![(Kind::Changed, None, Some(Change::Encoding))]
}

fn metadata(change: Change) -> Vec<(Kind, Option<String>, Option<Change>)> {
    vec![(Kind::Metadata, None, Some(change))]
}

fn declared(form: &str) -> String {
    format!("[topics.payouts]\nvalue = '{form}'")
}

/// An Avro payout, without its frame.
fn avro(amount: u8, to: &str) -> Vec<u8> {
    [&[amount * 2, to.len() as u8 * 2], to.as_bytes()].concat()
}

/// A Protobuf payout, without indices and frame.
fn proto(amount: u8, to: &str) -> Vec<u8> {
    [&[8, amount, 0x12, to.len() as u8], to.as_bytes()].concat()
}

#[test]
fn message_pack_is_compared_by_path_whether_declared_or_recognised() {
    let old = b"\x82\xa1a\x07\xa1b\x92\x01\x02";
    for toml in [String::new(), declared("message-pack")] {
        assert_eq!(found(&toml, old, old), []);
        assert_eq!(found(&toml, old, b"\x82\xa1a\x08\xa1b\x92\x01\x02"), changed("$.a", Change::Value));
        assert_eq!(found(&toml, old, b"\x82\xa1a\x07\xa1b\x91\x01"), changed("$.b[*]", Change::Removed));
        // Another encoding of a number, another order of members: the same value.
        assert_eq!(found(&toml, old, b"\x82\xa1a\xd3\0\0\0\0\0\0\0\x07\xa1b\x92\x01\x02"), encoding());
        assert_eq!(found(&toml, old, b"\x82\xa1b\x92\x01\x02\xa1a\x07"), encoding());
        assert_eq!(found(&toml, old, b"\xde\x00\x02\xa1a\x07\xa1b\x92\x01\x02"), encoding());
        // A key that is a number is another member than one that is text.
        assert_eq!(found(&toml, b"\x81\x01\x07", b"\x81\xa11\x07"), changed("$['@1']", Change::Renamed));
        assert_eq!(found(&toml, b"\x91\xca\x7f\xc0\0\0", b"\x91\xa3NaN"), changed("$[*]", Change::Type));
        let ignoring = format!("ignore = ['$.a']\n{toml}");
        assert_eq!(found(&ignoring, old, b"\x82\xa1a\x08\xa1b\x92\x01\x02"), []);
        let tolerating = format!("tolerance = [{{ path = '$.a', absolute = 1 }}]\n{toml}");
        assert_eq!(found(&tolerating, old, b"\x82\xa1a\x08\xa1b\x92\x01\x02"), []);
        assert_eq!(found(&tolerating, old, b"\x82\xa1a\x09\xa1b\x92\x01\x02"), changed("$.a", Change::Value));
    }
    // A number alone is MessagePack only where that is said.
    assert_eq!(found(&declared("message-pack"), b"\xcc\xf0", b"\xcd\x00\xf0"), encoding());
    assert_eq!(found("", b"\xcc\xf0", b"\xcd\x00\xf0"), changed("$", Change::Value));
    assert_eq!(found("bytes = true", old, b"\x82\xa1b\x92\x01\x02\xa1a\x07"), encoding());
}

#[test]
fn identities_are_found_in_message_pack() {
    let value = |id: u8, n: u8| vec![0x82, 0xA2, b'i', b'd', id, 0xA1, b'n', n];
    let comparison = compared("identity = ['$.id']", &[value(1, 1), value(2, 2)], &[value(2, 2), value(1, 5)]);
    let patterns: Vec<_> = comparison.patterns.iter().map(|one| (one.kind, one.path.as_deref())).collect();
    assert!(patterns.contains(&(Kind::Changed, Some("$.n"))), "{patterns:?}");
    assert_eq!(comparison.patterns.iter().find(|one| one.kind == Kind::Changed).unwrap().examples[0].identity, "1");
}

#[test]
fn the_same_value_in_other_bytes_is_told_as_such_in_every_form() {
    // An array of Avro in one block or in two is of no schema here; an order of fields in Protobuf is.
    let order = |payload: &[u8]| framed(21, &[&[2, 2][..], payload].concat());
    let (one, other) = (order(b"\x08\x07\x12\x01a"), order(b"\x12\x01a\x08\x07"));
    assert_eq!(found("", &one, &other), encoding());
    let comparison = compared("", std::slice::from_ref(&one), std::slice::from_ref(&other));
    assert!(comparison.patterns[0].information);
    let comparison = compared("bytes = true", &[one], &[other]);
    assert!(!comparison.patterns[0].information);
    for identity in ["", "identity = ['$.a']"] {
        assert_eq!(found(identity, b"{\"a\":1,\"b\":2}", b"{\"a\":1, \"b\":2}"), encoding(), "{identity}");
        assert_eq!(found(identity, b"{\"a\":1,\"b\":2}", b"{\"a\":1,\"b\":2}"), [], "{identity}");
    }
}

#[test]
fn another_schema_id_is_metadata_in_every_kind_of_schema() {
    let amounts = |amount| {
        [
            [framed(11, &avro(amount, "a")), framed(12, &avro(amount, "a"))],
            [
                framed(21, &[&b"\x02\x02"[..], &proto(amount, "a")].concat()),
                framed(22, &[&b"\x02\x02"[..], &proto(amount, "a")].concat()),
            ],
            [
                framed(31, format!("{{\"amount\":{amount}}}").as_bytes()),
                framed(32, format!("{{\"amount\":{amount}}}").as_bytes()),
            ],
        ]
    };
    for (before, after) in amounts(7).iter().zip(&amounts(8)) {
        assert_eq!(found("", &before[0], &before[0]), []);
        assert_eq!(found("", &before[0], &before[1]), metadata(Change::Encoding));
        assert_eq!(found("", &before[1], &before[0]), metadata(Change::Encoding));
        // What says something else is changed, whatever frames it.
        assert_eq!(found("", &before[0], &after[0]), changed("$.amount", Change::Value));
        assert_eq!(found("", &before[0], &after[1]), changed("$.amount", Change::Value));
    }
    // JSON says by itself what it is; other bytes behind ids that nobody knows do not.
    assert_eq!(found("", &framed(98, b"{\"a\":1}"), &framed(99, b"{\"a\":1}")), metadata(Change::Encoding));
    assert_eq!(found("", &framed(98, b"\x02\x04"), &framed(99, b"\x02\x04")), metadata(Change::UnknownSchema));
    assert_eq!(found("", &framed(98, b"\x02\x04"), &framed(98, b"\x02\x04")), []);
    assert_eq!(
        found(&declared("bytes"), &framed(98, b"\x02\x04"), &framed(99, b"\x02\x04")),
        changed("$[4:8]", Change::Value)
    );
    // A number of eight bytes is no frame, nor is an id of zero.
    assert_eq!(found("", &7_u64.to_be_bytes(), &8_u64.to_be_bytes()), changed("$[4:8]", Change::Value));
    assert_eq!(found("", b"\0\0\0\0\0\x01", b"\0\xff\0\0\0\x01"), changed("$[0:4]", Change::Value));
}

/// A drive whose registry knows schemas that no recording has.
struct Registering {
    drive: Remembered,
    schemas: Vec<SchemaText>,
}

impl Drive for Registering {
    fn ending(&self) -> Ending {
        self.drive.ending()
    }

    fn schemas(&self) -> &[SchemaText] {
        &self.schemas
    }

    fn each(
        &self,
        ignored: &BTreeSet<String>,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        self.drive.each(ignored, take)
    }

    fn at(
        &self,
        sequences: &[i64],
        take: &mut dyn FnMut(Output) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        self.drive.at(sequences, take)
    }

    fn receipts(&self, take: &mut dyn FnMut(&str, &Receipt) -> Result<(), CompareError>) -> Result<bool, CompareError> {
        self.drive.receipts(take)
    }
}

#[test]
fn values_are_read_by_the_schemas_that_their_drives_registered() {
    const NEXT: &str = r#"{"type":"record","name":"Payout","fields":[{"name":"amount","type":"long"},{"name":"to","type":"string"},{"name":"fee","type":"long","default":0}]}"#;
    let text = |id, schema: &str| SchemaText {
        id,
        kind: SchemaKind::Avro,
        schema: schema.to_owned(),
        references: vec![],
        subjects: vec![],
    };
    let found = |old: (&[u8], Vec<SchemaText>), new: (&[u8], Vec<SchemaText>)| {
        let drive =
            |(value, schemas): (&[u8], Vec<SchemaText>)| Registering { drive: drive(&[value.to_vec()]), schemas };
        let (old, new) = (drive(old), drive(new));
        let found =
            compare_drives(&[&old as &dyn Drive], &[&new as &dyn Drive], &rules(""), None, &SpillSpace::system());
        let patterns = found.unwrap().patterns.into_iter();
        patterns.map(|pattern| (pattern.kind, pattern.path, pattern.change)).collect::<Vec<_>>()
    };
    let with_fee = |amount, fee: u8| [avro(amount, "a"), vec![fee]].concat();
    let recorded = framed(11, &avro(7, "a"));
    // New registered a schema of its own: one field more is one field more, and no bytes that nobody reads.
    let new = framed(900, &with_fee(7, 4));
    let more = found((&recorded, vec![]), (&new, vec![text(900, NEXT)]));
    assert!(more.iter().any(|(_, path, _)| path.as_deref() == Some("$.fee")), "{more:?}");
    assert!(more.iter().all(|(_, _, change)| *change != Some(Change::UnknownSchema)), "{more:?}");
    // Both registered the same, each its own way of writing it down.
    let old = framed(900, &with_fee(7, 4));
    let spelled = NEXT.replace(',', ", ");
    assert_eq!(found((&old, vec![text(900, NEXT)]), (&new, vec![text(900, &spelled)])), []);
    let dearer = framed(900, &with_fee(8, 4));
    let changes = found((&old, vec![text(900, NEXT)]), (&dearer, vec![text(900, &spelled)]));
    assert_eq!(changes, changed("$.amount", Change::Value));
    // One id for two schemas is nobody's: nothing is read by either, and nobody can tell.
    let changes = found((&old, vec![text(900, NEXT)]), (&dearer, vec![text(900, AVRO)]));
    assert_eq!(changes, changed("$", Change::Value));
    // What nobody wrote down stays bytes.
    let changes = found((&recorded, vec![]), (&new, vec![]));
    assert_eq!(changes, changed("$", Change::Type));
}

/// Says of a comparison what a run would.
fn judged(mut comparison: Comparison) -> (Judgement, Comparison) {
    let gates = Gates::default();
    settle(&mut comparison, &gates);
    let endings = ["old", "new"].map(|drive| (drive.to_owned(), EndingReport::new(Ending::Finished, ""))).into();
    let facts = Facts {
        comparison: &comparison,
        endings: &endings,
        plan: None,
        fired: &BTreeMap::new(),
        paced: false,
        bounds: FidelityBounds::default(),
    };
    (judge(&facts, &gates), comparison)
}

#[test]
fn bytes_behind_schema_ids_that_nobody_knows_give_no_verdict() {
    let verdict = |toml: &str, old: &[u8], new: &[u8]| {
        let (judgement, _) = judged(compared(toml, &[old.to_vec()], &[new.to_vec()]));
        (judgement.verdict, judgement.reasons.join(" "))
    };
    let (kind, reasons) = verdict("", &framed(98, b"\x02\x04"), &framed(99, b"\x02\x04"));
    assert_eq!(kind, Verdict::NoVerdict);
    assert!(reasons.contains("1 output in payouts") && reasons.contains("another schema id"), "{reasons}");
    assert_eq!(verdict("", &framed(98, b"\x02\x04"), &framed(98, b"\x02\x04")).0, Verdict::Agree);
    assert_eq!(verdict("", &framed(11, &avro(7, "a")), &framed(12, &avro(7, "a"))).0, Verdict::Agree);
}

#[test]
fn what_is_not_of_the_declared_form_is_malformed_on_either_side() {
    let cases = [
        ("json", b"{\"a\":1}".to_vec(), b"{\"a\":1".to_vec()),
        ("json", framed(31, b"{\"a\":1}"), framed(31, b"{\"a\":")),
        ("avro", framed(11, &avro(7, "a")), framed(11, b"\x0e")),
        ("avro", framed(11, &avro(7, "a")), framed(99, &avro(7, "a"))),
        ("avro", framed(11, &avro(7, "a")), framed(21, &[&b"\x02\x02"[..], &proto(7, "a")].concat())),
        ("avro", framed(11, &avro(7, "a")), b"{\"a\":1}".to_vec()),
        ("protobuf", framed(21, &[&b"\x02\x02"[..], &proto(7, "a")].concat()), framed(21, b"\x02\x02\x08")),
        ("protobuf", framed(21, &[&b"\x02\x02"[..], &proto(7, "a")].concat()), framed(11, &avro(7, "a"))),
        ("message-pack", b"\x81\xa1a\x01".to_vec(), b"\x81\xa1a".to_vec()),
        ("message-pack", b"\x81\xa1a\x01".to_vec(), b"\x81\xa1a\x01\x01".to_vec()),
        ("text", b"\xc3\xa9".to_vec(), b"\xc3".to_vec()),
    ];
    for (form, good, bad) in cases {
        let toml = declared(form);
        assert_eq!(found(&toml, &good, &good), [], "{form}");
        let kinds = |old: &[u8], new: &[u8]| {
            let comparison = compared(&toml, &[old.to_vec()], &[new.to_vec()]);
            (comparison.differences.get(&Kind::Malformed).copied(), comparison.unreadable, comparison.matched)
        };
        let (malformed, unreadable, _) = kinds(&good, &bad);
        assert_eq!((malformed, unreadable["old"], unreadable["new"]), (Some(1), 0, 1), "{form} {bad:x?}");
        // What only old has is mended by new; what both have is no difference, and no output that could be read.
        let comparison = compared(&toml, std::slice::from_ref(&bad), std::slice::from_ref(&good));
        let mended = comparison.patterns.iter().find(|pattern| pattern.kind == Kind::Malformed).unwrap();
        assert!(mended.information && mended.change == Some(Change::Removed), "{form}");
        let (malformed, unreadable, matched) = kinds(&bad, &bad);
        assert_eq!((malformed, unreadable["old"], unreadable["new"], matched), (None, 1, 1, 1), "{form}");
        let (judgement, _) = judged(compared(&toml, std::slice::from_ref(&bad), std::slice::from_ref(&bad)));
        assert_eq!(judgement.verdict, Verdict::NoVerdict, "{form}: {:?}", judgement.reasons);
        // Where nothing is declared, nothing is malformed.
        assert_eq!(compared("", &[good], &[bad]).differences.get(&Kind::Malformed), None, "{form}");
    }
}

#[test]
fn values_that_nothing_frames_are_read_by_the_schema_that_is_named() {
    for schema in ["payouts-value", "12", "11"] {
        let toml = format!("{}\nschema = '{schema}'", declared("avro"));
        assert_eq!(found(&toml, &avro(7, "a"), &avro(7, "a")), []);
        assert_eq!(found(&toml, &avro(7, "a"), &avro(8, "a")), changed("$.amount", Change::Value));
    }
    let toml = format!("{}\nschema = 'proto-value'\nmessage = 'Payout'", declared("protobuf"));
    assert_eq!(found(&toml, &proto(7, "a"), &proto(7, "b")), changed("$.to", Change::Value));
    let first = format!("{}\nschema = 'proto-value'", declared("protobuf"));
    assert_eq!(found(&first, b"\x0a\x01a", b"\x0a\x01b"), changed("$.x", Change::Value));
    let malformed = compared(&toml, &[proto(7, "a")], &[b"\x08".to_vec()]);
    assert_eq!(malformed.differences.get(&Kind::Malformed), Some(&1));
}

#[test]
fn a_schema_that_is_named_and_not_kept_is_an_error_with_the_nearest_name() {
    for (toml, key, problem, instead) in [
        ("value = 'avro'\nschema = 'payout-value'", "schema", "keeps no Avro schema `payout-value`", "`payouts-value`"),
        ("value = 'avro'\nschema = '7'", "schema", "keeps no Avro schema `7`", "payouts-value"),
        ("value = 'protobuf'\nschema = 'payouts-value'", "schema", "no Protobuf schema", "Is it `payouts-value`?"),
        ("value = 'protobuf'\nschema = '21'\nmessage = 'Nope'", "schema", "with a message Nope", "proto-value"),
    ] {
        let settings: CompareSettings = toml::from_str(&format!("[topics.payouts]\n{toml}")).unwrap();
        let error = settings.check().unwrap().with_schemas(schemas()).check_schemas().unwrap_err();
        assert_eq!(error.key, format!("compare.topics.payouts.{key}"));
        assert!(error.problem.contains(problem) && error.instead.contains(instead), "{error:?}");
    }
    for (toml, key) in [
        ("schema = '7'", "schema"),
        ("value = 'json'\nschema = '7'", "schema"),
        ("value = 'avro'\nschema = '7'\nmessage = 'M'", "message"),
        ("value = 'protobuf'\nmessage = 'M'", "message"),
    ] {
        let settings: CompareSettings = toml::from_str(&format!("[topics.payouts]\n{toml}")).unwrap();
        assert_eq!(settings.check().unwrap_err().key, format!("compare.topics.payouts.{key}"));
    }
    assert!(toml::from_str::<CompareSettings>("[topics.payouts]\nvalue = 'messagepack'").is_err());
}

#[test]
fn text_and_bytes_are_what_they_are_declared_to_be() {
    // As text, numbers that are equal are not the same.
    assert_eq!(found("", b"1.0", b"1"), encoding());
    assert_eq!(found(&declared("text"), b"1.0", b"1"), changed("$", Change::Value));
    assert_eq!(found(&declared("bytes"), b"1.00", b"1.01"), changed("$", Change::Value));
    assert_eq!(found(&declared("text"), b"{\"a\":1}", b"{\"a\":2}"), changed("$", Change::Value));
    assert_eq!(found(&declared("text"), b"a\nb", b"a\nb"), []);
    let masked = "[topics.payouts]\nvalue = 'text'\nmask-regex = [{ path = '$', pattern = '[0-9]+ ms' }]";
    assert_eq!(found(masked, b"took 5 ms", b"took 70 ms"), []);
    assert_eq!(found(masked, b"took 5 ms", b"needed 70 ms"), changed("$", Change::Value));
}

fn example(toml: &str, old: &[u8], new: &[u8]) -> (Option<Apart>, Option<String>) {
    let comparison = compared(toml, &[old.to_vec()], &[new.to_vec()]);
    let example = comparison.patterns[0].examples[0].clone();
    (example.apart, example.old.unwrap().value)
}

#[test]
fn values_are_shown_as_what_they_say() {
    assert_eq!(example("", b"\x81\xa1a\x01", b"\x81\xa1a\x02"), (None, Some("{\"a\":1}".to_owned())));
    assert_eq!(example(&declared("text"), b"\"a\"", b"b"), (None, Some("\"a\"".to_owned())));
    assert_eq!(example("", b"\xff\x01", b"\xff\x02").1, Some("0xff01".to_owned()));
}

#[test]
fn bytes_that_differ_are_grouped_by_region_and_never_into_many_patterns() {
    let value = |seed: u64, field: u64, length: usize| -> Vec<u8> {
        let mut value: Vec<u8> = (0..length).map(|at| 0x80 | (seed as u8).wrapping_add(at as u8)).collect();
        value[4..8].copy_from_slice(&(field as u32 | 0x8000_0000).to_be_bytes());
        value
    };
    let olds: Vec<Vec<u8>> = (0..200).map(|seed| value(seed, seed, 100)).collect();
    let news: Vec<Vec<u8>> = (0..200).map(|seed| value(seed, seed + 1_000, 100)).collect();
    let comparison = compared("", &olds, &news);
    let [pattern] = &comparison.patterns[..] else { panic!("{:?}", comparison.patterns) };
    assert_eq!((pattern.path.as_deref(), pattern.count), (Some("$[4:8]"), 200));
    // Bytes that have nothing in common are one pattern.
    let noise = |seed: u64| -> Vec<u8> {
        (0..300_u64)
            .map(|at| {
                (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left((at % 64) as u32) ^ (at * 167)) as u8 | 0x80
            })
            .collect()
    };
    let olds: Vec<Vec<u8>> = (1..200).map(noise).collect();
    let news: Vec<Vec<u8>> = (1_001..1_200).map(noise).collect();
    let comparison = compared("", &olds, &news);
    let paths: Vec<_> = comparison.patterns.iter().map(|pattern| (pattern.path.as_deref(), pattern.count)).collect();
    assert_eq!(paths, [(Some("$"), 199)]);
}

#[test]
fn a_region_that_is_expected_to_differ_is_covered_and_another_is_not() {
    let expected: Vec<ExpectedSettings> = toml::from_str::<BTreeMap<String, Vec<ExpectedSettings>>>(
        "[[expected]]\npath = '$[4:8]'\nchange = 'value'\nbecause = 'PAY-1'",
    )
    .unwrap()
    .remove("expected")
    .unwrap();
    let rules = rules("").with_expected(Expectations::check(&expected, &[], 20_000).unwrap());
    let standing = |new: &[u8]| {
        let (old, new) = (drive(&[b"\xff1234567890".to_vec()]), drive(&[new.to_vec()]));
        let found = compare_drives(&[&old as &dyn Drive], &[&new as &dyn Drive], &rules, None, &SpillSpace::system());
        let found = found.unwrap().patterns.into_iter().map(|pattern| (pattern.path.unwrap(), pattern.expected_by));
        found.collect::<Vec<_>>()
    };
    assert_eq!(standing(b"\xff1234X67890"), [("$[4:8]".to_owned(), Some(0))]);
    assert_eq!(standing(b"\xff123456789X"), [("$[8:12]".to_owned(), None)]);
}

/// The report of a comparison, as a run would make it.
fn report(comparison: Comparison) -> Report {
    let (judgement, mut comparison) = judged(comparison);
    // With more drives of old it would be; a summary shows examples of what is proven alone.
    comparison.patterns[0].standing = Standing::Proven;
    Report { verdict: judgement.verdict, patterns: comparison.patterns, ..super::report::fixture::differ() }
}

#[test]
fn bytes_are_shown_in_hex_in_every_format() {
    let old: Vec<u8> = (0x80..0xC0).collect();
    let mut new = old.clone();
    new[18] = b'A';
    let report = report(compared("", &[old], &[new]));
    let [terminal, markdown, junit, html, json] =
        [Format::Terminal, Format::Markdown, Format::Junit, Format::Html, Format::Json]
            .map(|format| render(&report, format));
    for (format, text) in [("terminal", &terminal), ("markdown", &markdown), ("junit", &junit)] {
        assert!(text.contains("bytes 18..19 differ, of 64"), "{format}: {text}");
        assert!(text.contains("00000010  90 91 92 93"), "{format}: {text}");
        assert!(text.contains("00000010  90 91 41 93"), "{format}: {text}");
        assert!(text.contains("|..A............."), "{format}: {text}");
        assert!(text.contains("                  ^^"), "{format}: {text}");
    }
    assert!(html.contains("bytes 18..19 differ, of 64") && html.contains("<ins>41</ins>"), "{html}");
    assert!(json.contains(r#""hex": "90 91 41 93 94"#) && json.contains(r#""old_from": 18"#), "{json}");
}

#[test]
fn text_of_several_lines_is_shown_as_a_diff_in_every_format() {
    let old = "dear customer\nyour amount is 19.90\nbye\n";
    let report = report(compared("", &[old.into()], &[old.replace("19.90", "20.00").into()]));
    let terminal = render(&report, Format::Terminal);
    assert!(
        terminal.contains("old  your amount is 19.90") && terminal.contains("new  your amount is 20.00"),
        "{terminal}"
    );
    let markdown = render(&report, Format::Markdown);
    assert!(markdown.contains("\n- your amount is 19.90\n+ your amount is 20.00\n"), "{markdown}");
    assert!(render(&report, Format::Html).contains("your amount is"));
}

#[test]
fn rules_for_a_topic_that_nobody_knows_give_no_verdict() {
    let verdict = |toml: &str, known: &[&str]| {
        let rules = rules(toml).with_known_topics(known.iter().map(|topic| (*topic).to_owned()));
        let side = drive(&[b"{\"a\":1}".to_vec()]);
        let side: &dyn Drive = &side;
        let comparison = compare_drives(&[side], &[side], &rules, None, &SpillSpace::system()).unwrap();
        let (judgement, comparison) = judged(comparison);
        (judgement.verdict, judgement.reasons.join(" "), comparison.topics_unfound)
    };
    let misspelled = "[topics.payuots]\nignore = ['$.at']";
    let (kind, reasons, unfound) = verdict(misspelled, &[]);
    assert_eq!(kind, Verdict::NoVerdict);
    assert!(reasons.contains("payuots (is it payouts?)"), "{reasons}");
    assert_eq!(unfound, BTreeMap::from([("payuots".to_owned(), Some("payouts".to_owned()))]));
    assert_eq!(verdict("[topics.refunds]\nignore = ['$.at']", &[]).2, BTreeMap::from([("refunds".to_owned(), None)]));
    // One that the recording or the scenario knows may have nothing written to it, and one that is written to is known.
    assert_eq!(verdict("[topics.refunds]\nignore = ['$.at']", &["refunds"]).0, Verdict::Agree);
    assert_eq!(verdict("[topics.payouts]\nignore = ['$.at']", &[]).0, Verdict::Agree);
    assert_eq!(verdict("", &[]).0, Verdict::Agree);
}
