//! One version of one group, and where it is served.

use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate, value};
use serde_json::{Value, json};

pub struct APIService;

impl Kind for APIService {
    built_in!(
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
        Names::new("apiregistration.k8s.io", "v1", "APIService", "apiservices", Scope::Cluster).categories(&["api-extensions"])
    );

    fn storage_prefix(&self) -> String {
        "apiregistration.k8s.io/apiservices".into()
    }

    fn check_name(&self, name: &str, is_prefix: bool) -> Vec<String> {
        validate::path_segment(name, is_prefix)
    }

    fn default(&self, object: &mut Value) {
        if value::at(object, &["spec", "service"]).is_some() {
            value::default(object, &["spec", "service", "port"], 443);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        value::remove(object, &["status"]);
        // What is served here is there from the beginning.
        if value::at(object, &["spec", "service"]).is_none_or(Value::is_null) {
            let condition = json!({"type": "Available", "status": "True", "lastTransitionTime": meta::time::now(),
                "reason": "Local", "message": "Local APIServices are always available"});
            value::set(object, &["status", "conditions"], json!([condition]));
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        let (group, version) = (value::text(spec, &["group"]), value::text(spec, &["version"]));
        let (name, required) = (value::text(object, &["metadata", "name"]), format!("{version}.{group}"));
        if name != required {
            errors.invalid(&path("metadata.name"), name, &format!("must be `spec.version+\".\"+spec.group`: {required:?}"));
        }
        if group.is_empty() && version != "v1" {
            errors.required(&at.child("group"), "only v1 may have an empty group and it better be legacy kube");
        } else if !group.is_empty() {
            rules::messages(validate::dns_subdomain(group, false), group, &at.child("group"), &mut errors);
        }
        rules::messages(validate::dns1035_label(version, false), version, &at.child("version"), &mut errors);
        for (name, max) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
            let found = value::int(spec, &[name]).unwrap_or(0);
            if found <= 0 || found > max {
                errors.invalid(&at.child(name), found, &format!("must be positive and less than {max}"));
            }
        }
        let (bundle, insecure) = (value::text(spec, &["caBundle"]), value::flag(spec, &["insecureSkipTLSVerify"]));
        let Some(service) = spec.get("service") else {
            if !bundle.is_empty() {
                errors.invalid(&at.child("caBundle"), format!("{} bytes", bundle.len()), "local APIServices may not have a caBundle");
            }
            if insecure {
                errors.invalid(&at.child("insecureSkipTLSVerify"), true, "local APIServices may not have insecureSkipTLSVerify");
            }
            return errors;
        };
        let service_at = at.child("service");
        for name in ["namespace", "name"] {
            if value::text(service, &[name]).is_empty() {
                errors.required(&service_at.child(name), "");
            }
        }
        let port = value::int(service, &["port"]).unwrap_or(443);
        let messages = validate::port_number(port);
        if !messages.is_empty() {
            errors.invalid(&service_at.child("port"), port, &format!("port is not valid: {}", messages.join(", ")));
        }
        if insecure && !bundle.is_empty() {
            errors.invalid(&at.child("insecureSkipTLSVerify"), true, "may not be true if caBundle is present");
        }
        errors
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for (i, condition) in value::items(new, &["status", "conditions"]).iter().enumerate() {
            let status = value::text(condition, &["status"]);
            if !matches!(status, "True" | "False" | "Unknown") {
                errors.not_supported(&path("status.conditions").index(i).child("status"), status, &["True", "False", "Unknown"]);
            }
        }
        errors
    }

    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::new("Service", "string"), Column::new("Available", "string"), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let service = value::at(object, &["spec", "service"]);
        let service = service.map_or("Local".into(), |s| format!("{}/{}", value::text(s, &["namespace"]), value::text(s, &["name"])));
        let conditions = value::items(object, &["status", "conditions"]);
        let available = conditions.iter().find(|c| value::text(c, &["type"]) == "Available").map_or("Unknown".into(), |c| {
            let (status, reason) = (value::text(c, &["status"]), value::text(c, &["reason"]));
            if status == "True" { status.to_string() } else { format!("{status} ({reason})") }
        });
        vec![table::name(object), service.into(), available.into(), table::age(object, now).into()]
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}
