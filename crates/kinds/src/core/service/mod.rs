//! A name and an address for pods that come and go. Addresses and node ports are given out elsewhere,
//! when the object is admitted.

mod addresses;
mod defaults;
mod validate;

pub use validate::load_balancer;

use crate::kind::built_in;
use crate::rules::get;
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use meta::{FieldErrors, validate as check, value};
use serde_json::Value;
use std::borrow::Cow;

pub struct Service;

impl Kind for Service {
    built_in!(
        "io.k8s.api.core.v1.Service",
        Names::new("", "v1", "Service", "services", Scope::Namespaced).short(&["svc"]).categories(&["all"])
    );

    fn storage_prefix(&self) -> String {
        "services/specs".into()
    }

    fn check_name(&self, name: &str, is_prefix: bool) -> Vec<String> {
        check::dns_label(name, is_prefix)
    }

    fn default(&self, object: &mut Value) {
        defaults::apply(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        value::set(object, &["status"], serde_json::json!({"loadBalancer": {}}));
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        value::carry(new, old, &["status"]);
        defaults::carry_allocations(new, old);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        validate::service(object)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        validate::update(new, old)
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> FieldErrors {
        validate::status(new)
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        validate::warnings(object)
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        vec!["spec.clusterIP".into(), "spec.type".into()]
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns.extend(["Type", "Cluster-IP", "External-IP", "Port(s)"].map(|n| Column::new(n, "string")));
        columns.extend([Column::age(), Column::wide("Selector", "string")]);
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = get(object, "spec");
        let ports: Vec<String> = value::items(spec, &["ports"])
            .iter()
            .map(|p| {
                let (port, protocol) = (value::int(p, &["port"]).unwrap_or(0), value::text(p, &["protocol"]));
                match value::int(p, &["nodePort"]).filter(|n| *n > 0) {
                    Some(node) => format!("{port}:{node}/{protocol}"),
                    None => format!("{port}/{protocol}"),
                }
            })
            .collect();
        vec![
            table::name(object),
            table::text(object, &["spec", "type"]),
            table::text_or(object, &["spec", "clusterIP"], "<none>"),
            external(object).into(),
            if ports.is_empty() { "<none>".into() } else { ports.join(",").into() },
            table::age(object, now).into(),
            table::labels(get(spec, "selector")).into(),
        ]
    }

    fn subresources(&self) -> Vec<Subresource> {
        let verbs = &["create", "delete", "get", "patch", "update"];
        vec![Subresource::Connect { name: "proxy", kind: ("", "", "ServiceProxyOptions"), verbs }, Subresource::Status]
    }
}

/// Where the service is reached from outside the cluster.
fn external(object: &Value) -> String {
    let texts =
        |path: &[&str]| -> Vec<String> { value::items(object, path).iter().filter_map(Value::as_str).map(str::to_string).collect() };
    let mut all = Vec::new();
    match value::text(object, &["spec", "type"]) {
        "ExternalName" => return value::text(object, &["spec", "externalName"]).into(),
        "LoadBalancer" => {
            for ingress in value::items(object, &["status", "loadBalancer", "ingress"]) {
                let ip = value::text(ingress, &["ip"]);
                all.push(if ip.is_empty() { value::text(ingress, &["hostname"]) } else { ip }.to_string());
            }
            all.extend(texts(&["spec", "externalIPs"]));
            if all.is_empty() {
                return "<pending>".into();
            }
        }
        _ => all = texts(&["spec", "externalIPs"]),
    }
    if all.is_empty() { "<none>".into() } else { all.join(",") }
}
