//! The definition of a kind: its names, its versions, and a schema for each.

use super::{selectable, structural};
use crate::admissionregistration::client_config;
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

pub struct CustomResourceDefinition;

const APPROVAL: &str = "api-approved.kubernetes.io";
const APPROVAL_HELP: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 9] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "name", "password"];

impl Kind for CustomResourceDefinition {
    built_in!(
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        Names::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", Scope::Cluster)
            .short(&["crd", "crds"])
            .categories(&["api-extensions"])
    );

    fn storage_prefix(&self) -> String {
        "apiextensions.k8s.io/customresourcedefinitions".into()
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let kind = value::text(object, &["spec", "names", "kind"]).to_string();
        if !kind.is_empty() {
            value::default(object, &["spec", "names", "singular"], kind.to_lowercase());
            value::default(object, &["spec", "names", "listKind"], format!("{kind}List"));
        }
        value::default(object, &["spec", "conversion", "strategy"], "None");
        if let Some(config) = value::at_mut(object, &["spec", "conversion", "webhook", "clientConfig"]) {
            client_config::default(config);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        value::remove(object, &["status"]);
        note_storage_version(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        value::carry(new, old, &["status"]);
        note_storage_version(new);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        let (group, plural) = (value::text(spec, &["group"]), value::text(spec, &["names", "plural"]));
        let name = value::text(object, &["metadata", "name"]);
        if name != format!("{plural}.{group}") {
            errors.invalid(&path("metadata.name"), name, "must be spec.names.plural+\".\"+spec.group");
        }
        if group.is_empty() {
            errors.required(&at.child("group"), "");
        } else {
            let messages = validate::dns_subdomain(group, false);
            if !messages.is_empty() {
                errors.invalid(&at.child("group"), group, &messages.join(","));
            } else if !group.contains('.') {
                errors.invalid(&at.child("group"), group, "should be a domain with at least one dot");
            }
        }
        rules::one_of(value::text(spec, &["scope"]), &["Cluster", "Namespaced"], &at.child("scope"), &mut errors);
        versions(spec, &at, &mut errors);
        for name in ["plural", "singular", "kind", "listKind"] {
            if value::text(spec, &["names", name]).is_empty() {
                errors.required(&at.child("names").child(name), "");
            }
        }
        names(get(spec, "names"), &at.child("names"), &mut errors);
        if value::flag(spec, &["preserveUnknownFields"]) {
            let message = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
            errors.invalid(&at.child("preserveUnknownFields"), true, message);
        }
        conversion(get(spec, "conversion"), &at.child("conversion"), &mut errors);
        stored_versions(object, &mut errors);
        errors
    }

    fn validate_create(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        schemas(get(object, "spec"), None, &path("spec"), &mut errors);
        let group = value::text(object, &["spec", "group"]);
        let protected = ["k8s.io", "kubernetes.io"].iter().any(|d| group == *d || group.ends_with(&format!(".{d}")));
        let at = path("metadata.annotations").key(APPROVAL);
        match value::text(object, &["metadata", "annotations", APPROVAL]) {
            _ if !protected => {}
            "" => {
                errors.required(&at, &format!("protected groups must have approval annotation \"{APPROVAL}\", {APPROVAL_HELP}"));
            }
            text if text.starts_with("unapproved") || text.starts_with("https://") || text.starts_with("http://") => {}
            text => {
                let detail = format!(
                    "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason starting with \"unapproved\", {APPROVAL_HELP}"
                );
                errors.invalid(&at, text, &detail);
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (now, was, at) = (get(new, "spec"), get(old, "spec"), path("spec"));
        schemas(now, Some(was), &at, &mut errors);
        let mut fixed = vec![vec!["group"], vec!["names", "plural"]];
        if rules::condition(old, "Established") == "True" {
            fixed.extend([vec!["scope"], vec!["names", "kind"]]);
        }
        for field in fixed {
            let of = |spec| value::at(spec, &field).cloned().unwrap_or_default();
            rules::immutable(&of(now), &of(was), &at.child(&field.join(".")), &mut errors);
        }
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        names(value::at(new, &["status", "acceptedNames"]).unwrap_or(&Value::Null), &path("status.acceptedNames"), &mut errors);
        stored_versions(new, &mut errors);
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Created At", "date")]
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        vec![table::name(object), get(get(object, "metadata"), "creationTimestamp").clone()]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

/// Remembers that objects may be stored in the version that is the storage version now.
fn note_storage_version(object: &mut Value) {
    let storage = value::items(object, &["spec", "versions"]).iter().find(|v| value::flag(v, &["storage"]));
    let Some(name) = storage.and_then(|v| v.get("name")).cloned() else { return };
    let mut stored = value::items(object, &["status", "storedVersions"]).to_vec();
    if !stored.contains(&name) {
        stored.push(name);
        value::set(object, &["status", "storedVersions"], stored);
    }
}

fn stored_versions(object: &Value, errors: &mut FieldErrors) {
    let (stored, at) = (value::items(object, &["status", "storedVersions"]), path("status.storedVersions"));
    if stored.is_empty() {
        errors.invalid(&at, stored.to_vec(), "must have at least one stored version");
        return;
    }
    let versions = value::items(object, &["spec", "versions"]);
    for version in versions.iter().filter(|v| value::flag(v, &["storage"])) {
        let name = value::text(version, &["name"]);
        if !stored.iter().any(|s| s == name) {
            errors.invalid(&at, stored.to_vec(), &format!("must have the storage version {name}"));
        }
    }
    for (i, name) in stored.iter().enumerate().filter(|(_, name)| !versions.iter().any(|v| get(v, "name") == *name)) {
        let text = name.as_str().unwrap_or_default();
        let detail = format!(
            "missing from spec.versions; {text} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {text} and removes {text} from status.storedVersions"
        );
        errors.invalid(&at.index(i), text, &detail);
    }
}

fn schema(version: &Value) -> Option<&Value> {
    value::at(version, &["schema", "openAPIV3Schema"])
}

/// The schemas, apart from those that were there before: what could be written once is not refused when something else
/// changes, and need not be looked at again.
fn schemas(spec: &Value, old: Option<&Value>, at: &FieldPath, errors: &mut FieldErrors) {
    let versions = value::items(spec, &["versions"]);
    let before = old.map_or(&[][..], |old| value::items(old, &["versions"]));
    let known = |found: &Value| before.iter().any(|version| schema(version) == Some(found));
    // Upstream hoists what all versions have in common, and so do its paths.
    let shared = versions.first().and_then(schema).filter(|first| versions.iter().all(|v| schema(v) == Some(*first)));
    if let Some(shared) = shared {
        if !known(shared) {
            structural::check(shared, &at.child("validation").child("openAPIV3Schema"), errors);
        }
        return;
    }
    for (i, version) in versions.iter().enumerate() {
        if let Some(found) = schema(version).filter(|found| !known(found)) {
            structural::check(found, &at.child("versions").index(i).child("schema").child("openAPIV3Schema"), errors);
        }
    }
}

fn versions(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let versions = value::items(spec, &["versions"]);
    let versions_at = at.child("versions");
    for (i, version) in versions.iter().enumerate() {
        let at = versions_at.index(i);
        let name = value::text(version, &["name"]);
        let messages = validate::dns1035_label(name, false);
        if !messages.is_empty() {
            errors.invalid(&at.child("name"), name, &messages.join(","));
        }
        let schema = schema(version);
        if schema.is_none() {
            errors.required(&at.child("schema").child("openAPIV3Schema"), "");
        }
        selectable::check(version, schema.unwrap_or(&Value::Null), &at.child("selectableFields"), errors);
        deprecation(version, &at.child("deprecationWarning"), errors);
        if let Some(scale) = value::at(version, &["subresources", "scale"]) {
            check_scale(scale, &at.child("subresources"), errors);
        }
        for (i, column) in value::items(version, &["additionalPrinterColumns"]).iter().enumerate() {
            check_column(column, &at.child("additionalPrinterColumns").index(i), errors);
        }
    }
    if versions.iter().enumerate().any(|(i, v)| versions[..i].iter().any(|w| get(w, "name") == get(v, "name"))) {
        errors.invalid(&versions_at, versions.to_vec(), "must contain unique version names");
    }
    if versions.iter().filter(|v| value::flag(v, &["storage"])).count() != 1 {
        errors.invalid(&versions_at, versions.to_vec(), "must have exactly one version marked as storage version");
    }
}

fn deprecation(version: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else { return };
    if !value::flag(version, &["deprecated"]) {
        errors.invalid(at, warning, "can only be set for deprecated versions");
    }
    let detail = match warning {
        "" => "must not be an empty string",
        text if text.len() > 256 => "must be <= 256 characters long",
        text if text.chars().any(char::is_control) => "must only contain printable characters",
        _ => return,
    };
    errors.invalid(at, warning, detail);
}

fn names(names: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (name, mixed) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let text = value::text(names, &[name]);
        let checked = if mixed { text.to_lowercase() } else { text.to_string() };
        let messages = validate::dns1035_label(&checked, false);
        if !text.is_empty() && !messages.is_empty() {
            let prefix = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            errors.invalid(&at.child(name), text, &format!("{prefix}{}", messages.join(",")));
        }
    }
    for list in ["shortNames", "categories"] {
        for (i, name) in value::items(names, &[list]).iter().enumerate() {
            let text = name.as_str().unwrap_or_default();
            let messages = validate::dns1035_label(text, false);
            if !messages.is_empty() {
                errors.invalid(&at.child(list).index(i), text, &messages.join(","));
            }
        }
    }
    let (kind, list) = (value::text(names, &["kind"]), value::text(names, &["listKind"]));
    if !kind.is_empty() && kind == list {
        errors.invalid(&at.child("listKind"), list, "kind and listKind may not be the same");
    }
}

/// A path of plain field names: `.spec.replicas`.
fn is_simple_path(path: &str) -> bool {
    path.starts_with('.') && path.len() > 1
}

fn check_scale(scale: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (name, root) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
        let (text, at) = (value::text(scale, &[name]), at.child("scale").child(name));
        if text.is_empty() {
            errors.required(&at, "");
        } else if !text.starts_with(root) {
            errors.invalid(&at, text, &format!("should be a json path under {}", root.trim_end_matches('.')));
        }
    }
    let text = value::text(scale, &["labelSelectorPath"]);
    if !text.is_empty() && !text.starts_with(".spec.") && !text.starts_with(".status.") {
        let at = at.child("scale").child("labelSelectorPath");
        errors.invalid(&at, text, "should be a json path under either .spec or .status");
    }
}

fn check_column(column: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let text = |name: &str| value::text(column, &[name]);
    if text("name").is_empty() {
        errors.required(&at.child("name"), "");
    }
    let types = format!("must be one of {}", COLUMN_TYPES.join(","));
    match text("type") {
        "" => errors.required(&at.child("type"), &types),
        ty if !COLUMN_TYPES.contains(&ty) => errors.invalid(&at.child("type"), ty, &types),
        _ => {}
    }
    let format = text("format");
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        errors.invalid(&at.child("format"), format, &format!("must be one of {}", COLUMN_FORMATS.join(",")));
    }
    match text("jsonPath") {
        "" => errors.required(&at.child("JSONPath"), ""),
        path if !is_simple_path(path) => errors.invalid(&at.child("JSONPath"), path, "must be a simple json path starting with ."),
        _ => {}
    }
}

fn conversion(conversion: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let strategy = value::text(conversion, &["strategy"]);
    rules::one_of(strategy, &["None", "Webhook"], &at.child("strategy"), errors);
    let (webhook, config_at) = (conversion.get("webhook"), at.child("webhookClientConfig"));
    match (strategy, webhook.and_then(|w| w.get("clientConfig"))) {
        ("Webhook", None) => errors.required(&config_at, "required when strategy is set to Webhook"),
        ("Webhook", Some(config)) => client_config::check(config, &config_at, errors),
        (_, Some(_)) => errors.forbidden(&config_at, "should not be set when strategy is not set to Webhook"),
        (_, None) => {}
    }
    let versions = webhook.map_or(&[][..], |w| value::items(w, &["conversionReviewVersions"]));
    let versions_at = at.child("conversionReviewVersions");
    if strategy == "Webhook" {
        if versions.is_empty() {
            errors.required(&versions_at, "must specify one of v1, v1beta1");
        } else if !versions.iter().any(|v| v == "v1" || v == "v1beta1") {
            errors.invalid(&versions_at, versions.to_vec(), "must include at least one of v1, v1beta1");
        }
    } else if !versions.is_empty() {
        errors.forbidden(&versions_at, "should not be set when strategy is not set to Webhook");
    }
}
