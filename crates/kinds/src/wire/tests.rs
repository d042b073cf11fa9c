use super::{WireError, decode, encode};
use serde_json::{Value, json};
use std::path::Path;

/// Every object of upstream's compatibility data that is of a kind known here: the wire form and the JSON.
fn published() -> Vec<(String, Vec<u8>, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/kubernetes-1.36/wire");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: no published objects beside the repository");
        return Vec::new();
    };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.extension().is_some_and(|e| e == "pb"));
    files
        .filter_map(|path| {
            let object: Value = serde_json::from_slice(&std::fs::read(path.with_extension("json")).ok()?).ok()?;
            let known = super::table::of(object["apiVersion"].as_str()?, object["kind"].as_str()?).is_some();
            known.then_some((path.display().to_string(), std::fs::read(&path).ok()?, object))
        })
        .collect()
}

#[test]
fn published_objects_are_read_as_their_json() {
    let published = published();
    for (name, wire, object) in &published {
        assert_eq!(decode(wire).as_ref(), Ok(object), "{name}");
    }
    eprintln!("{} objects", published.len());
}

#[test]
fn published_objects_are_written_as_they_were() {
    for (name, wire, object) in published() {
        assert_eq!(encode(&object), Ok(wire), "{name}");
    }
}

#[test]
fn what_is_cut_off_or_damaged_never_passes_for_the_whole() {
    for (name, wire, object) in published() {
        for at in (0..wire.len().saturating_sub(4)).step_by(wire.len() / 64 + 1) {
            assert_ne!(decode(&wire[..at]).as_ref(), Ok(&object), "{name} cut at {at}");
            let mut damaged = wire.clone();
            damaged[at] ^= 0x55;
            let _ = decode(&damaged);
        }
    }
    assert_eq!(decode(b"{}"), Err(WireError::Magic));
    assert_eq!(decode(b"k8s\0\x0a\x7f"), Err(WireError::Truncated));
}

#[test]
fn objects_within_objects_end_at_some_depth() {
    let part = |tag: u8, held: &[u8]| {
        let length = u16::try_from(held.len()).expect("a short message");
        [&[tag, length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8], held].concat()
    };
    let mut list = Vec::new();
    for _ in 0..200 {
        let items = part(0x12, &part(0x0a, &list));
        list = [super::MAGIC, b"\x0a\x0a\x0a\x02v1\x12\x04List", &part(0x12, &items)].concat();
    }
    assert_eq!(decode(&list), Err(WireError::Depth));
}

#[test]
fn zeros_are_kept_only_where_their_absence_means_something_else() {
    let object = json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "a"}, "spec": {"replicas": 0, "selector": {
        "matchLabels": {"a": ""}}, "template": {"spec": {"automountServiceAccountToken": false, "containers": [
        {"name": "", "env": [{"name": "A"}], "ports": [{"containerPort": 0}]}], "volumes": [{"name": "v", "emptyDir": {}}]}}}});
    let mut written = object.clone();
    written["spec"]["paused"] = false.into();
    written["spec"]["template"]["spec"]["hostNetwork"] = false.into();
    written["status"] = json!({"replicas": 0});
    let wire = encode(&written).expect("a deployment has a wire form");
    let mut read = decode(&wire).expect("what was written is well-formed");
    read["spec"].as_object_mut().expect("a spec").remove("strategy");
    assert_eq!(read["spec"]["template"]["spec"]["containers"][0].get("resources"), None);
    assert_eq!(read, object);
}

#[test]
fn options_are_read_under_any_version_and_custom_kinds_are_refused() {
    let options = json!({"kind": "DeleteOptions", "apiVersion": "apps/v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background"});
    assert_eq!(encode(&options).and_then(|wire| decode(&wire)), Ok(options));
    let custom = json!({"kind": "Widget", "apiVersion": "example.com/v1"});
    assert!(matches!(encode(&custom), Err(WireError::UnknownKind { .. })));
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]});
    assert_eq!(encode(&list).and_then(|wire| decode(&wire)), Ok(list));
}
