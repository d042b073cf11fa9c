use super::super::{PatchError, merge};
use super::apply;
use crate::schema::{Field, ListType, Scalar, Schema, Strategy, Struct, Type};
use proptest::{prop_assert_eq, proptest};
use serde_json::{Value, json};

/// A container-like list keyed by name, a list of finalizers that merges, one of arguments that does not.
fn schema() -> Schema {
    let plain = Field::new;
    let merging = |name: &str, ty, key: Option<&str>| Field {
        strategy: Strategy { merge: true, retain_keys: false, key: key.map(Into::into) },
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
