//! Files of a volume that would hide each other.

use crate::rules::{get, has};
use meta::value;
use serde_json::Value;

/// A path, and where its file is from.
type File<'a> = (&'a str, String);

pub fn warnings(volumes: &[Value]) -> Vec<String> {
    let mut texts = Vec::new();
    for volume in volumes {
        let name = value::text(volume, &["name"]);
        let mut tell = |what: &str, files: Vec<File<'_>>| {
            let found = collisions(files);
            texts.extend(found.into_iter().map(|text| format!("volume {name:?} ({what}): overlapping paths: {text}")));
        };
        let of = |kind: &str| items(get(volume, kind), "");
        tell(&format!("ConfigMap {:?}", value::text(volume, &["configMap", "name"])), of("configMap"));
        tell(&format!("Secret {:?}", value::text(volume, &["secret", "secretName"])), of("secret"));
        tell("DownwardAPI", of("downwardAPI"));
        let sources = value::items(volume, &["projected", "sources"]);
        tell("Projected", sources.iter().flat_map(projected).collect());
        for _ in sources.iter().filter(|s| s.as_object().is_none_or(serde_json::Map::is_empty)) {
            texts.push(format!("volume {name:?} (Projected) has no sources provided"));
        }
    }
    texts
}

fn items<'a>(source: &'a Value, from: &str) -> Vec<File<'a>> {
    value::items(source, &["items"]).iter().map(|item| (value::text(item, &["path"]), from.to_string())).collect()
}

fn projected(source: &Value) -> Vec<File<'_>> {
    let text = |path: &[&str]| value::text(source, path);
    if has(source, "configMap") {
        return items(get(source, "configMap"), &format!("ConfigMap {:?}", text(&["configMap", "name"])));
    }
    if has(source, "secret") {
        return items(get(source, "secret"), &format!("Secret {:?}", text(&["secret", "name"])));
    }
    if has(source, "downwardAPI") {
        return items(get(source, "downwardAPI"), "DownwardAPI");
    }
    let bundle = match text(&["clusterTrustBundle", "name"]) {
        "" => text(&["clusterTrustBundle", "signerName"]),
        name => name,
    };
    let files = [
        (text(&["serviceAccountToken", "path"]), "ServiceAccountToken".to_string()),
        (text(&["clusterTrustBundle", "path"]), format!("ClusterTrustBundle {bundle:?}")),
        (text(&["podCertificate", "certificateChainPath"]), "PodCertificate chain".to_string()),
        (text(&["podCertificate", "keyPath"]), "PodCertificate key".to_string()),
        (text(&["podCertificate", "credentialBundlePath"]), "PodCertificate credential bundle".to_string()),
    ];
    files.into_iter().filter(|(path, _)| !path.is_empty()).collect()
}

fn shown((path, from): &File<'_>) -> String {
    if from.is_empty() { format!("{path:?}") } else { format!("{path:?} ({from})") }
}

fn collisions(files: Vec<File<'_>>) -> Vec<String> {
    let below = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut before: Vec<File<'_>> = Vec::new();
    let mut texts = Vec::new();
    for (path, from) in files {
        let file = (path.trim_end_matches('/'), from);
        for other in before.iter().filter(|(path, _)| !path.is_empty() && !file.0.is_empty()) {
            if below(other.0, file.0) || below(file.0, other.0) {
                texts.push(format!("{} with {}", shown(&file), shown(other)));
            }
        }
        before.push(file);
    }
    texts
}
