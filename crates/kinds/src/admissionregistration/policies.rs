//! Policies written as expressions.

use super::expressions::{Compiler, Wanted};
use super::resource_rules::{self, expression};
use super::{CATEGORIES, GROUP};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, GroupVersion, validate, value};
use serde_json::Value;

pub struct MutatingAdmissionPolicy;
pub struct ValidatingAdmissionPolicy;

const AUDIT_ANNOTATIONS_MAX: usize = 20;
const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];

impl Kind for MutatingAdmissionPolicy {
    built_in!(
        "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
        Names::new(GROUP, "v1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies", Scope::Cluster).categories(CATEGORIES)
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        default(object);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let (mut errors, compiler) = check(object);
        let (spec, at) = (get(object, "spec"), path("spec"));
        let mutations = value::items(spec, &["mutations"]);
        if mutations.is_empty() {
            errors.required(&at.child("mutations"), "mutations must contain at least one item");
        }
        for (i, mutation) in mutations.iter().enumerate() {
            check_mutation(mutation, &compiler, &at.child("mutations").index(i), &mut errors);
        }
        let policy = value::text(spec, &["reinvocationPolicy"]);
        rules::one_of(policy, &["IfNeeded", "Never"], &at.child("reinvocationPolicy"), &mut errors);
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns("Mutations")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, "mutations", now)
    }
}

