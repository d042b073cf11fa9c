//! The options of a write.

use crate::admission::{AsOptions, Operation};
use crate::query::Query;
use http::HeaderMap;
use http::header::USER_AGENT;
use meta::{ApiError, FieldErrors, FieldPath, GroupKind};
use serde_json::{Value, json};

/// What happens to fields that the kind does not have, or that come twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub dry_run: bool,
    /// Who is recorded as the owner of what changes.
    pub manager: String,
    /// The client named the manager itself.
    pub named_manager: bool,
    pub validation: Validation,
    /// As the client said it.
    pub given_validation: Option<String>,
    /// Only for applies.
    pub force: Option<bool>,
}

/// The most that a manager's name may have.
const MANAGER: usize = 128;

impl Options {
    /// `kind` is how error texts call the options (`CreateOptions`).
    pub fn parse(query: &Query, headers: &HeaderMap, kind: &str) -> Result<Self, ApiError> {
        let mut errors = FieldErrors::new();
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let validation = match query.text("fieldValidation") {
            "" | "Warn" => Validation::Warn,
            "Ignore" => Validation::Ignore,
            "Strict" => Validation::Strict,
            other => {
                errors.not_supported(&FieldPath::new("fieldValidation"), other, &["Ignore", "Strict", "Warn"]);
                Validation::Warn
            }
        };
        let manager = query.text("fieldManager");
        errors.extend(meta::validate::field_manager(manager, &FieldPath::new("fieldManager")));
        if !errors.is_empty() {
            return Err(ApiError::invalid(&GroupKind::new("meta.k8s.io", kind), "", &errors));
        }
        let force = query.get("force").map(|_| query.flag("force"));
        let named_manager = !manager.is_empty();
        let manager = if named_manager { manager.to_string() } else { of_agent(headers) };
        let given_validation = query.get("fieldValidation").filter(|v| !v.is_empty()).map(str::to_string);
        Ok(Self { dry_run, manager, named_manager, validation, given_validation, force })
    }

    /// Of a write by the server itself.
    pub fn own() -> Self {
        Self { manager: "socle".into(), validation: Validation::Ignore, ..Self::default() }
    }
}

impl AsOptions for Options {
    fn options(&self, operation: Operation) -> Value {
        let kind = if operation == Operation::Create { "CreateOptions" } else { "UpdateOptions" };
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        if self.named_manager {
            options["fieldManager"] = self.manager.as_str().into();
        }
        if let Some(given) = &self.given_validation {
            options["fieldValidation"] = given.as_str().into();
        }
        options
    }
}

/// `All` is the only kind there is.
pub fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut FieldErrors) -> bool {
    let mut dry_run = false;
    for value in values.filter(|v| !v.is_empty()) {
        if value == "All" {
            dry_run = true;
        } else {
            errors.not_supported(&FieldPath::new("dryRun"), value, &["All"]);
        }
    }
    dry_run
}

/// `kubectl` of `kubectl/v1.36.0 (linux/amd64)`.
fn of_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let program = agent.split('/').next().unwrap_or_default();
    let name: String = program.chars().filter(|c| !c.is_control()).take(MANAGER).collect();
    if name.is_empty() { "unknown".into() } else { name }
}
