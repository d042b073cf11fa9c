//! The vocabulary every other room speaks: names of kinds, `Status` errors, field paths,
//! selectors, quantities, schemas and patches. No I/O, no runtime, no kind by name.

pub mod decode;
pub mod error;
pub mod field;
pub mod fields;
pub mod labels;
pub mod managed;
pub mod names;
pub mod patch;
pub mod quantity;
pub mod schema;
pub mod time;
pub mod validate;
pub mod value;

pub use error::ApiError;
pub use field::{FieldError, FieldErrors, FieldPath};
pub use names::{GroupKind, GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource};
pub use quantity::Quantity;
