//! Who a pod is.

use crate::kind::built_in;
use crate::{Column, Kind, Names, Scope, Subresource, table};
use jiff::Timestamp;
use serde_json::Value;

pub struct ServiceAccount;

impl Kind for ServiceAccount {
    built_in!(
        "io.k8s.api.core.v1.ServiceAccount",
        Names::new("", "v1", "ServiceAccount", "serviceaccounts", Scope::Namespaced).short(&["sa"])
    );

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::age()]
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::age(object, now).into()]
    }

    fn subresources(&self) -> Vec<Subresource> {
        let kind = ("authentication.k8s.io", "v1", "TokenRequest");
        vec![Subresource::Connect { name: "token", kind, verbs: &["create"] }]
    }
}
