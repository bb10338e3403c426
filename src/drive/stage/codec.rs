//! How the records of a batch are compressed.

use std::io::Read;

use bytes::{Buf, Bytes};

/// Bytes that the records of one batch may come to: what claims more is no batch but a bomb.
const DECOMPRESSED_MAX: usize = 256 << 20;

/// First bytes of snappy in the framing of Java's library; two numbers of a version follow.
const XERIAL: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

/// Bytes of that framing ahead of its first block.
const XERIAL_HEADER: usize = 16;

/// A codec that the attributes of a batch name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// All codecs; their place is their number.
    pub(super) const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec that a batch's attributes name, if there is one of that number.
    pub(super) fn of(attributes: i16) -> Option<Self> {
        Self::ALL.get((attributes & 7) as usize).copied()
    }

    /// Decompresses the records of a batch; none where they are no such bytes or come to more than 256 MB.
    pub(super) fn decompress(self, body: Bytes) -> Option<Bytes> {
        match self {
            Self::None => Some(body),
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(body.reader())),
            Self::Snappy => snappy(&body).map(Bytes::from),
            Self::Lz4 => read(lz4_flex::frame::FrameDecoder::new(body.reader())),
            Self::Zstd => read(zstd::Decoder::new(body.reader()).ok()?),
        }
    }
}

fn read(decoder: impl Read) -> Option<Bytes> {
    let mut out = Vec::new();
    decoder.take(DECOMPRESSED_MAX as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() <= DECOMPRESSED_MAX).then(|| out.into())
}

fn snappy(body: &[u8]) -> Option<Vec<u8>> {
    if !body.starts_with(XERIAL) {
        return block(body);
    }
    let mut rest = body.get(XERIAL_HEADER..)?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let size = usize::try_from(rest.try_get_i32().ok()?).ok()?;
        out.extend_from_slice(&block(rest.get(..size)?)?);
        rest.advance(size);
        if out.len() > DECOMPRESSED_MAX {
            return None;
        }
    }
    Some(out)
}

fn block(bytes: &[u8]) -> Option<Vec<u8>> {
    // The length stands ahead, unchecked: it must not become memory before it is known to be possible. Snappy makes at most 64
    // bytes of three.
    let claimed = snap::raw::decompress_len(bytes).ok()?;
    if claimed > DECOMPRESSED_MAX || claimed > bytes.len().saturating_mul(64) {
        return None;
    }
    snap::raw::Decoder::new().decompress_vec(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    impl Codec {
        /// The bits that name the codec.
        pub(in crate::drive::stage) fn attributes(self) -> i16 {
            Self::ALL.iter().position(|codec| *codec == self).unwrap() as i16
        }

        /// Compresses as a client does.
        pub(in crate::drive::stage) fn compress(self, body: &[u8]) -> Vec<u8> {
            match self {
                Self::None => body.to_vec(),
                Self::Gzip => {
                    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    encoder.write_all(body).unwrap();
                    encoder.finish().unwrap()
                }
                Self::Snappy => snap::raw::Encoder::new().compress_vec(body).unwrap(),
                Self::Lz4 => {
                    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                    encoder.write_all(body).unwrap();
                    encoder.finish().unwrap()
                }
                Self::Zstd => zstd::encode_all(body, 1).unwrap(),
            }
        }
    }

    #[test]
    fn snappy_comes_in_the_framing_of_java_too() {
        let (one, two) = (vec![7; 40_000], b"and more".to_vec());
        let mut framed = XERIAL.to_vec();
        framed.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        for part in [&one, &two] {
            let block = Codec::Snappy.compress(part);
            framed.extend_from_slice(&(block.len() as i32).to_be_bytes());
            framed.extend_from_slice(&block);
        }
        assert_eq!(Codec::Snappy.decompress(framed.clone().into()).unwrap(), [one, two].concat());
        framed.pop();
        assert_eq!(Codec::Snappy.decompress(framed.into()), None);
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = Codec::Zstd.compress(&vec![0; DECOMPRESSED_MAX + 1]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(Codec::Zstd.decompress(bomb.into()), None);
        let claims = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert_eq!(Codec::Snappy.decompress(claims), None);
    }

    #[test]
    fn what_no_codec_wrote_is_refused() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            assert_eq!(codec.decompress(Bytes::from_static(b"no such bytes at all")), None, "{codec:?}");
        }
    }
}
