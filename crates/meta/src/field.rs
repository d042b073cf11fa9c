//! Where in an object something is wrong, and what: the causes of a 422.

use std::fmt;

/// A field's path as errors print it: `spec.containers[0].image`, `metadata.labels[app]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(String);

impl FieldPath {
    pub fn root() -> Self {
        Self::default()
    }

    pub fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.into()) } else { self.with(&[".", name]) }
    }

    pub fn index(&self, i: usize) -> Self {
        self.key(&i.to_string())
    }

    pub fn key(&self, key: &str) -> Self {
        self.with(&["[", key, "]"])
    }

    /// Validators make a path for all that they look at, wrong or not, so it is made in one piece.
    fn with(&self, parts: &[&str]) -> Self {
        let mut path = String::with_capacity(self.0.len() + parts.iter().map(|p| p.len()).sum::<usize>());
        path.push_str(&self.0);
        parts.iter().for_each(|part| path.push_str(part));
        Self(path)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// What kind of wrong; `reason` is what the cause in a `Status` carries
/// (apimachinery `pkg/util/validation/field/errors.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorType {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    Internal,
    TypeInvalid,
}

impl FieldErrorType {
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
            Self::TypeInvalid => "Invalid value",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub kind: FieldErrorType,
    pub path: FieldPath,
    /// The message without the path, e.g. `Invalid value: "x": must be ...`.
    pub body: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body)
    }
}

/// Errors gathered by a validator, in the order found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, kind: FieldErrorType, path: &FieldPath, detail: String) {
        let body = if detail.is_empty() { kind.prefix().to_string() } else { format!("{}: {detail}", kind.prefix()) };
        self.0.push(FieldError { kind, path: path.clone(), body });
    }

    pub fn required(&mut self, path: &FieldPath, detail: &str) {
        self.push(FieldErrorType::Required, path, detail.into());
    }

    /// `value` is printed as JSON, so that strings are quoted as upstream quotes them.
    pub fn invalid(&mut self, path: &FieldPath, value: impl Into<serde_json::Value>, detail: &str) {
        self.push(FieldErrorType::Invalid, path, valued(&value.into(), detail));
    }

    pub fn type_invalid(&mut self, path: &FieldPath, value: impl Into<serde_json::Value>, detail: &str) {
        self.push(FieldErrorType::TypeInvalid, path, valued(&value.into(), detail));
    }

    pub fn duplicate(&mut self, path: &FieldPath, value: impl Into<serde_json::Value>) {
        self.push(FieldErrorType::Duplicate, path, value.into().to_string());
    }

    pub fn duplicate_because(&mut self, path: &FieldPath, value: impl Into<serde_json::Value>, detail: &str) {
        self.push(FieldErrorType::Duplicate, path, valued(&value.into(), detail));
    }

    pub fn not_found(&mut self, path: &FieldPath, value: impl Into<serde_json::Value>) {
        self.push(FieldErrorType::NotFound, path, value.into().to_string());
    }

    pub fn forbidden(&mut self, path: &FieldPath, detail: &str) {
        self.push(FieldErrorType::Forbidden, path, detail.into());
    }

    pub fn not_supported(&mut self, path: &FieldPath, value: impl Into<serde_json::Value>, supported: &[&str]) {
        let mut names: Vec<String> = supported.iter().map(|s| format!("\"{s}\"")).collect();
        names.sort();
        let detail = if names.is_empty() { String::new() } else { format!("supported values: {}", names.join(", ")) };
        self.push(FieldErrorType::NotSupported, path, valued(&value.into(), &detail));
    }

    /// The same with the words in the order given.
    pub fn not_supported_in_order(&mut self, path: &FieldPath, value: impl Into<serde_json::Value>, supported: &[&str]) {
        let names: Vec<String> = supported.iter().map(|s| format!("\"{s}\"")).collect();
        self.push(FieldErrorType::NotSupported, path, valued(&value.into(), &format!("supported values: {}", names.join(", "))));
    }

    /// Something that is not found, and where it was looked for.
    pub fn not_found_in(&mut self, path: &FieldPath, value: impl Into<serde_json::Value>, detail: &str) {
        self.push(FieldErrorType::NotFound, path, valued(&value.into(), detail));
    }

    pub fn too_long(&mut self, path: &FieldPath, max: usize) {
        self.push(FieldErrorType::TooLong, path, format!("may not be more than {max} bytes"));
    }

    pub fn too_many(&mut self, path: &FieldPath, actual: usize, max: usize) {
        self.push(FieldErrorType::TooMany, path, format!("{actual}: must have at most {max} {}", if max == 1 { "item" } else { "items" }));
    }

    pub fn internal(&mut self, path: &FieldPath, detail: &str) {
        self.push(FieldErrorType::Internal, path, detail.into());
    }

    pub fn extend(&mut self, other: FieldErrors) {
        self.0.extend(other.0);
    }
}

fn valued(value: &serde_json::Value, detail: &str) -> String {
    if detail.is_empty() { value.to_string() } else { format!("{value}: {detail}") }
}

/// Upstream's aggregate form: one error bare, several in brackets, duplicates once.
impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen: Vec<String> = Vec::new();
        for e in &self.0 {
            let text = e.to_string();
            if !seen.contains(&text) {
                seen.push(text);
            }
        }
        if seen.len() == 1 { f.write_str(&seen[0]) } else { write!(f, "[{}]", seen.join(", ")) }
    }
}
