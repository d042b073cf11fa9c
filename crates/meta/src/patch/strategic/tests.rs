use super::super::{PatchError, merge};
use super::apply;
use crate::schema::{self, Field, ListType, Scalar, Schema, Struct, Type};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::Map;
use serde_json::{Value, json};

/// A container-like list keyed by name, a list of finalizers that merges, one of arguments that does not.
fn schema() -> Schema {
    let plain = Field::new;
    let merging = |name: &str, ty, key: Option<&str>| Field {
        strategy: schema::Strategy { merge: true, retain_keys: false, key: key.map(Into::into) },
        ..plain(name, ty)
    };
    let shape = |fields| Type::Struct(Struct { name: String::new(), fields, atomic: false, open: false });
    Schema {
        types: vec![
            Type::Scalar(Scalar::String),
            Type::List { item: 0, list_type: ListType::Atomic },
            shape(vec![plain("args", 1), plain("image", 0), plain("name", 0)]),
            Type::List { item: 2, list_type: ListType::Map(vec!["name".into()]) },
            Type::Map { value: 0, atomic: false },
            shape(vec![merging("containers", 3, Some("name")), merging("finalizers", 1, None), plain("labels", 4), plain("strategy", 4)]),
        ],
        lenient: None,
        root: 5,
    }
}

fn patched(target: Value, patch: Value) -> Value {
    apply(&schema(), target, &patch).unwrap()
}

#[test]
fn keyed_lists_merge_by_key_in_the_order_of_the_patch() {
    let target = json!({"containers": [{"name": "a", "image": "1", "args": ["x", "y"]}, {"name": "b"}]});
    let patch = json!({"containers": [{"name": "c", "image": null}, {"name": "a", "image": "2", "args": ["z"]}]});
    assert_eq!(patched(target, patch), json!({"containers": [{"name": "c"}, {"name": "a", "image": "2", "args": ["z"]}, {"name": "b"}]}));
}

#[test]
fn patch_directives_delete_and_replace() {
    let target = json!({"containers": [{"name": "a"}, {"name": "b"}], "labels": {"x": "1", "y": "2"}});
    let delete = json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "gone", "$patch": "delete"}]});
    assert_eq!(patched(target.clone(), delete)["containers"], json!([{"name": "b"}]));
    let replace = json!({"containers": [{"name": "c"}, {"$patch": "replace"}], "labels": {"$patch": "replace", "z": "3"}});
    assert_eq!(patched(target.clone(), replace), json!({"containers": [{"name": "c"}], "labels": {"z": "3"}}));
    assert_eq!(patched(target.clone(), json!({"labels": {"$patch": "delete"}}))["labels"], json!({}));
    assert!(matches!(apply(&schema(), target, &json!({"labels": {"$patch": "frob"}})), Err(PatchError::Unmergeable(_))));
}

#[test]
fn primitive_lists_merge_and_lose_what_the_directive_names() {
    let target = json!({"finalizers": ["a", "b", "c"]});
    let patch = json!({"$deleteFromPrimitiveList/finalizers": ["b"], "finalizers": ["d", "a"]});
    assert_eq!(patched(target.clone(), patch), json!({"finalizers": ["d", "a", "c"]}));
    let ordered =
        json!({"$setElementOrder/finalizers": ["d", "c", "a"], "finalizers": ["d"], "$deleteFromPrimitiveList/finalizers": ["b"]});
    assert_eq!(patched(target, ordered), json!({"finalizers": ["d", "c", "a"]}));
}

#[test]
fn set_element_order_rules_over_the_old_order_and_checks_the_patch() {
    let target = json!({"containers": [{"name": "a"}, {"name": "server"}, {"name": "b"}]});
    let patch = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "n"}, {"name": "a"}], "containers": [{"name": "n"}]});
    assert_eq!(patched(target.clone(), patch), json!({"containers": [{"name": "server"}, {"name": "b"}, {"name": "n"}, {"name": "a"}]}));
    let astray = json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "n"}]});
    assert!(apply(&schema(), target, &astray).is_err());
}

#[test]
fn retain_keys_clears_the_rest() {
    let target = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": "x"}});
    let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}});
    assert_eq!(patched(target.clone(), patch), json!({"strategy": {"type": "Recreate"}}));
    let unlisted = json!({"strategy": {"$retainKeys": ["type"], "other": "x"}});
    assert_eq!(apply(&schema(), target, &unlisted), Err(PatchError::Malformed("invalid patch format of retainKeys".into())));
}

