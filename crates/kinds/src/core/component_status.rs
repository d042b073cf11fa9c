//! How the parts of the control plane are. Asked for and never kept.

use crate::kind::built_in;
use crate::{Column, Kind, Names, Scope, table};
use jiff::Timestamp;
use meta::value;
use serde_json::Value;

pub struct ComponentStatus;

impl Kind for ComponentStatus {
    built_in!(
        "io.k8s.api.core.v1.ComponentStatus",
        Names::new("", "v1", "ComponentStatus", "componentstatuses", Scope::Cluster).short(&["cs"])
    );

    fn deprecated(&self) -> &str {
        "v1 ComponentStatus is deprecated in v1.19+"
    }

    fn stored(&self) -> bool {
        false
    }

    fn verbs(&self) -> &'static [&'static str] {
        &["get", "list"]
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns.extend(["Status", "Message", "Error"].map(|name| Column::new(name, "string")));
        columns
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let healthy = value::items(object, &["conditions"]).iter().find(|c| value::text(c, &["type"]) == "Healthy");
        let none = Value::Null;
        let condition = healthy.unwrap_or(&none);
        let status = match value::text(condition, &["status"]) {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        };
        vec![table::name(object), status.into(), table::text(condition, &["message"]), table::text(condition, &["error"])]
    }
}
