//! Ownership as users see it, on a kind with every sort of field.

use super::*;
use crate::error::ApiError;
use crate::schema::{Field, ListType, Scalar, Schema, Struct, Type};
use crate::value;
use proptest::prelude::*;
use serde_json::{Value, json};

const STRING: u32 = 0;
const INT: u32 = 1;
const LABELS: u32 = 2;
const PORT: u32 = 3;
const PORTS: u32 = 4;
const NAMES: u32 = 5;
const ARGS: u32 = 6;
const META: u32 = 7;
const SPEC: u32 = 8;
const STATUS: u32 = 9;
const ROOT: u32 = 10;

fn structure(fields: &[(&str, u32)], required: &[&str]) -> Type {
    let mut fields: Vec<Field> =
        fields.iter().map(|(name, ty)| Field { required: required.contains(name), ..Field::new(name, *ty) }).collect();
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    Type::Struct(Struct { name: String::new(), fields, atomic: false, open: false })
}

fn schema() -> Schema {
    let types = vec![
        Type::Scalar(Scalar::String),
        Type::Scalar(Scalar::Int64),
        Type::Map { value: STRING, atomic: false },
        structure(&[("port", INT), ("name", STRING)], &[]),
        Type::List { item: PORT, list_type: ListType::Map(vec!["port".into()]) },
        Type::List { item: STRING, list_type: ListType::Set },
        Type::List { item: STRING, list_type: ListType::Atomic },
        structure(&[("name", STRING), ("namespace", STRING), ("labels", LABELS), ("annotations", LABELS), ("managedFields", ARGS)], &[]),
        structure(&[("replicas", INT), ("image", STRING), ("ports", PORTS), ("names", NAMES), ("args", ARGS)], &[]),
        structure(&[("phase", STRING)], &[]),
        structure(&[("apiVersion", STRING), ("kind", STRING), ("metadata", META), ("spec", SPEC), ("status", STATUS)], &[]),
    ];
    Schema { types, root: ROOT, lenient: None }
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, api_version: "example.com/v1", subresource: "", time: "2026-01-01T00:00:00Z", reset: &["status"] }
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x", "namespace": "n"}, "spec": spec})
}

fn fields(object: &Value, manager: &str) -> Value {
    let entries = value::items(object, &["metadata", "managedFields"]);
    entries.iter().find(|e| e["manager"] == manager).map_or(Value::Null, |e| e["fieldsV1"].clone())
}

#[test]
fn a_field_that_its_applier_drops_goes_unless_another_owns_it() {
    let schema = schema();
    let live = apply(
        &schema,
        &Value::Null,
        &object(json!({"replicas": 1, "image": "a", "ports": [{"port": 1}, {"port": 2, "name": "b"}]})),
        false,
        writer("one"),
    )
    .unwrap();
    assert_eq!(
        fields(&live, "one"),
        json!({"f:spec": {"f:replicas": {}, "f:image": {}, "f:ports": {
        "k:{\"port\":1}": {".": {}, "f:port": {}}, "k:{\"port\":2}": {".": {}, "f:port": {}, "f:name": {}}}}})
    );
    let live = apply(&schema, &live, &object(json!({"image": "a"})), false, writer("two")).unwrap();
    let live = apply(&schema, &live, &object(json!({"ports": [{"port": 2}]})), false, writer("one")).unwrap();
    assert_eq!(live["spec"], json!({"image": "a", "ports": [{"port": 2}]}));
    assert_eq!(fields(&live, "two"), json!({"f:spec": {"f:image": {}}}));
    let live = apply(&schema, &live, &object(json!({})), false, writer("one")).unwrap();
    assert_eq!(live["spec"], json!({"image": "a"}));
}

#[test]
fn a_conflict_names_who_owns_what_and_force_takes_it() {
    let schema = schema();
    let mut live = object(json!({"replicas": 1, "image": "a"}));
    track_update(&schema, &mut live, None, writer("kubectl-edit"));
    let wanted = object(json!({"replicas": 2}));
    let error = apply(&schema, &live, &wanted, false, writer("ci")).unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using example.com/v1: .spec.replicas");
    let status = ApiError::from(error).to_status();
    assert_eq!(
        status["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "field": ".spec.replicas",
        "message": "conflict with \"kubectl-edit\" using example.com/v1"}])
    );
    let live = apply(&schema, &live, &wanted, true, writer("ci")).unwrap();
    assert_eq!(live["spec"], json!({"replicas": 2, "image": "a"}));
    assert_eq!(fields(&live, "kubectl-edit"), json!({"f:spec": {".": {}, "f:image": {}}}));
    let error = apply(&schema, &live, &object(json!({"replicas": 3, "image": "b"})), false, writer("third")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"ci\":\n- .spec.replicas\nconflicts with \"kubectl-edit\" using example.com/v1:\n- .spec.image"
    );
}

