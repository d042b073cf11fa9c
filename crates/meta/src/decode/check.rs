//! Types, unknown fields and canonical forms.

use super::{Path, Step};
use crate::schema::{Scalar, Schema, Struct, Type, TypeId};
use crate::{ApiError, Quantity, time};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// A value that no decoding could make sense of; the text is Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypeError(pub String);

impl TypeError {
    /// `Deployment in version "v1" cannot be handled as a Deployment: json: ...`
    pub fn to_api(&self, kind: &str, version: &str) -> ApiError {
        ApiError::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {}", self.0))
    }
}

/// Prunes what the schema does not know and answers its paths (`spec.foo`), in the order of the object.
/// Where this fails the object is left half done.
pub fn check(schema: &Schema, object: &mut Value) -> Result<Vec<String>, TypeError> {
    let mut walk = Walk { schema, unknown: Vec::new() };
    walk.value(schema.root, object, &Path::ROOT, "")?;
    Ok(walk.unknown)
}

struct Walk<'a> {
    schema: &'a Schema,
    unknown: Vec<String>,
}

impl Walk<'_> {
    /// `owner` is the Go name of the innermost struct, for error texts.
    fn value(&mut self, ty: TypeId, value: &mut Value, path: &Path<'_>, owner: &str) -> Result<(), TypeError> {
        let schema = self.schema;
        match (schema.ty(ty), &mut *value) {
            (Type::Any, _) => Ok(()),
            (Type::Struct(shape), Value::Object(map)) => self.fields(shape, map, self.lenient(ty), path),
            (Type::Map { value: inner, .. }, Value::Object(map)) => {
                for (key, item) in map.iter_mut() {
                    if item.is_null() && !self.lenient(ty) {
                        *item = self.zero(*inner);
                    }
                    self.value(*inner, item, &path.entry(key), owner)?;
                }
                Ok(())
            }
            (Type::List { item: inner, .. }, Value::Array(items)) => {
                for (i, item) in items.iter_mut().enumerate() {
                    if item.is_null() && !self.lenient(ty) {
                        *item = self.zero(*inner);
                    }
                    self.value(*inner, item, &path.index(i), owner)?;
                }
                Ok(())
            }
            (Type::Scalar(scalar), value) => self.scalar(*scalar, value, path, owner),
            _ if self.lenient(ty) => Ok(()),
            (_, value) => Err(self.mismatch(ty, value, path, owner)),
        }
    }

    fn lenient(&self, ty: TypeId) -> bool {
        self.schema.lenient.is_some_and(|from| ty >= from)
    }

    fn fields(&mut self, shape: &Struct, map: &mut Map<String, Value>, lenient: bool, path: &Path<'_>) -> Result<(), TypeError> {
        let owner = short(&shape.name);
        let mut result = Ok(());
        map.retain(|key, value| {
            if result.is_err() {
                return true;
            }
            let path = path.key(key);
            match shape.field(key) {
                Some(field) if value.is_null() && !(lenient && (self.lenient(field.ty) || *self.schema.ty(field.ty) == Type::Any)) => false,
                Some(field) => {
                    result = self.value(field.ty, value, &path, owner);
                    true
                }
                None if shape.open => true,
                None => {
                    self.unknown.push(path.text());
                    false
                }
            }
        });
        result
    }

    /// What Go leaves in a map or list whose element was null.
    fn zero(&self, ty: TypeId) -> Value {
        match self.schema.ty(ty) {
            Type::Any => Value::Null,
            Type::Struct(_) | Type::Map { .. } => Value::Object(Map::new()),
            Type::List { .. } => Value::Array(Vec::new()),
            Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString | Scalar::Float) => 0.into(),
            Type::Scalar(Scalar::Bool) => false.into(),
            Type::Scalar(Scalar::Quantity) => "0".into(),
            Type::Scalar(Scalar::Time | Scalar::MicroTime) => Value::Null,
            Type::Scalar(Scalar::String | Scalar::Bytes) => "".into(),
        }
    }

    fn scalar(&self, scalar: Scalar, value: &mut Value, path: &Path<'_>, owner: &str) -> Result<(), TypeError> {
        let wrong = |value: &Value| Err(type_error(value, go_scalar(scalar), path, owner));
        match (scalar, &mut *value) {
            (Scalar::String, Value::String(_)) | (Scalar::Bool, Value::Bool(_)) | (Scalar::Float, Value::Number(_)) => Ok(()),
            (Scalar::IntOrString, Value::String(_)) => Ok(()),
            (Scalar::Int32 | Scalar::IntOrString, Value::Number(n)) => match n.as_i64() {
                Some(i) if i32::try_from(i).is_ok() => Ok(()),
                _ => wrong(value),
            },
            (Scalar::Int64, Value::Number(n)) if n.is_i64() || n.as_i64().is_some() => Ok(()),
            (Scalar::Bytes, Value::String(text)) => base64(text),
            (Scalar::Quantity, quantity @ (Value::String(_) | Value::Number(_))) => {
                let parsed = Quantity::from_value(quantity).map_err(|e| TypeError(e.to_string()))?;
                let canonical = parsed.to_string();
                if quantity.as_str() != Some(&canonical) {
                    *quantity = canonical.into();
                }
                Ok(())
            }
            (Scalar::Time | Scalar::MicroTime, Value::Null) => Ok(()),
            (Scalar::Time | Scalar::MicroTime, Value::String(text)) => {
                let parsed = time::parse(text).map_err(|e| TypeError(e.to_string()))?;
                let canonical = if scalar == Scalar::Time { time::format(parsed) } else { time::format_micro(parsed) };
                if *text != canonical {
                    *text = canonical;
                }
                Ok(())
            }
            (_, value) => wrong(value),
        }
    }

    fn mismatch(&self, ty: TypeId, value: &Value, path: &Path<'_>, owner: &str) -> TypeError {
        type_error(value, &self.go_type(ty), path, owner)
    }

    fn go_type(&self, ty: TypeId) -> String {
        match self.schema.ty(ty) {
            Type::Any => "interface {}".into(),
            Type::Scalar(scalar) => go_scalar(*scalar).into(),
            Type::Struct(shape) => package(&shape.name).into(),
            Type::Map { value, .. } => format!("map[string]{}", self.go_type(*value)),
            Type::List { item, .. } => format!("[]{}", self.go_type(*item)),
        }
    }
}

