//! Requests and answers on the wire: frames, headers, and bodies checked before they are decoded.

mod api;
#[cfg(test)]
mod fuzz;
mod shape;

pub(super) use api::Api;

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable};

/// Bytes that a request other than `Produce` may have: what clients say is far less, and decoding takes a multiple of it.
const CONTROL_BYTES_MAX: usize = 4 << 20;

/// The header of a request, and its body as bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    pub(super) key: i16,
    pub(super) version: i16,
    pub(super) correlation: i32,
    pub(super) client: String,
    pub(super) body: Bytes,
    /// Number of the connection that it came by.
    pub(super) connection: u64,
    /// Where its client is.
    pub(super) peer: Option<SocketAddr>,
    /// Bytes of events that its answer may have, where a fault bounds them.
    pub(super) room: Option<usize>,
}

/// Why a connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("a request cannot be decoded")]
    Malformed,
    #[error("a request of call {key} version {version} is not served")]
    Unserved { key: i16, version: i16 },
    #[error("a request is refused whose client wants no answer")]
    Refused,
    #[error("an answer cannot be encoded")]
    Answer,
}

impl Request {
    /// Reads the header of a request; the body stays as it is.
    pub(super) fn parse(mut frame: Bytes) -> Result<Self, WireError> {
        let bytes = &mut frame;
        let key = bytes.try_get_i16().map_err(|_| WireError::Malformed)?;
        let version = bytes.try_get_i16().map_err(|_| WireError::Malformed)?;
        let correlation = bytes.try_get_i32().map_err(|_| WireError::Malformed)?;
        let client = client(bytes).ok_or(WireError::Malformed)?;
        let flexible = ApiKey::try_from(key).is_ok_and(|key| key.request_header_version(version) >= 2);
        // `ApiVersions` of a version that is not known is answered, so its header must not be asked for more than all have.
        if flexible && Api::of(key).is_some_and(|api| api.serves(version)) {
            skip_tagged(bytes).ok_or(WireError::Malformed)?;
        }
        Ok(Self { key, version, correlation, client, body: frame, connection: 0, peer: None, room: None })
    }

    /// Decodes the body.
    pub(super) fn decode<T: Decodable>(&self) -> Result<T, WireError> {
        let api = Api::of(self.key).ok_or(WireError::Unserved { key: self.key, version: self.version })?;
        let large = self.body.len() > CONTROL_BYTES_MAX && api.key != ApiKey::Produce;
        if large || !api.fits(self.version, &self.body) {
            return Err(WireError::Malformed);
        }
        T::decode(&mut self.body.clone(), self.version).map_err(|_| WireError::Malformed)
    }

    /// Encodes an answer, frame and header included.
    pub(super) fn answer<T: Encodable>(&self, body: &T) -> Result<Bytes, WireError> {
        self.answer_as(self.version, body)
    }

    /// Encodes an answer of another version than the request's, which only `ApiVersions` may have.
    pub(super) fn answer_as<T: Encodable>(&self, version: i16, body: &T) -> Result<Bytes, WireError> {
        let size = body.compute_size(version).map_err(|_| WireError::Answer)?;
        let mut bytes = BytesMut::with_capacity(size + 9);
        bytes.put_i32(0);
        self.put_header(version, &mut bytes)?;
        body.encode(&mut bytes, version).map_err(|_| WireError::Answer)?;
        let length = i32::try_from(bytes.len() - 4).map_err(|_| WireError::Answer)?;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        Ok(bytes.freeze())
    }

    /// Appends the header of an answer.
    pub(super) fn put_header(&self, version: i16, bytes: &mut BytesMut) -> Result<(), WireError> {
        let key = ApiKey::try_from(self.key).map_err(|()| WireError::Answer)?;
        bytes.put_i32(self.correlation);
        if key.response_header_version(version) >= 1 {
            bytes.put_u8(0);
        }
        Ok(())
    }
}

fn client(bytes: &mut Bytes) -> Option<String> {
    match bytes.try_get_i16().ok()? {
        -1 => Some(String::new()),
        size => {
            let size = usize::try_from(size).ok().filter(|size| *size <= bytes.len())?;
            Some(String::from_utf8_lossy(&bytes.split_to(size)).into_owned())
        }
    }
}

fn skip_tagged(bytes: &mut Bytes) -> Option<()> {
    let mut rest: &[u8] = bytes;
    shape::tagged(&[], &mut rest)?;
    let used = bytes.len() - rest.len();
    bytes.advance(used);
    Some(())
}