#[test]
fn items_without_their_merge_key_are_refused() {
    let result = apply(&schema(), json!({"containers": [{"name": "a"}]}), &json!({"containers": [{"image": "x"}]}));
    assert_eq!(result, Err(PatchError::Unmergeable("map: {\"image\":\"x\"} does not contain declared merge key: name".into())));
}

proptest! {
    #[test]
    fn without_directives_it_is_a_merge_patch_but_for_merging_lists(target in merge::tests::object(), other in merge::tests::object()) {
        let patch = merge::diff(&target, &other);
        prop_assert_eq!(apply(&Schema::any(), target, &patch).unwrap(), other);
    }
}

/// Some of a few names, each once, in any order.
fn names() -> impl Strategy<Value = Vec<String>> {
    vec("[a-e]", 0..5).prop_map(|all: Vec<String>| {
        let mut seen = std::collections::HashSet::new();
        all.into_iter().filter(|name| seen.insert(name.clone())).collect()
    })
}

fn container(name: String) -> impl Strategy<Value = Value> {
    (option::of("[x-z]"), option::of(vec("[p-r]", 0..3))).prop_map(move |(image, args)| {
        let mut container = json!({"name": name});
        image.into_iter().for_each(|image| container["image"] = image.into());
        args.into_iter().for_each(|args| container["args"] = args.into());
        container
    })
}

fn whole() -> impl Strategy<Value = Value> {
    let containers = names().prop_flat_map(|names| names.into_iter().map(container).collect::<Vec<_>>());
    (option::of(containers), option::of(names()), option::of(btree_map("[k-m]", "[0-9]", 0..3))).prop_map(
        |(containers, finalizers, labels)| {
            let mut object = json!({});
            containers.into_iter().for_each(|c| object["containers"] = c.into());
            finalizers.into_iter().for_each(|f| object["finalizers"] = f.into());
            labels.into_iter().for_each(|l| object["labels"] = json!(l));
            object
        },
    )
}

/// The patch that a client makes to come from one object to another (`CreateTwoWayMergePatch`).
fn diff(from: &Value, to: &Value) -> Value {
    let (before, after) = (from.as_object().unwrap(), to.as_object().unwrap());
    let mut patch = Map::new();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, new) in after {
        match (name.as_str(), before.get(name)) {
            (_, Some(old)) if old == new => {}
            ("containers", Some(Value::Array(old))) => {
                let new = new.as_array().unwrap();
                let same = |a: &Value, b: &Value| a["name"] == b["name"];
                let mut items = Vec::new();
                for item in new {
                    match old.iter().find(|o| same(o, item)) {
                        Some(old) if old == item => {}
                        Some(old) => {
                            let mut change = diff(old, item);
                            change["name"] = item["name"].clone();
                            items.push(change);
                        }
                        None => items.push(item.clone()),
                    }
                }
                let gone = old.iter().filter(|o| !new.iter().any(|n| same(n, o)));
                items.extend(gone.map(|o| json!({"$patch": "delete", "name": o["name"]})));
                patch.insert("$setElementOrder/containers".into(), new.iter().map(|c| json!({"name": c["name"]})).collect());
                patch.insert(name.clone(), items.into());
            }
            ("finalizers", Some(Value::Array(old))) => {
                let new = new.as_array().unwrap();
                let only = |these: &[Value], those: &[Value]| these.iter().filter(|t| !those.contains(t)).cloned().collect::<Vec<Value>>();
                patch.insert("$setElementOrder/finalizers".into(), new.clone().into());
                patch.insert("$deleteFromPrimitiveList/finalizers".into(), only(old, new).into());
                patch.insert(name.clone(), only(new, old).into());
            }
            (_, Some(old @ Value::Object(_))) => drop(patch.insert(name.clone(), diff(old, new))),
            (_, _) => drop(patch.insert(name.clone(), new.clone())),
        }
    }
    patch.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_tells_two_objects_apart_makes_one_of_the_other(from in whole(), to in whole()) {
        let patch = diff(&from, &to);
        let patched = apply(&schema(), from.clone(), &patch).unwrap();
        prop_assert_eq!(&patched, &to, "{} with {}", from, patch);
        // What is there already is not changed by saying so again, but for what directives order and delete.
        prop_assert_eq!(apply(&schema(), to.clone(), &diff(&to, &to)).unwrap(), to);
    }
}