/// `DeploymentSpec` of `io.k8s.api.apps.v1.DeploymentSpec`.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

/// `v1.DeploymentSpec` of `io.k8s.api.apps.v1.DeploymentSpec`.
fn package(name: &str) -> &str {
    name.rmatch_indices('.').nth(1).map_or(name, |(i, _)| name.get(i + 1..).unwrap_or(name))
}

fn go_scalar(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::String | Scalar::Time | Scalar::MicroTime | Scalar::Quantity => "string",
        Scalar::Int32 | Scalar::IntOrString => "int32",
        Scalar::Int64 => "int64",
        Scalar::Float => "float64",
        Scalar::Bool => "bool",
        Scalar::Bytes => "[]uint8",
    }
}

fn type_error(value: &Value, go_type: &str, path: &Path<'_>, owner: &str) -> TypeError {
    let found = match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(n) if matches!(go_type, "int32" | "int64") => format!("number {n}"),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(_) => "array".into(),
        Value::Object(_) => "object".into(),
    };
    let mut keys = Vec::new();
    let mut here = Some(path);
    while let Some(path) = here {
        if let Step::Key(key) = path.step {
            keys.push(key);
        }
        here = path.parent;
    }
    keys.reverse();
    if keys.is_empty() {
        return TypeError(format!("json: cannot unmarshal {found} into Go value of type {go_type}"));
    }
    TypeError(format!("json: cannot unmarshal {found} into Go struct field {owner}.{} of type {go_type}", keys.join(".")))
}

