//! What volumes and claims have in common.

use meta::value;
use serde_json::Value;

pub const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// `RWO,ROX`
pub fn modes(holder: &Value) -> String {
    let short = [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| value::items(holder, &["accessModes"]).iter().any(|m| m == mode);
    short.iter().filter(|(mode, _)| has(mode)).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

pub fn phase(object: &Value) -> String {
    let going = value::at(object, &["metadata", "deletionTimestamp"]).is_some();
    if going { "Terminating".into() } else { value::text(object, &["status", "phase"]).into() }
}

pub fn class_column(object: &Value) -> String {
    let legacy = value::text(object, &["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"]);
    if legacy.is_empty() { value::text(object, &["spec", "storageClassName"]).into() } else { legacy.into() }
}
