//! The three patch types that are not server-side apply.

pub mod json;
pub mod merge;
pub mod strategic;

use crate::error::{ApiError, Cause, Details};

/// Why a patch was not applied, by the answer that upstream's `interpretStrategicMergePatchError` and
/// its siblings in `endpoints/handlers/patch.go` give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself makes no sense: 400.
    #[error("{0}")]
    Malformed(String),
    /// It does not fit this object: 422.
    #[error("{0}")]
    Unprocessable(String),
    /// More work than a server takes on: 413.
    #[error("{0}")]
    TooLarge(String),
    /// A list that cannot be merged; upstream lets the bare error through: 500.
    #[error("{0}")]
    Unmergeable(String),
}

impl From<PatchError> for ApiError {
    fn from(e: PatchError) -> Self {
        match e {
            PatchError::Malformed(text) => Self::bad_request(text),
            PatchError::TooLarge(text) => Self::too_large(text),
            PatchError::Unmergeable(text) => Self::new(500, "", text),
            PatchError::Unprocessable(text) => {
                let causes = vec![Cause { reason: String::new(), message: text, field: "patch".into() }];
                let mut e = Self::new(422, "Invalid", "the server rejected our request due to an error in our request");
                e.details = Some(Box::new(Details { causes, ..Details::default() }));
                e
            }
        }
    }
}

/// The type of a value, as error texts name it.
fn type_name(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "list",
        serde_json::Value::Object(_) => "map",
    }
}
