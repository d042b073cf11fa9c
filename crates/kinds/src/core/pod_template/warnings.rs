//! What works in a pod spec and probably is not meant.

use super::{annotations, visit};
use crate::rules::{self, get, has};
use meta::{FieldPath, Quantity, validate, value};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const NODE_LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    ("failure-domain.beta.kubernetes.io/region", "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];
const ANNOTATIONS: [(&str, &str); 3] = [
    ("scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];
const VOLUMES: [(&str, &str, &str); 9] = [
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Why a label of nodes should not be used any more.
pub fn node_label(key: &str) -> Option<&'static str> {
    NODE_LABELS.iter().find(|(label, _)| *label == key).map(|(_, why)| *why)
}

pub fn node_term(term: &Value, check_values: bool, at: &FieldPath, texts: &mut Vec<String>) {
    for (i, expression) in value::items(term, &["matchExpressions"]).iter().enumerate() {
        let (here, key) = (at.child("matchExpressions").index(i), value::text(expression, &["key"]));
        if let Some(why) = node_label(key) {
            texts.push(format!("{}: {key} is {why}", here.child("key")));
        }
        for (j, found) in value::items(expression, &["values"]).iter().filter_map(Value::as_str).enumerate().filter(|_| check_values) {
            for message in validate::label_value(found) {
                texts.push(format!("{}: {found} is invalid, {message}", here.child("values").index(j)));
            }
        }
    }
}

/// Sources of storage that nothing serves any more.
pub fn source_warnings(volume: &Value, at: &FieldPath) -> Vec<String> {
    let old = VOLUMES.iter().filter(|(name, ..)| has(volume, name));
    old.map(|(_, shown, why)| format!("{}: {why}", at.child(shown))).collect()
}

/// `at` is where the object with `metadata` and `spec` is: nothing for a pod.
pub fn warnings(spec: &Value, metadata: &Value, at: &FieldPath, is_template: bool) -> Vec<String> {
    let mut texts = Vec::new();
    let (in_spec, in_annotations) = (at.child("spec"), at.child("metadata").child("annotations"));
    placement(spec, &in_spec, &mut texts);
    for (key, why) in ANNOTATIONS.iter().filter(|(key, _)| value::at(metadata, &["annotations", key]).is_some()) {
        texts.push(format!("{}: {why}", in_annotations.key(key)));
    }
    for (i, volume) in value::items(spec, &["volumes"]).iter().enumerate() {
        let here = in_spec.child("volumes").index(i);
        texts.extend(source_warnings(volume, &here));
        if let Some(claim) = value::at(volume, &["ephemeral", "volumeClaimTemplate", "spec"]) {
            let here = here.child("ephemeral").child("volumeClaimTemplate").child("spec");
            texts.extend(crate::core::persistent_volume_claim::spec_warnings(claim, &here));
        }
    }
    texts.extend(super::overlaps::warnings(value::items(spec, &["volumes"])));
    repeated(spec, &in_spec, &mut texts);
    let fraction = |found: &Value, path: FieldPath, texts: &mut Vec<String>| {
        for name in ["memory", "ephemeral-storage"] {
            let amount = get(found, name);
            if Quantity::from_value(amount).is_ok_and(|q| q.milli_value() % 1000 != 0) {
                let text = amount.as_str().unwrap_or_default();
                texts.push(format!("{}: fractional byte value \"{text}\" is invalid, must be an integer", path.key(name)));
            }
        }
    };
    fraction(get(spec, "overhead"), in_spec.child("overhead"), &mut texts);
    let seccomp = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
    let annotated = |key: &str| value::at(metadata, &["annotations", key]).is_some();
    if annotated(annotations::SECCOMP_POD) && !has(get(spec, "securityContext"), "seccompProfile") {
        texts.push(format!("{}: {seccomp}", in_annotations.key(annotations::SECCOMP_POD)));
    }
    visit(spec, &in_spec, |container, path| {
        let (name, security) = (value::text(container, &["name"]), get(container, "securityContext"));
        let key = format!("{}{name}", annotations::SECCOMP_CONTAINER);
        if annotated(&key) && !has(security, "seccompProfile") {
            texts.push(format!("{}: {seccomp}", in_annotations.key(&key)));
        }
        let key = format!("{}{name}", annotations::APP_ARMOR);
        let by_field = has(security, "appArmorProfile") || has(get(spec, "securityContext"), "appArmorProfile");
        if is_template && annotated(&key) && !by_field {
            texts.push(format!("{}: deprecated since v1.30; use the \"appArmorProfile\" field instead", in_annotations.key(&key)));
        }
        for kind in ["limits", "requests"] {
            fraction(get(get(container, "resources"), kind), path.child("resources").child(kind), &mut texts);
        }
        environment(container, path, &mut texts);
    });
    ports(spec, &in_spec, &mut texts);
    if value::int(spec, &["terminationGracePeriodSeconds"]).is_some_and(|s| s < 0) {
        let here = in_spec.child("terminationGracePeriodSeconds");
        texts.push(format!("{here}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    affinities(spec, &in_spec, &mut texts);
    let servers = value::items(spec, &["dnsConfig", "nameservers"]);
    for (i, ip) in servers.iter().filter_map(Value::as_str).enumerate() {
        texts.extend(rules::ip_warnings(ip, &in_spec.child("dnsConfig").child("nameservers").index(i)));
    }
    for (i, alias) in value::items(spec, &["hostAliases"]).iter().enumerate() {
        texts.extend(rules::ip_warnings(value::text(alias, &["ip"]), &in_spec.child("hostAliases").index(i).child("ip")));
    }
    texts
}

fn placement(spec: &Value, at: &FieldPath, texts: &mut Vec<String>) {
    for (key, _) in rules::texts(spec, &["nodeSelector"]) {
        if let Some(why) = node_label(key) {
            texts.push(format!("{}: {why}", at.child("nodeSelector").key(key)));
        }
    }
    let node = value::at(spec, &["affinity", "nodeAffinity"]).unwrap_or(&Value::Null);
    let here = at.child("affinity").child("nodeAffinity");
    for (i, term) in value::items(node, &[REQUIRED, "nodeSelectorTerms"]).iter().enumerate() {
        node_term(term, false, &here.child(REQUIRED).child("nodeSelectorTerms").index(i), texts);
    }
    for (i, term) in value::items(node, &[PREFERRED]).iter().enumerate() {
        node_term(get(term, "preference"), true, &here.child(PREFERRED).index(i).child("preference"), texts);
    }
    for (i, constraint) in value::items(spec, &["topologySpreadConstraints"]).iter().enumerate() {
        let (here, key) = (at.child("topologySpreadConstraints").index(i), value::text(constraint, &["topologyKey"]));
        if let Some(why) = node_label(key) {
            texts.push(format!("{}: {key} is {why}", here.child("topologyKey")));
        }
        if !has(constraint, "labelSelector") {
            texts.push(format!("{}: a null labelSelector results in matching no pod", here.child("labelSelector")));
        }
    }
}

fn repeated(spec: &Value, at: &FieldPath, texts: &mut Vec<String>) {
    for (list, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut seen = HashSet::new();
        for (i, item) in value::items(spec, &[list]).iter().enumerate() {
            let found = value::text(item, &[field]);
            if !seen.insert(found) {
                texts.push(format!("{}: duplicate {field} \"{found}\"", at.child(list).index(i).child(field)));
            }
        }
    }
    for (i, _) in value::items(spec, &["imagePullSecrets"]).iter().enumerate().filter(|(_, s)| value::text(s, &["name"]).is_empty()) {
        texts.push(format!("{}: invalid empty name \"\"", at.child("imagePullSecrets").index(i).child("name")));
    }
}

fn environment(container: &Value, at: &FieldPath, texts: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (i, entry) in value::items(container, &["env"]).iter().enumerate() {
        let (name, text) = (value::text(entry, &["name"]), value::text(entry, &["value"]));
        let reference = format!("$({name})");
        // One that builds on the definition before it is meant.
        let extends = !has(entry, "valueFrom") && text != reference && text.contains(&reference);
        if !seen.insert(name) && !extends {
            let here = at.child("env").index(i);
            texts.push(format!("{here}: hides previous definition of \"{name}\", which may be dropped when using apply"));
        }
    }
}

fn ports(spec: &Value, at: &FieldPath, texts: &mut Vec<String>) {
    let mut known: BTreeMap<String, Vec<(FieldPath, &Value)>> = BTreeMap::new();
    let mut names: BTreeMap<&str, FieldPath> = BTreeMap::new();
    let mut by_name = Vec::new();
    visit(spec, at, |container, path| {
        for (i, port) in value::items(container, &["ports"]).iter().enumerate() {
            let here = path.child("ports").index(i);
            let host = |of: &Value| (value::text(of, &["hostIP"]).to_string(), value::int(of, &["hostPort"]).unwrap_or(0));
            let (ip, number) = host(port);
            if !ip.is_empty() && number == 0 {
                let text = |name: &str| value::text(port, &[name]);
                let inner = value::int(port, &["containerPort"]).unwrap_or(0);
                let (name, protocol) = (text("name"), text("protocol"));
                texts.push(format!(
                    "{here}: hostIP set without hostPort: {{Name:{name} HostPort:0 ContainerPort:{inner} Protocol:{protocol} HostIP:{ip}}}"
                ));
            }
            let key = format!("{}/{}", value::int(port, &["containerPort"]).unwrap_or(0), value::text(port, &["protocol"]));
            let others = known.entry(key).or_default();
            for (other_path, other) in others.iter() {
                let (other_ip, other_number) = host(other);
                if (&ip, number) == (&other_ip, other_number) {
                    texts.push(format!("{here}: duplicate port definition with {other_path}"));
                } else if number == 0 || other_number == 0 {
                    texts.push(format!("{here}: overlapping port definition with {other_path}"));
                } else if number == other_number && ip.is_empty() != other_ip.is_empty() {
                    texts.push(format!("{here}: dangerously ambiguous port definition with {other_path}"));
                }
            }
            others.push((here.clone(), port));
            let name = value::text(port, &["name"]);
            match names.get(name) {
                _ if name.is_empty() => {}
                Some(other) => by_name.push(format!(
                    "{here}: duplicate port name \"{name}\" with {other}, services and probes that select ports by name will use {other}"
                )),
                None => drop(names.insert(name, here)),
            }
        }
    });
    texts.append(&mut by_name);
}

fn affinities(spec: &Value, at: &FieldPath, texts: &mut Vec<String>) {
    let why = "a null labelSelector results in matching no pod";
    for name in ["podAffinity", "podAntiAffinity"] {
        let found = value::at(spec, &["affinity", name]).unwrap_or(&Value::Null);
        let here = at.child("affinity").child(name);
        for (i, _) in value::items(found, &[REQUIRED]).iter().enumerate().filter(|(_, t)| !has(t, "labelSelector")) {
            texts.push(format!("{}: {why}", here.child(REQUIRED).index(i).child("labelSelector")));
        }
        for (i, term) in value::items(found, &[PREFERRED]).iter().enumerate() {
            if !has(get(term, "podAffinityTerm"), "labelSelector") {
                let here = here.child(PREFERRED).index(i).child("podAffinityTerm");
                texts.push(format!("{}: {why}", here.child("labelSelector")));
            }
        }
    }
}
