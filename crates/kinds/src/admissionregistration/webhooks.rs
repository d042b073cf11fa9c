//! Webhooks that may refuse or change what is written.

use super::expressions::Compiler;
use super::{CATEGORIES, GROUP, client_config, resource_rules};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::{Value, json};

pub struct MutatingWebhookConfiguration;
pub struct ValidatingWebhookConfiguration;

impl Kind for MutatingWebhookConfiguration {
    built_in!(
        "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
        Names::new(GROUP, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", Scope::Cluster).categories(CATEGORIES)
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        default(object);
        for webhook in value::items_mut(object, &["webhooks"]) {
            value::default(webhook, &["reinvocationPolicy"], "Never");
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = check(object);
        for (i, webhook) in value::items(object, &["webhooks"]).iter().enumerate() {
            let policy = value::text(webhook, &["reinvocationPolicy"]);
            if webhook.get("reinvocationPolicy").is_some() && !matches!(policy, "IfNeeded" | "Never") {
                errors.not_supported(&path("webhooks").index(i).child("reinvocationPolicy"), policy, &["IfNeeded", "Never"]);
            }
        }
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, now)
    }
}

impl Kind for ValidatingWebhookConfiguration {
    built_in!(
        "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
        Names::new(GROUP, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", Scope::Cluster).categories(CATEGORIES)
    );

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        default(object);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        check(object)
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        columns()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        row(object, now)
    }
}

fn default(object: &mut Value) {
    for webhook in value::items_mut(object, &["webhooks"]) {
        value::default(webhook, &["failurePolicy"], "Fail");
        value::default(webhook, &["matchPolicy"], "Equivalent");
        value::default(webhook, &["namespaceSelector"], json!({}));
        value::default(webhook, &["objectSelector"], json!({}));
        value::default(webhook, &["timeoutSeconds"], 10);
        resource_rules::default_rules(webhook, &["rules"]);
        if let Some(config) = webhook.get_mut("clientConfig") {
            client_config::default(config);
        }
    }
}

fn check(object: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let webhooks = value::items(object, &["webhooks"]);
    for (i, webhook) in webhooks.iter().enumerate() {
        let at = path("webhooks").index(i);
        check_webhook(webhook, &at, &mut errors);
        let name = value::text(webhook, &["name"]);
        if webhooks[..i].iter().any(|w| value::text(w, &["name"]) == name) {
            errors.duplicate(&at.child("name"), name);
        }
    }
    errors
}

fn check_webhook(webhook: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    const SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
    let name = value::text(webhook, &["name"]);
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    } else {
        rules::messages(validate::fully_qualified_name(name), name, &at.child("name"), errors);
    }
    for (i, rule) in value::items(webhook, &["rules"]).iter().enumerate() {
        resource_rules::check(rule, &at.child("rules").index(i), errors);
    }
    for (name, allowed) in [("failurePolicy", ["Fail", "Ignore"]), ("matchPolicy", ["Equivalent", "Exact"])] {
        let found = value::text(webhook, &[name]);
        if webhook.get(name).is_some() && !allowed.contains(&found) {
            errors.not_supported(&at.child(name), found, &allowed);
        }
    }
    match get(webhook, "sideEffects").as_str() {
        None => errors.required(&at.child("sideEffects"), "must specify one of None, NoneOnDryRun"),
        Some(found) if !SIDE_EFFECTS.contains(&found) => errors.not_supported(&at.child("sideEffects"), found, &SIDE_EFFECTS),
        Some(_) => {}
    }
    if let Some(seconds) = value::int(webhook, &["timeoutSeconds"]).filter(|s| !(1..=30).contains(s)) {
        errors.invalid(&at.child("timeoutSeconds"), seconds, "the timeout value must be between 1 and 30 seconds");
    }
    for name in ["namespaceSelector", "objectSelector"] {
        errors.extend(validate::label_selector(get(webhook, name), &at.child(name)));
    }
    client_config::check(get(webhook, "clientConfig"), &at.child("clientConfig"), errors);
    resource_rules::match_conditions(value::items(webhook, &["matchConditions"]), &Compiler::plain(), &at.child("matchConditions"), errors);
    review_versions(value::items(webhook, &["admissionReviewVersions"]), &at.child("admissionReviewVersions"), errors);
}

fn review_versions(versions: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    if versions.is_empty() {
        errors.required(at, "must specify one of v1, v1beta1");
        return;
    }
    for (i, version) in versions.iter().enumerate() {
        let text = version.as_str().unwrap_or_default();
        if versions[..i].contains(version) {
            errors.invalid(&at.index(i), text, "duplicate version");
            continue;
        }
        rules::messages(validate::dns1035_label(text, false), text, &at.index(i), errors);
    }
    if !versions.iter().any(|v| v == "v1" || v == "v1beta1") {
        errors.invalid(at, versions.to_vec(), "must include at least one of v1, v1beta1");
    }
}

fn columns() -> Vec<Column> {
    vec![Column::name(), Column::new("Webhooks", "integer"), Column::age()]
}

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![table::name(object), value::items(object, &["webhooks"]).len().into(), table::age(object, now).into()]
}
