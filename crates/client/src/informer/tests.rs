use super::*;
use k8s_openapi::api::core::v1::ConfigMap;

fn map(name: &str, version: &str, owner: Option<&str>) -> ConfigMap {
    let owners: Vec<serde_json::Value> = owner
        .map(|uid| serde_json::json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": true}))
        .into_iter()
        .collect();
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}"), "resourceVersion": version, "ownerReferences": owners}
    }))
    .expect("a config map")
}

#[test]
fn a_late_subscriber_is_told_what_is_there_and_then_what_changes() {
    let informer = Informer { shared: Arc::new(Shared::new()) };
    informer.shared.state.write().put(map("a", "1", None));
    let mut changes = informer.changes();
    let first = changes.try_recv().expect("the cached object");
    assert!(first.old.is_none() && first.new.is_some());
    informer.shared.state.write().put(map("a", "2", None));
    let second = changes.try_recv().expect("the change");
    assert_eq!(second.old.and_then(|o| o.resource_version()).as_deref(), Some("1"));
    informer.shared.state.write().remove(&Key::new("n", "a"), None);
    assert!(changes.try_recv().expect("the deletion").new.is_none());
}

#[test]
fn an_object_relisted_unchanged_is_no_change() {
    let informer = Informer { shared: Arc::new(Shared::new()) };
    informer.shared.state.write().put(map("a", "1", None));
    let mut changes = informer.changes();
    changes.try_recv().expect("the cached object");
    informer.shared.state.write().put(map("a", "1", None));
    assert!(changes.try_recv().is_err());
}

#[test]
fn the_owner_index_follows_adoption_and_release() {
    let informer = Informer { shared: Arc::new(Shared::new()) };
    informer.shared.state.write().put(map("a", "1", Some("o1")));
    informer.shared.state.write().put(map("b", "2", Some("o1")));
    assert_eq!(informer.owned_by("o1").len(), 2);
    informer.shared.state.write().put(map("a", "3", None));
    assert_eq!(informer.owned_by("o1").len(), 1);
    assert_eq!(informer.by_uid("uid-b").map(|o| o.name_any()).as_deref(), Some("b"));
}