#[test]
fn the_same_value_is_shared_and_applying_it_again_keeps_the_time() {
    let schema = schema();
    let wanted = object(json!({"replicas": 1}));
    let live = apply(&schema, &Value::Null, &wanted, false, writer("one")).unwrap();
    let live = apply(&schema, &live, &wanted, false, writer("two")).unwrap();
    assert_eq!(fields(&live, "one"), fields(&live, "two"));
    let later = Writer { time: "2026-01-02T00:00:00Z", ..writer("one") };
    assert_eq!(apply(&schema, &live, &wanted, false, later).unwrap(), live);
}

#[test]
fn items_of_others_stay_and_the_order_is_the_appliers() {
    let schema = schema();
    let mut live = object(json!({"ports": [{"port": 1}, {"port": 2}, {"port": 3}], "names": ["a", "b"], "args": ["x"]}));
    track_update(&schema, &mut live, None, writer("client"));
    let live =
        apply(&schema, &live, &object(json!({"ports": [{"port": 3}, {"port": 4}, {"port": 1}], "names": ["c"]})), true, writer("ci"))
            .unwrap();
    let ports: Vec<i64> = value::items(&live, &["spec", "ports"]).iter().filter_map(|p| p["port"].as_i64()).collect();
    assert_eq!(ports, [2, 3, 4, 1]);
    assert_eq!(live["spec"]["names"], json!(["a", "b", "c"]));
    assert_eq!(live["spec"]["args"], json!(["x"]));
}

