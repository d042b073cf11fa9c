//! Admission webhooks, asked over TLS.

pub mod backend;
mod conditions;
mod configurations;
mod connecting;
mod converting;
mod failing;
mod mutating;
mod validating;

use crate::support::*;
use serde_json::{Value, json};

pub const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
pub const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

impl Server {
    pub async fn mutating(&self, name: &str, hooks: Value) -> Value {
        self.post(MUTATING, json!({"metadata": {"name": name, "labels": {"made": "here"}}, "webhooks": hooks})).await.expect(201)
    }

    pub async fn validating(&self, name: &str, hooks: Value) -> Value {
        self.post(VALIDATING, json!({"metadata": {"name": name, "labels": {"made": "here"}}, "webhooks": hooks})).await.expect(201)
    }
}

pub fn map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}
