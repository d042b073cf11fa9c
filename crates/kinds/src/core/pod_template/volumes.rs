//! What volumes may not be, in pods and as persistent volumes.

use super::projected;
use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, Quantity, validate, value};
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};

const HOST_PATH_TYPES: [&str; 8] = ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Whose volumes these are: the same source has other rules in a pod than as a persistent volume.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sources<'a> {
    Pod { volume: &'a str, is_pod: bool },
    Persistent { name: &'a str },
}

/// In the order in which the second one counts as too much.
const IN_PODS: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
const PERSISTENT: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// Answers those in which nothing is wrong: the others are not there for their containers.
pub fn all<'a>(spec: &'a Value, pod: &str, is_pod: bool, at: &FieldPath, errors: &mut FieldErrors) -> Vec<&'a Value> {
    let volumes = value::items(spec, &["volumes"]);
    let created: BTreeSet<String> =
        volumes.iter().filter(|v| has(v, "ephemeral") && !pod.is_empty()).map(|v| format!("{pod}-{}", value::text(v, &["name"]))).collect();
    let mut names = HashSet::new();
    let mut good = Vec::new();
    for (i, volume) in volumes.iter().enumerate() {
        let (here, before) = (at.index(i), errors.0.len());
        let name = value::text(volume, &["name"]);
        sources(volume, Sources::Pod { volume: name, is_pod }, &here, errors);
        if has(volume, "ephemeral") && !pod.is_empty() && !name.is_empty() {
            let claim = format!("{pod}-{name}");
            for message in validate::dns_subdomain(&claim, false) {
                errors.invalid(&here.child("name"), name, &format!("PVC name \"{claim}\": {message}"));
            }
        }
        if name.is_empty() {
            errors.required(&here.child("name"), "");
        } else {
            rules::dns_label(name, &here.child("name"), errors);
        }
        if names.contains(name) {
            errors.duplicate(&here.child("name"), name);
        }
        if errors.0.len() == before {
            names.insert(name);
            good.push(volume);
        }
        let claim = value::text(volume, &["persistentVolumeClaim", "claimName"]);
        if created.contains(claim) {
            let here = here.child("persistentVolumeClaim").child("claimName");
            errors.invalid(&here, claim, "must not reference a PVC that gets created for an ephemeral volume");
        }
    }
    good
}

/// Exactly one source, and that one in order.
pub fn sources(volume: &Value, of: Sources<'_>, at: &FieldPath, errors: &mut FieldErrors) {
    let known: &[&str] = if matches!(of, Sources::Pod { .. }) { &IN_PODS } else { &PERSISTENT };
    let mut given = known.iter().filter(|kind| has(volume, kind));
    match given.next() {
        None => errors.required(at, "must specify a volume type"),
        Some(first) => {
            let shown = if *first == "gcePersistentDisk" { "persistentDisk" } else { first };
            source(first, get(volume, first), of, &at.child(shown), errors);
            if let ("iscsi", Sources::Pod { volume: name, .. }) = (*first, of) {
                long_portal(get(volume, "iscsi"), name, &at.child("name"), name, errors);
            }
        }
    }
    for more in given {
        let shown = if *more == "cephfs" { "cephFS" } else { more };
        errors.forbidden(&at.child(shown), "may not specify more than 1 volume type");
    }
}

fn long_portal(found: &Value, volume: &str, at: &FieldPath, shown: &str, errors: &mut FieldErrors) {
    if has(found, "initiatorName") && volume.len() + 1 + value::text(found, &["targetPortal"]).len() > 64 {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.invalid(at, shown, why);
    }
}

/// The fields that a source cannot be without.
fn needed(kind: &str) -> &'static [&'static str] {
    match kind {
        "hostPath" | "local" => &["path"],
        "gitRepo" => &["repository"],
        "gcePersistentDisk" => &["pdName"],
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => &["volumeID"],
        "secret" => &["secretName"],
        "configMap" => &["name"],
        "persistentVolumeClaim" => &["claimName"],
        "nfs" => &["server", "path"],
        "iscsi" => &["targetPortal", "iqn"],
        "glusterfs" => &["endpoints", "path"],
        "flexVolume" => &["driver"],
        "azureFile" => &["secretName", "shareName"],
        "azureDisk" => &["diskName", "diskURI"],
        "vsphereVolume" => &["volumePath"],
        "photonPersistentDisk" => &["pdID"],
        "scaleIO" => &["gateway", "system", "volumeName"],
        "storageos" => &["volumeName"],
        _ => &[],
    }
}