impl Kind for ValidatingAdmissionPolicy {
    built_in!(
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
        Names::new(GROUP, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", Scope::Cluster).categories(CATEGORIES)
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        default(object);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let (mut errors, compiler) = check(object);
        let (spec, at) = (get(object, "spec"), path("spec"));
        let (validations, annotations) = (value::items(spec, &["validations"]), value::items(spec, &["auditAnnotations"]));
        if validations.is_empty() && annotations.is_empty() {
            for name in ["validations", "auditAnnotations"] {
                errors.required(&at.child(name), "validations or auditAnnotations must contain at least one item");
            }
        }
        for (i, validation) in validations.iter().enumerate() {
            check_validation(validation, &compiler, &at.child("validations").index(i), &mut errors);
        }
        if annotations.len() > AUDIT_ANNOTATIONS_MAX {
            let message = format!("must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations");
            errors.invalid(&at.child("auditAnnotations"), annotations.to_vec(), &message);
        }
        let name = value::text(object, &["metadata", "name"]);
        for (i, annotation) in annotations.iter().enumerate() {
            let at = at.child("auditAnnotations").index(i);
            let key = value::text(annotation, &["key"]);
            let full = format!("{name}/{key}");
            rules::messages(validate::qualified_name(&full), &full, &at.child("key"), &mut errors);
            expression(annotation, "valueExpression", "valueExpression is not specified", &at, &mut errors);
            compiler.check(annotation, "valueExpression", Wanted::TextOrNull, &at, &mut errors);
            if annotations[..i].iter().any(|a| value::text(a, &["key"]) == key) {
                errors.duplicate(&at.child("key"), key);
            }
        }
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns("Validations")
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, "validations", now)
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

fn default(object: &mut Value) {
    value::default(object, &["spec", "failurePolicy"], "Fail");
    if let Some(constraints) = value::at_mut(object, &["spec", "matchConstraints"]) {
        resource_rules::default_match(constraints);
    }
}

/// What both have in common, and a compiler that knows the variables.
fn check(object: &Value) -> (FieldErrors, Compiler) {
    let mut errors = FieldErrors::new();
    let (spec, at) = (get(object, "spec"), path("spec"));
    rules::one_of(value::text(spec, &["failurePolicy"]), &["Fail", "Ignore"], &at.child("failurePolicy"), &mut errors);
    if let Some(kind) = spec.get("paramKind") {
        check_param_kind(kind, &at.child("paramKind"), &mut errors);
    }
    let constraints_at = at.child("matchConstraints");
    match spec.get("matchConstraints") {
        None => errors.required(&constraints_at, ""),
        Some(constraints) => {
            resource_rules::check_match(constraints, &constraints_at, &mut errors);
            if value::items(constraints, &["resourceRules"]).is_empty() {
                errors.required(&constraints_at.child("resourceRules"), "");
            }
        }
    }
    let mut compiler = Compiler::policy(spec.get("paramKind").is_some());
    resource_rules::match_conditions(value::items(spec, &["matchConditions"]), &compiler, &at.child("matchConditions"), &mut errors);
    for (i, variable) in value::items(spec, &["variables"]).iter().enumerate() {
        let at = at.child("variables").index(i);
        let name = value::text(variable, &["name"]);
        if name.trim().is_empty() {
            errors.required(&at.child("name"), "name is not specified");
        } else if !validate::c_identifier(name).is_empty() {
            errors.invalid(&at.child("name"), name, "must be a valid CEL identifier");
        }
        expression(variable, "expression", "expression is not specified", &at, &mut errors);
        let source = value::text(variable, &["expression"]);
        if let Err(why) = if source.trim().is_empty() { Ok(()) } else { compiler.variable(name, source).map(drop) } {
            errors.invalid(&at.child("expression"), source, &why);
        }
    }
    (errors, compiler)
}

fn check_param_kind(param: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (version, kind) = (value::text(param, &["apiVersion"]), value::text(param, &["kind"]));
    if version.is_empty() {
        errors.required(&at.child("apiVersion"), "");
    } else {
        let parsed = GroupVersion::parse(version);
        let messages = if parsed.group.is_empty() { Vec::new() } else { validate::dns_subdomain(&parsed.group, false) };
        rules::messages(messages, &parsed.group, &at.child("apiVersion"), errors);
        if parsed.version.is_empty() {
            errors.invalid(&at.child("apiVersion"), version, "version must be specified");
        } else {
            rules::messages(validate::dns1035_label(&parsed.version, false), &parsed.version, &at.child("apiVersion"), errors);
        }
    }
    if kind.is_empty() {
        errors.required(&at.child("kind"), "");
    } else {
        let messages = validate::dns1035_label(&kind.to_lowercase(), false);
        if !messages.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", messages.join(","));
            errors.invalid(&at.child("kind"), kind, &detail);
        }
    }
}

fn check_validation(validation: &Value, compiler: &Compiler, at: &FieldPath, errors: &mut FieldErrors) {
    expression(validation, "expression", "expression is not specified", at, errors);
    compiler.check(validation, "expression", Wanted::Bool, at, errors);
    compiler.check(validation, "messageExpression", Wanted::Text, at, errors);
    for name in ["messageExpression", "message"] {
        let text = value::text(validation, &[name]);
        if !text.is_empty() && text.trim().is_empty() {
            errors.invalid(&at.child(name), text, "must be non-empty if specified");
        } else if name == "message" && text.trim().contains('\n') {
            errors.invalid(&at.child(name), text, "must not contain line breaks");
        }
    }
    let reason = value::text(validation, &["reason"]);
    if validation.get("reason").is_some() && !REASONS.contains(&reason) {
        errors.not_supported(&at.child("reason"), reason, &REASONS);
    }
}

fn check_mutation(mutation: &Value, compiler: &Compiler, at: &FieldPath, errors: &mut FieldErrors) {
    let fields = [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")];
    let ty = value::text(mutation, &["patchType"]);
    rules::one_of(ty, &fields.map(|(ty, _)| ty), &at.child("patchType"), errors);
    for (own, field) in fields.into_iter().filter(|_| fields.iter().any(|(t, _)| *t == ty)) {
        match (own == ty, mutation.get(field)) {
            (true, None) => errors.required(&at.child(field), &format!("must be specified when patchType is {ty}")),
            (true, Some(patch)) => {
                let wanted = if ty == "JSONPatch" { Wanted::Patches } else { Wanted::Configuration };
                expression(patch, "expression", "expression is not specified", &at.child(field), errors);
                compiler.check(patch, "expression", wanted, &at.child(field), errors);
            }
            (false, Some(_)) => {
                errors.invalid(&at.child(field), format!("{{{field}}}"), &format!("must not be specified when patchType is {ty}"));
            }
            (false, None) => {}
        }
    }
}

fn columns(what: &'static str) -> Vec<Column> {
    vec![Column::name(), Column::new(what, "integer"), Column::new("ParamKind", "string"), Column::age()]
}

fn row(object: &Value, list: &str, now: Timestamp) -> Vec<Value> {
    let param = value::at(object, &["spec", "paramKind"]);
    let param = param.map_or("<unset>".into(), |p| format!("{}/{}", value::text(p, &["apiVersion"]), value::text(p, &["kind"])));
    vec![table::name(object), value::items(object, &["spec", list]).len().into(), param.into(), table::age(object, now).into()]
}
