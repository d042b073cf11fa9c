//! Objects of the built-in kinds as Kubernetes' protobuf: a magic number, then an envelope that names the kind and
//! holds the object. Typed clients send this by default.

mod read;
mod table;
#[cfg(test)]
mod tests;
mod write;

use serde_json::Value;

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

/// Messages nest no deeper than this.
const DEPTH: usize = 100;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    #[error("no protobuf form of {kind:?} in version {api_version:?} is known")]
    UnknownKind { api_version: String, kind: String },
    #[error("unexpected end of protobuf data")]
    Truncated,
    #[error("illegal protobuf data: {0}")]
    Illegal(&'static str),
    #[error("illegal protobuf data: nested too deeply")]
    Depth,
    #[error("the content encoding {0:?} is not known")]
    Encoding(String),
    #[error("{field}: cannot be written as protobuf")]
    Mismatch { field: &'static str },
}

/// The object that an envelope holds, as JSON would give it.
pub fn decode(bytes: &[u8]) -> Result<Value, WireError> {
    read::envelope(bytes, 0)
}

/// An object or a list of them in its envelope.
pub fn encode(object: &Value) -> Result<Vec<u8>, WireError> {
    write::envelope(object)
}

/// Whether there is a form of this kind.
pub fn known(api_version: &str, kind: &str) -> bool {
    table::of(api_version, kind).is_some()
}

/// One event of a watch: its length in four bytes, then the event, which holds the object in its envelope.
pub fn frame(ty: &str, envelope: &[u8]) -> Result<Vec<u8>, WireError> {
    let event = write::event(ty, envelope);
    let length = u32::try_from(event.len()).map_err(|_| WireError::Illegal("an event of this length"))?;
    Ok([&length.to_be_bytes()[..], &event].concat())
}
