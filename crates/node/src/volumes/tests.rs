//! The atomic writer and what decides over files' modes.

use super::atomic::{File, Payload, write};
use super::{host_path, ownership};
use k8s_openapi::api::core::v1::{HostPathVolumeSource, Pod};
use std::fs;
use std::os::unix::fs::MetadataExt;

fn payload(files: &[(&str, &str, u32)]) -> Payload {
    files.iter().map(|(p, d, m)| (p.to_string(), File { data: d.as_bytes().to_vec(), mode: *m, owner: None })).collect()
}

#[test]
fn a_change_replaces_all_files_at_once_and_an_equal_payload_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    assert!(write(path, &payload(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]), |_| Ok(())).unwrap());
    let first = fs::read_link(path.join("..data")).unwrap();
    assert_eq!(fs::read_to_string(path.join("sub/b")).unwrap(), "2");
    assert_eq!(fs::metadata(path.join("sub/b")).unwrap().mode() & 0o777, 0o400);
    assert!(!write(path, &payload(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]), |_| Ok(())).unwrap());
    assert_eq!(fs::read_link(path.join("..data")).unwrap(), first);

    assert!(write(path, &payload(&[("a", "3", 0o644)]), |_| Ok(())).unwrap());
    assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "3");
    assert!(fs::symlink_metadata(path.join("sub")).is_err());
    assert!(!path.join(first).exists());
}

#[test]
fn paths_that_lead_out_of_the_volume_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["../x", "/etc/x", "..data/x", "a/../../x", ""] {
        assert!(write(dir.path(), &payload(&[(path, "", 0o644)]), |_| Ok(())).is_err(), "{path}");
    }
}

#[test]
fn a_sub_path_through_a_link_out_of_the_volume_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let volume = dir.path().join("volume");
    fs::create_dir(&volume).unwrap();
    std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
    assert!(super::subpath::bind(dir.path(), "v", &volume, "c", 0, "out/passwd").is_err());
    assert!(super::subpath::bind(dir.path(), "v", &volume, "c", 0, "../x").is_err());
}

#[test]
fn host_path_types_are_checked_and_created() {
    let dir = tempfile::tempdir().unwrap();
    let source =
        |name: &str, kind: &str| HostPathVolumeSource { path: dir.path().join(name).display().to_string(), type_: Some(kind.to_string()) };
    assert!(host_path::check(&source("d", "Directory")).unwrap_err().starts_with("hostPath type check failed:"));
    host_path::check(&source("d/e", "DirectoryOrCreate")).unwrap();
    host_path::check(&source("d", "Directory")).unwrap();
    assert!(host_path::check(&source("d", "File")).is_err());
}

#[test]
fn a_token_belongs_to_a_user_only_if_all_containers_run_as_it() {
    let pod = |second: i64| -> Pod {
        serde_json::from_value(serde_json::json!({"spec": {"securityContext": {"runAsUser": 7}, "containers": [
            {"name": "a"}, {"name": "b", "securityContext": {"runAsUser": second}}]}}))
        .unwrap()
    };
    assert_eq!(ownership::common_user(&pod(7)), Some(7));
    assert_eq!(ownership::common_user(&pod(8)), None);
}
