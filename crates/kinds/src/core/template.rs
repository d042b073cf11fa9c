//! A pod template as an object of its own.

use crate::kind::built_in;
use crate::rules::{get, path};
use crate::{Column, Kind, Names, Scope, table, workload};
use jiff::Timestamp;
use meta::{FieldErrors, value};
use serde_json::Value;

pub struct PodTemplate;

impl Kind for PodTemplate {
    built_in!("io.k8s.api.core.v1.PodTemplate", Names::new("", "v1", "PodTemplate", "podtemplates", Scope::Namespaced));

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        workload::default_template(object, &["template"]);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        workload::validate_template(get(object, "template"), &path("template"))
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        workload::template_warnings(object, old, &["template"], false)
    }

    fn columns(&self) -> Vec<Column> {
        ["Containers", "Images", "Pod Labels"].iter().fold(vec![Column::name()], |mut all, name| {
            all.push(Column::new(name, "string"));
            all
        })
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let (containers, images) = table::containers(value::at(object, &["template", "spec"]).unwrap_or(&Value::Null));
        let labels = table::labels(value::at(object, &["template", "metadata", "labels"]).unwrap_or(&Value::Null));
        vec![table::name(object), containers.into(), images.into(), labels.into()]
    }
}