fn source(kind: &str, found: &Value, of: Sources<'_>, at: &FieldPath, errors: &mut FieldErrors) {
    let text = |name: &str| value::text(found, &[name]);
    rules::required_texts(found, needed(kind), at, errors);
    match kind {
        "emptyDir" => {
            if value::at(found, &["sizeLimit"]).and_then(|q| Quantity::from_value(q).ok()).is_some_and(|q| q.signum() < 0) {
                errors.forbidden(&at.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
            }
        }
        "hostPath" => {
            rules::no_backsteps(text("path"), &at.child("path"), errors);
            rules::known(found, "type", &HOST_PATH_TYPES, at, errors);
        }
        "local" => rules::no_backsteps(text("path"), &at.child("path"), errors),
        "gitRepo" => rules::descending_path(text("directory"), &at.child("directory"), errors),
        "gcePersistentDisk" | "awsElasticBlockStore" => rules::within(found, "partition", 0, 255, at, errors),
        "nfs" if !text("path").starts_with('/') => errors.invalid(&at.child("path"), text("path"), "must be an absolute path"),
        "secret" | "configMap" => {
            mode(found, "defaultMode", at, errors);
            for (i, item) in value::items(found, &["items"]).iter().enumerate() {
                key_to_path(item, &at.child("items").index(i), errors);
            }
        }
        "downwardAPI" => {
            mode(found, "defaultMode", at, errors);
            value::items(found, &["items"]).iter().for_each(|item| projected::downward_file(item, at, errors));
        }
        "projected" => {
            mode(found, "defaultMode", at, errors);
            projected::sources(found, at, errors);
        }
        "flexVolume" => flex_options(found, at, errors),
        "ephemeral" => ephemeral(found, at, errors),
        "image" => {
            if matches!(of, Sources::Pod { is_pod: true, .. }) {
                rules::required_texts(found, &["reference"], at, errors);
            }
            super::containers::pull_policy(text("pullPolicy"), &at.child("pullPolicy"), errors);
        }
        "csi" => csi(found, of, at, errors),
        "iscsi" => iscsi(found, of, at, errors),
        _ => network(kind, found, of, at, errors),
    }
}

/// What clusters and clouds provide.
fn network(kind: &str, found: &Value, of: Sources<'_>, at: &FieldPath, errors: &mut FieldErrors) {
    let text = |name: &str| value::text(found, &[name]);
    let persistent = matches!(of, Sources::Persistent { .. });
    let secret = |namespaced: bool, errors: &mut FieldErrors| {
        if has(found, "secretRef") {
            let names: &[&str] = if namespaced { &["name", "namespace"] } else { &["name"] };
            rules::required_texts(get(found, "secretRef"), names, &at.child("secretRef"), errors);
        }
    };
    match kind {
        "cinder" => secret(persistent, errors),
        "storageos" => {
            for name in ["volumeName", "volumeNamespace"].into_iter().filter(|name| !text(name).is_empty()) {
                rules::dns_label(text(name), &at.child(name), errors);
            }
            secret(persistent, errors);
        }
        "rbd" | "cephfs" => {
            if value::items(found, &["monitors"]).is_empty() {
                errors.required(&at.child("monitors"), "");
            }
            if kind == "rbd" {
                rules::required_texts(found, &["image"], at, errors);
            }
        }
        "glusterfs" if persistent => match get(found, "endpointsNamespace").as_str() {
            Some("") => {
                errors.invalid(&at.child("endpointsNamespace"), "", "if the endpointnamespace is set, it must be a valid namespace name")
            }
            Some(name) => rules::dns_label(name, &at.child("endpointsNamespace"), errors),
            None => {}
        },
        "azureFile" if persistent && get(found, "secretNamespace").as_str() == Some("") => {
            errors.required(&at.child("secretNamespace"), "");
        }
        "flocker" => {
            let (name, uuid) = (text("datasetName"), text("datasetUUID"));
            if name.is_empty() && uuid.is_empty() {
                errors.required(at, "one of datasetName and datasetUUID is required");
            }
            if !name.is_empty() && !uuid.is_empty() {
                errors.invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously");
            }
            if name.contains('/') {
                errors.invalid(&at.child("datasetName"), name, "must not contain '/'");
            }
        }
        "quobyte" => {
            let pairs = "must be a host:port pair or multiple pairs separated by commas";
            if text("registry").is_empty() {
                errors.required(&at.child("registry"), pairs);
            } else if text("tenant").len() >= 65 {
                errors.required(&at.child("tenant"), "must be a UUID and may not exceed a length of 64 characters");
            } else {
                for _ in text("registry").split(',').filter(|pair| pair.rsplit_once(':').is_none()) {
                    errors.invalid(&at.child("registry"), text("registry"), pairs);
                }
            }
            rules::required_texts(found, &["volume"], at, errors);
        }
        "fc" => {
            let (names, ids) = (value::items(found, &["targetWWNs"]), value::items(found, &["wwids"]));
            let here = at.child("targetWWNs");
            match (names.is_empty(), ids.is_empty()) {
                (true, true) => errors.required(&here, "must specify either targetWWNs or wwids, but not both"),
                (false, false) => errors.invalid(&here, names.to_vec(), "targetWWNs and wwids can not be specified simultaneously"),
                _ => {}
            }
            if !names.is_empty() {
                if has(found, "lun") {
                    rules::within(found, "lun", 0, 255, at, errors);
                } else {
                    errors.required(&at.child("lun"), "lun is required if targetWWNs is specified");
                }
            }
        }
        "azureDisk" => {
            rules::known(found, "cachingMode", &["None", "ReadOnly", "ReadWrite"], at, errors);
            rules::known(found, "kind", &["Dedicated", "Managed", "Shared"], at, errors);
            let managed = text("kind") == "Managed";
            let (prefix, form) = if managed {
                ("/subscriptions/", "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}")
            } else {
                ("https://", "https://{account-name}.blob.windows.net/{container-name}/{disk-name}.vhd")
            };
            if has(found, "kind") && !text("diskURI").starts_with(prefix) {
                errors.not_supported(&at.child("diskURI"), text("diskURI"), &[form]);
            }
        }
        _ => {}
    }
}

fn flex_options(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    for (key, _) in rules::texts(found, &["options"]) {
        let domain = format!(".{}", key.split_once('/').map_or(key, |(domain, _)| domain).to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            errors.invalid(&at.child("options").key(key), key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

fn ephemeral(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let (template, here) = (get(found, "volumeClaimTemplate"), at.child("volumeClaimTemplate"));
    if template.is_null() {
        errors.required(&here, "");
        return;
    }
    let (metadata, path) = (get(template, "metadata"), here.child("metadata"));
    errors.extend(validate::annotations(get(metadata, "annotations"), &path.child("annotations")));
    errors.extend(validate::labels(get(metadata, "labels"), &path.child("labels")));
    for (name, _) in
        metadata.as_object().into_iter().flatten().filter(|(n, v)| !matches!(n.as_str(), "annotations" | "labels") && !v.is_null())
    {
        errors.forbidden(&path.child(name), "cannot be set");
    }
    errors.extend(crate::core::persistent_volume_claim::validate_spec(get(template, "spec"), &here.child("spec")));
}

pub fn driver_name(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(at, "");
    }
    if name.len() > 63 {
        errors.too_long(at, 63);
    }
    for message in validate::dns_subdomain(&name.to_lowercase(), false) {
        errors.invalid(at, name, &message);
    }
}

fn csi(found: &Value, of: Sources<'_>, at: &FieldPath, errors: &mut FieldErrors) {
    driver_name(value::text(found, &["driver"]), &at.child("driver"), errors);
    if matches!(of, Sources::Pod { .. }) {
        if has(found, "nodePublishSecretRef") {
            match value::text(found, &["nodePublishSecretRef", "name"]) {
                "" => errors.required(&at.child("nodePublishSecretRef").child("name"), ""),
                name => rules::dns_subdomain(name, &at.child("name"), errors),
            }
        }
        return;
    }
    rules::required_texts(found, &["volumeHandle"], at, errors);
    for name in ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"] {
        let (secret, here) = (get(found, name), at.child(name));
        if secret.is_null() {
            continue;
        }
        match value::text(secret, &["name"]) {
            "" => errors.required(&here.child("name"), ""),
            name => rules::dns_subdomain(name, &here.child("name"), errors),
        }
        match value::text(secret, &["namespace"]) {
            "" => errors.required(&here.child("namespace"), ""),
            name => rules::dns_label(name, &here.child("namespace"), errors),
        }
    }
}

fn iscsi(found: &Value, of: Sources<'_>, at: &FieldPath, errors: &mut FieldErrors) {
    let persistent = match of {
        Sources::Persistent { name } => {
            long_portal(found, name, &at.child("targetportal"), value::text(found, &["targetPortal"]), errors);
            true
        }
        Sources::Pod { .. } => false,
    };
    let prefixed = |name: &str| ["iqn", "eui", "naa"].iter().any(|prefix| name.starts_with(prefix));
    let unprefixed = if persistent { "must be valid format" } else { "must be valid format starting with iqn, eui, or naa" };
    let check = |name: &str, path: FieldPath, errors: &mut FieldErrors| {
        if !prefixed(name) {
            errors.invalid(&path, name, unprefixed);
        } else if !is_initiator(name) {
            errors.invalid(&path, name, "must be valid format");
        }
    };
    let iqn = value::text(found, &["iqn"]);
    if !iqn.is_empty() {
        check(iqn, at.child("iqn"), errors);
    }
    rules::within(found, "lun", 0, 255, at, errors);
    let chap = value::flag(found, &["chapAuthDiscovery"]) || value::flag(found, &["chapAuthSession"]);
    if chap && !has(found, "secretRef") {
        errors.required(&at.child("secretRef"), "");
    }
    if persistent && has(found, "secretRef") {
        rules::required_texts(get(found, "secretRef"), &["name"], &at.child("secretRef"), errors);
    }
    if let Some(initiator) = get(found, "initiatorName").as_str() {
        check(initiator, at.child("initiatorname"), errors);
    }
}

/// `iqn.2001-04.com.example:storage`, `eui.` and sixteen characters, or `naa.` and twice as many.
fn is_initiator(name: &str) -> bool {
    let plain = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if let Some(rest) = name.strip_prefix("eui.") {
        return plain(rest, 16);
    }
    if let Some(rest) = name.strip_prefix("naa.") {
        return plain(rest, 32);
    }
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    let Some((date, rest)) = name.strip_prefix("iqn.").and_then(|rest| rest.split_once('.')) else { return false };
    let Some((domain, own)) = rest.split_once(':') else { return false };
    date.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2))
        && !domain.is_empty()
        && domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        && !own.is_empty()
        && !own.contains(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '*' | '&' | '$' | '|'))
}

pub fn mode(found: &Value, name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    if let Some(mode) = value::int(found, &[name]).filter(|m| !(0..=0o777).contains(m)) {
        errors.invalid(&at.child(name), mode, MODE);
    }
}

pub fn key_to_path(item: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    rules::required_texts(item, &["key", "path"], at, errors);
    local_path(value::text(item, &["path"]), &at.child("path"), errors);
    mode(item, "mode", at, errors);
}

/// Below the volume, and none of the names that the node uses itself.
pub fn local_path(found: &str, at: &FieldPath, errors: &mut FieldErrors) {
    rules::descending_path(found, at, errors);
    if found.starts_with("..") && !found.starts_with("../") {
        errors.invalid(at, found, "must not start with '..'");
    }
}