#[test]
fn an_update_takes_what_it_changes_and_nothing_else() {
    let schema = schema();
    let live = apply(&schema, &Value::Null, &object(json!({"replicas": 1, "image": "a", "args": ["x"]})), false, writer("ci")).unwrap();
    let mut new = live.clone();
    new["spec"]["replicas"] = 5.into();
    new["status"] = json!({"phase": "no"});
    value::remove(&mut new, &["spec", "args"]);
    value::remove(&mut new, &["metadata", "managedFields"]);
    track_update(&schema, &mut new, Some(&live), writer("scaler"));
    assert_eq!(fields(&new, "scaler"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(fields(&new, "ci"), json!({"f:spec": {"f:image": {}}}));
    let before = new.clone();
    track_update(&schema, &mut new, Some(&before), Writer { time: "2027-01-01T00:00:00Z", ..writer("idle") });
    assert_eq!(new, before);
}

#[test]
fn a_client_may_edit_or_reset_the_entries_but_not_lose_them_by_accident() {
    let schema = schema();
    let live = apply(&schema, &Value::Null, &object(json!({"replicas": 1})), false, writer("ci")).unwrap();
    for (sent, owner) in [
        (json!([{}]), Value::Null),
        (json!([]), json!({"f:spec": {"f:replicas": {}}})),
        (json!([{"operation": "x"}]), json!({"f:spec": {"f:replicas": {}}})),
    ] {
        let mut new = live.clone();
        new["metadata"]["managedFields"] = sent;
        track_update(&schema, &mut new, Some(&live), writer("client"));
        assert_eq!(fields(&new, "ci"), owner);
    }
    let mut migrated = live.clone();
    migrated["metadata"]["managedFields"][0]["manager"] = "kubectl".into();
    track_update(&schema, &mut migrated, Some(&live), writer("client"));
    assert_eq!(fields(&migrated, "kubectl"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(fields(&migrated, "ci"), Value::Null);
}

#[test]
fn kubectl_takes_over_what_its_client_side_apply_had_set() {
    let schema = schema();
    let mut live = object(json!({"replicas": 1, "image": "a"}));
    let annotation = live.to_string();
    value::set(&mut live, &["metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"], annotation);
    track_update(&schema, &mut live, None, writer("kubectl-client-side-apply"));
    let wanted = object(json!({"replicas": 2, "image": "a"}));
    assert!(matches!(apply(&schema, &live, &wanted, false, writer("ci")), Err(ApplyError::Conflicts(_))));
    let taken = apply(&schema, &live, &wanted, false, writer("kubectl")).unwrap();
    assert_eq!(taken["spec"]["replicas"], 2);
    assert!(
        value::text(&taken, &["metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"]).contains("\"replicas\":2")
    );
    let before = live.clone();
    live["spec"]["replicas"] = 7.into();
    track_update(&schema, &mut live, Some(&before), writer("hpa"));
    let error = apply(&schema, &live, &wanted, false, writer("kubectl")).unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 1 conflict: conflict with \"hpa\" using example.com/v1: .spec.replicas");
}

#[test]
fn the_oldest_updaters_are_put_together() {
    let schema = schema();
    let mut live = object(json!({}));
    for i in 0..14 {
        let old = live.clone();
        value::set(&mut live, &["metadata", "labels", &format!("l{i:02}")], "x");
        let (manager, time) = (format!("m{i:02}"), format!("2026-01-{:02}T00:00:00Z", i + 1));
        track_update(&schema, &mut live, Some(&old), Writer { time: &time, ..writer(&manager) });
    }
    let names: Vec<&str> = value::items(&live, &["metadata", "managedFields"]).iter().map(|e| value::text(e, &["manager"])).collect();
    assert_eq!(names, ["ancient-changes", "m05", "m06", "m07", "m08", "m09", "m10", "m11", "m12", "m13"]);
    assert_eq!(
        value::at(&fields(&live, "ancient-changes"), &["f:metadata", "f:labels"]).and_then(Value::as_object).map(|l| l.len()),
        Some(6)
    );
}

#[test]
fn what_was_there_before_the_first_apply_is_owned_by_nobody_in_particular() {
    let schema = schema();
    let live = object(json!({"replicas": 1}));
    let error = apply(&schema, &live, &object(json!({"replicas": 2})), false, writer("ci")).unwrap_err();
    assert!(error.to_string().contains("conflict with \"before-first-apply\" using example.com/v1"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let schema = schema();
    let error = |spec| apply(&schema, &Value::Null, &object(spec), false, writer("ci")).unwrap_err().to_string();
    let prefix = "failed to create typed patch object (n/x; example.com/v1, Kind=Thing): ";
    assert_eq!(error(json!({"nope": 1})), format!("{prefix}.spec.nope: field not declared in schema"));
    assert_eq!(error(json!({"ports": [{"port": 1}, {"port": 1}]})), format!("{prefix}.spec.ports: duplicate entries for key [port=1]"));
    assert_eq!(error(json!({"image": 1})), format!("{prefix}.spec.image: expected string, got 1"));
    let mut with = object(json!({}));
    with["metadata"]["managedFields"] = json!([]);
    assert_eq!(apply(&schema, &Value::Null, &with, false, writer("ci")).unwrap_err().to_string(), "metadata.managedFields must be nil");
}

fn spec() -> impl Strategy<Value = Value> {
    let ports = proptest::collection::btree_map(1..4i64, proptest::option::of("[ab]"), 0..3);
    let names = proptest::collection::btree_set("[a-c]", 0..3);
    (proptest::option::of(0..3i64), proptest::option::of("[ab]"), ports, names).prop_map(|(replicas, image, ports, names)| {
        let mut spec = json!({});
        if let Some(replicas) = replicas {
            spec["replicas"] = replicas.into();
        }
        if let Some(image) = image {
            spec["image"] = image.into();
        }
        if !ports.is_empty() {
            let port = |(port, name): (i64, Option<String>)| match name {
                Some(name) => json!({"port": port, "name": name}),
                None => json!({"port": port}),
            };
            spec["ports"] = ports.into_iter().map(port).collect();
        }
        if !names.is_empty() {
            spec["names"] = names.into_iter().collect();
        }
        spec
    })
}

/// The leaves of an object, as paths with their values.
fn leaves(object: &Value) -> Vec<String> {
    let schema = schema();
    let types = shape::Types(&schema);
    let mut paths = types.fields(types.root(), &json!({"spec": object["spec"]})).paths();
    // An empty spec counts as a leaf until anybody fills it.
    paths.retain(|path| path != ".spec");
    paths
}

proptest! {
    #[test]
    fn the_last_forced_apply_has_its_way(specs in proptest::collection::vec((spec(), 0..3usize), 1..6)) {
        let schema = schema();
        let mut live = Value::Null;
        for (spec, who) in specs {
            let wanted = object(spec);
            let manager = ["a", "b", "c"][who];
            live = apply(&schema, &live, &wanted, true, writer(manager)).unwrap();
            let there = leaves(&live);
            for path in leaves(&wanted) {
                prop_assert!(there.contains(&path), "{path} is missing from {live}");
            }
            // Nothing is there that nobody owns, and nothing is owned that is not there.
            let mut owned = Set::default();
            for entry in value::items(&live, &["metadata", "managedFields"]) {
                owned.union(&Set::from_json(&entry["fieldsV1"]).unwrap());
            }
            let owned = owned.paths();
            for path in &there {
                prop_assert!(owned.contains(path), "{path} is owned by nobody in {live}");
            }
            for path in owned.iter().filter(|path| *path != ".spec") {
                prop_assert!(there.contains(path), "{path} is owned and not in {live}");
            }
            prop_assert_eq!(apply(&schema, &live, &wanted, false, writer(manager)).unwrap(), live.clone());
        }
    }

    #[test]
    fn one_applier_alone_gets_exactly_what_it_says(first in spec(), second in spec()) {
        let schema = schema();
        let live = apply(&schema, &Value::Null, &object(first), false, writer("a")).unwrap();
        let live = apply(&schema, &live, &object(second.clone()), false, writer("a")).unwrap();
        prop_assert_eq!(leaves(&live), leaves(&object(second)));
    }
}
