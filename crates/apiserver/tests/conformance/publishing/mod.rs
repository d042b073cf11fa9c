//! How custom resources are published: in the documents, and in what kubectl makes of them.

mod clients;
mod documents;

use super::definitions::CRDS;
use crate::support::*;
use serde_json::{Value, json};

/// A definition of one kind in some versions that share a schema.
pub struct Published {
    group: String,
    kind: &'static str,
    versions: &'static [&'static str],
    schema: Value,
}

impl Published {
    pub fn new(group: &str, kind: &'static str, versions: &'static [&'static str], schema: Value) -> Self {
        Self { group: format!("{group}.example.com"), kind, versions, schema }
    }

    pub fn plural(&self) -> String {
        format!("{}s", self.kind.to_lowercase())
    }

    pub fn uri(&self) -> String {
        format!("{CRDS}/{}.{}", self.plural(), self.group)
    }

    pub fn name(&self, version: &str) -> String {
        let group: Vec<&str> = self.group.rsplit('.').collect();
        format!("{}.{version}.{}", group.join("."), self.kind)
    }

    pub fn manifest(&self, name: &str, mut object: Value) -> String {
        object["apiVersion"] = format!("{}/{}", self.group, self.versions[0]).into();
        object["kind"] = self.kind.into();
        object["metadata"] = json!({"name": name});
        object.to_string()
    }

    /// Makes it, and waits until all its versions are in the documents.
    pub async fn define(&self, s: &Server) {
        let version = |(i, name): (usize, &&str)| json!({"name": name, "served": true, "storage": i == 0, "schema": {"openAPIV3Schema": self.schema}});
        let versions: Vec<Value> = self.versions.iter().enumerate().map(version).collect();
        let names = json!({"plural": self.plural(), "singular": self.kind.to_lowercase(), "kind": self.kind});
        let definition = json!({"metadata": {"name": format!("{}.{}", self.plural(), self.group)},
            "spec": {"group": self.group, "scope": "Namespaced", "names": names, "versions": versions}});
        s.post(CRDS, definition).await.expect(201);
        for version in self.versions {
            self.served(s, version, true).await;
        }
    }

    /// Waits until a version is in the documents, or is no more.
    pub async fn served(&self, s: &Server, version: &str, served: bool) {
        let path = format!("apis/{}/{version}", self.group);
        let (name, plural) = (self.name(version), self.plural());
        for _ in 0..400 {
            let newer = s.get(&format!("/openapi/v3/{path}")).await.body;
            if newer["components"]["schemas"].get(&name).is_some() == served {
                let index = s.get("/openapi/v3").await.expect(200);
                assert!(index["paths"].get(&path).is_some() || !served, "{path} is not in {index}");
                let paths = newer["paths"].as_object().into_iter().flatten();
                assert_eq!(paths.filter(|(path, _)| path.ends_with(&plural)).count() > 0, served);
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("{name} is {} published", if served { "never" } else { "still" })
    }

    /// Its definition in the older document, without what every object has.
    pub fn told(&self, document: &Value, version: &str) -> Value {
        let mut told = document["definitions"][self.name(version)].clone();
        let gvk = json!([{"group": self.group, "version": version, "kind": self.kind}]);
        if let Value::Object(map) = &mut told {
            assert_eq!(map.remove("x-kubernetes-group-version-kind"), Some(gvk));
            if let Some(Value::Object(properties)) = map.get_mut("properties") {
                properties.retain(|name, _| !["apiVersion", "kind", "metadata"].contains(&name.as_str()));
            }
        }
        told
    }
}

/// The older document; it is all or nothing.
pub async fn older(s: &Server) -> Value {
    s.get("/openapi/v2").await.expect(200)
}

pub fn foo() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let bar = json!({"type": "object", "required": ["name"], "properties": {
        "name": text("Name of Bar."), "age": text("Age of Bar."),
        "feeling": {"type": "string", "description": "How Bar feels.", "enum": ["Great", "Down"]},
        "bazs": {"type": "array", "description": "List of Bazs.", "items": {"type": "string"}}}});
    let status = json!({"type": "object", "properties": {"name": text("Name of Bar."),
        "available": {"type": "boolean", "description": "Whether Bar is there."},
        "qux": {"type": "string", "description": "Where qux is.", "pattern": "in-tree|out-of-tree"}}});
    let list = |description: &str, item: Value| {
        json!({"type": "object", "description": description,
        "properties": {"bars": {"type": "array", "description": "List of Bars.", "items": item}}})
    };
    json!({"type": "object", "description": "Foo for this test.", "properties": {
        "spec": list("Specification of Foo", bar), "status": list("Status of Foo", status)}})
}

pub fn waldo() -> Value {
    let spec = json!({"type": "object", "description": "Specification of Waldo",
        "properties": {"dummy": {"type": "object", "description": "Dummy property."}}});
    let bars = json!({"type": "array", "description": "List of Bars.", "items": {"type": "object"}});
    let status = json!({"type": "object", "description": "Status of Waldo", "properties": {"bars": bars}});
    json!({"type": "object", "description": "Waldo for this test.", "properties": {"spec": spec, "status": status}})
}
