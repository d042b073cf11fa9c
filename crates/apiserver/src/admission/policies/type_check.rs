//! Tells in a policy's status what cannot be right about its expressions, by the schemas of what it is about. That
//! changes nothing of what the policy does.

use super::super::matching::texts;
use crate::catalog::Resource;
use crate::server::ApiServer;
use cel::{FieldType, ListKind, ListType, ObjectType, Type};
use kinds::admissionregistration::expressions::{Compiler, Wanted};
use meta::schema::{self, Scalar, Schema, TypeId};
use meta::{ApiError, GroupResource, GroupVersion, value};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How many kinds a policy is held against at most.
const KINDS: usize = 10;

fn policies() -> GroupResource {
    GroupResource::new("admissionregistration.k8s.io", "validatingadmissionpolicies")
}

/// Runs until `stop`.
pub async fn run(server: ApiServer, stop: CancellationToken) {
    let mut changes = server.objects().changes(&policies());
    loop {
        let change = tokio::select! {
            () = stop.cancelled() => return,
            change = changes.recv() => change,
        };
        let Some(change) = change else { return };
        let Some(object) = change.new else { continue };
        let policy = object.value();
        if observed(&policy) {
            continue;
        }
        let warnings = check(&server, &policy);
        let written = server.update_status(&policies(), "", object.name(), |now| note(now, &policy, &warnings)).await;
        if let Err(error) = written.map(drop)
            && error.reason != "NotFound"
        {
            tracing::warn!(policy = object.name(), %error, "the status of an admission policy could not be written");
        }
    }
}

fn observed(policy: &Value) -> bool {
    let number = |path: &[&str]| value::int(policy, path).unwrap_or(0);
    number(&["status", "observedGeneration"]) >= number(&["metadata", "generation"])
        && value::at(policy, &["status", "typeChecking"]).is_some()
}

fn note(now: &mut Value, checked: &Value, warnings: &[Value]) -> Result<(), ApiError> {
    // A newer one comes up by its own change.
    if value::at(now, &["metadata", "generation"]) == value::at(checked, &["metadata", "generation"]) {
        value::carry(now, &json!({"status": {"observedGeneration": checked["metadata"]["generation"]}}), &["status", "observedGeneration"]);
        let checking = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
        value::set(now, &["status", "typeChecking"], checking);
    }
    Ok(())
}

fn check(server: &ApiServer, policy: &Value) -> Vec<Value> {
    let spec = &policy["spec"];
    let about = about(server, spec);
    let (has_params, params) = match spec.get("paramKind").filter(|k| k.is_object()) {
        Some(kind) => {
            let version = GroupVersion::parse(value::text(kind, &["apiVersion"]));
            let found = server.catalog().by_kind(&version.group, &version.version, value::text(kind, &["kind"]));
            (true, found.map_or(Type::Dyn, |r| type_of(&r)))
        }
        None => (false, Type::Dyn),
    };
    let compilers: Vec<(String, Compiler)> = about
        .iter()
        .map(|resource| {
            let mut compiler = Compiler::typed(has_params, type_of(resource), params.clone());
            for variable in value::items(spec, &["variables"]) {
                // What is wrong with a variable shows where it is used.
                let _ = compiler.variable(value::text(variable, &["name"]), value::text(variable, &["expression"]));
            }
            (format!("{}, Kind={}", resource.api_version, resource.group_kind.kind), compiler)
        })
        .collect();
    let mut warnings = Vec::new();
    for (i, validation) in value::items(spec, &["validations"]).iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let source = value::text(validation, &[field]);
            if source.trim().is_empty() {
                continue;
            }
            let wrong = |(about, compiler): &(String, Compiler)| {
                let why = compiler.compile(source, Wanted::Anything).err()?;
                Some(format!("{about}: {why}\n"))
            };
            let all: Vec<String> = compilers.iter().filter_map(wrong).collect();
            if !all.is_empty() {
                warnings.push(json!({"fieldRef": format!("spec.validations[{i}].{field}"), "warning": all.join("\n")}));
            }
        }
    }
    warnings
}

/// The kinds that the policy's rules name, without those named by `*`.
fn about(server: &ApiServer, spec: &Value) -> Vec<Arc<Resource>> {
    let mut found: Vec<Arc<Resource>> = Vec::new();
    for rule in value::items(spec, &["matchConstraints", "resourceRules"]) {
        let named = |key: &str| {
            let mut all: Vec<String> = texts(rule, key).into_iter().filter(|t| !t.contains('*') && !t.contains('/')).collect();
            all.sort();
            all
        };
        for group in named("apiGroups") {
            for version in named("apiVersions") {
                for resource in named("resources") {
                    let known = server.catalog().lookup(&group, &version, &resource);
                    found.extend(known.filter(|r| !found.iter().any(|f| Arc::ptr_eq(f, r))));
                }
            }
        }
    }
    found.truncate(KINDS);
    found
}

fn type_of(resource: &Resource) -> Type {
    let schema = resource.kind.schema();
    of(&schema, schema.root, &resource.group_kind.kind, &mut Vec::new())
}

/// `inside` are the types that this one is part of: one that is part of itself is anything there.
fn of(schema: &Schema, id: TypeId, name: &str, inside: &mut Vec<TypeId>) -> Type {
    if inside.contains(&id) {
        return Type::Dyn;
    }
    inside.push(id);
    let ty = inner(schema, id, name, inside);
    inside.pop();
    ty
}

fn inner(schema: &Schema, id: TypeId, name: &str, inside: &mut Vec<TypeId>) -> Type {
    match schema.ty(id) {
        schema::Type::Any => Type::Dyn,
        schema::Type::Scalar(scalar) => match scalar {
            Scalar::String | Scalar::Quantity => Type::String,
            Scalar::Int32 | Scalar::Int64 => Type::Int,
            Scalar::Float => Type::Double,
            Scalar::Bool => Type::Bool,
            Scalar::IntOrString => Type::Dyn,
            Scalar::Time | Scalar::MicroTime => Type::Timestamp,
            Scalar::Bytes => Type::Bytes,
        },
        schema::Type::Struct(shape) if shape.open || shape.fields.is_empty() => Type::Dyn,
        schema::Type::Struct(shape) => {
            let fields = shape.fields.iter().filter_map(|field| {
                let ty = of(schema, field.ty, &format!("{name}.{}", field.name), inside);
                Some((cel::escape(&field.name)?, FieldType { name: field.name.to_string(), ty }))
            });
            Type::Object(Arc::new(ObjectType { name: name.to_string(), fields: fields.collect() }))
        }
        schema::Type::Map { value, .. } => Type::map(Type::String, of(schema, *value, &format!("{name}.@elem"), inside)),
        schema::Type::List { item, .. } => {
            let element = of(schema, *item, &format!("{name}.@idx"), inside);
            Type::List(Arc::new(ListType { element, kind: ListKind::Atomic }))
        }
    }
}