/// Go skips line breaks inside base64; what it decodes is then shown without them.
fn base64(text: &mut String) -> Result<(), TypeError> {
    if text.contains(['\n', '\r']) {
        text.retain(|c| c != '\n' && c != '\r');
    }
    match STANDARD.decode(text.as_bytes()) {
        Ok(_) => Ok(()),
        Err(base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _)) => {
            Err(TypeError(format!("illegal base64 data at input byte {at}")))
        }
        Err(_) => Err(TypeError(format!("illegal base64 data at input byte {}", text.len() / 4 * 4))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Field, ListType};
    use serde_json::json;

    fn schema() -> Schema {
        let field = Field::new;
        let shape = |name: &str, fields| Type::Struct(Struct { name: name.into(), fields, atomic: false, open: false });
        let scalars = [Scalar::String, Scalar::Int32, Scalar::Time, Scalar::Quantity, Scalar::Bytes, Scalar::Bool];
        let mut types: Vec<Type> = scalars.into_iter().map(Type::Scalar).collect();
        types.push(Type::Map { value: 0, atomic: false });
        types.push(shape(
            "io.k8s.api.core.v1.Item",
            vec![field("at", 2), field("data", 4), field("n", 1), field("name", 0), field("size", 3)],
        ));
        types.push(Type::List { item: 7, list_type: ListType::Atomic });
        types.push(shape("io.k8s.api.core.v1.Spec", vec![field("items", 8), field("labels", 6), field("on", 5)]));
        types.push(shape("io.k8s.api.core.v1.Thing", vec![field("spec", 9)]));
        Schema { types, root: 10, lenient: None }
    }

    fn error(object: Value) -> String {
        check(&schema(), &mut object.clone()).unwrap_err().0
    }

    #[test]
    fn unknown_fields_are_pruned_and_named() {
        let mut object = json!({"spec": {"items": [{"name": "a"}, {"nam": "b", "n": 1}], "foo": {}}, "x": 1});
        let unknown = check(&schema(), &mut object).unwrap();
        assert_eq!(unknown, ["spec.foo", "spec.items[1].nam", "x"]);
        assert_eq!(object, json!({"spec": {"items": [{"name": "a"}, {"n": 1}]}}));
        assert_eq!(
            super::super::strict_error(&unknown[..1], &["duplicate field \"spec.x\"".into()]),
            r#"strict decoding error: unknown field "spec.foo", duplicate field "spec.x""#
        );
    }

    #[test]
    fn null_is_absent_in_structs_and_zero_in_maps_and_lists() {
        let mut object = json!({"spec": {"on": null, "labels": {"a": null}, "items": [null]}});
        assert!(check(&schema(), &mut object).unwrap().is_empty());
        assert_eq!(object, json!({"spec": {"labels": {"a": ""}, "items": [{}]}}));
    }

    #[test]
    fn wrong_types_are_told_in_the_words_of_the_go_decoder() {
        assert_eq!(
            error(json!({"spec": {"items": [{"n": "x"}]}})),
            "json: cannot unmarshal string into Go struct field Item.spec.items.n of type int32"
        );
        assert_eq!(
            error(json!({"spec": {"items": [{"n": 3_000_000_000_u32}]}})),
            "json: cannot unmarshal number 3000000000 into Go struct field Item.spec.items.n of type int32"
        );
        assert_eq!(
            error(json!({"spec": {"items": {}}})),
            "json: cannot unmarshal object into Go struct field Spec.spec.items of type []v1.Item"
        );
        assert_eq!(
            error(json!({"spec": {"labels": {"a": 1}}})),
            "json: cannot unmarshal number into Go struct field Spec.spec.labels of type string"
        );
        assert_eq!(error(json!([])), "json: cannot unmarshal array into Go value of type v1.Thing");
        assert_eq!(error(json!({"spec": {"items": [{"data": "a$b="}]}})), "illegal base64 data at input byte 1");
        assert!(error(json!({"spec": {"items": [{"size": "1Q"}]}})).starts_with("quantities must match"));
        assert!(error(json!({"spec": {"items": [{"at": "yesterday"}]}})).starts_with("parsing time \"yesterday\""));
    }

    #[test]
    fn quantities_and_times_come_out_canonical() {
        let mut object = json!({"spec": {"items": [{"size": 1.5, "at": "2026-01-02T05:04:05.5+02:00"}, {"size": "1000m"}]}});
        check(&schema(), &mut object).unwrap();
        assert_eq!(object, json!({"spec": {"items": [{"size": "1500m", "at": "2026-01-02T03:04:05Z"}, {"size": "1"}]}}));
    }
}
