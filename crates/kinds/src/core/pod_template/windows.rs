//! The settings of Windows pods, which are checked though no node here runs them.

use super::visit;
use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;

const POD_ONLY_LINUX: [&str; 11] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];
const CONTAINER_ONLY_LINUX: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

pub fn options(found: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    if let Some(name) = get(found, "gmsaCredentialSpecName").as_str() {
        rules::dns_subdomain(name, &at.child("gmsaCredentialSpecName"), errors);
    }
    match get(found, "gmsaCredentialSpec").as_str() {
        Some("") => errors.invalid(&at.child("gmsaCredentialSpec"), "", "gmsaCredentialSpec cannot be an empty string"),
        Some(spec) if spec.len() > 64 << 10 => {
            errors.invalid(&at.child("gmsaCredentialSpec"), spec, "gmsaCredentialSpec size must be under 64 KiB");
        }
        _ => {}
    }
    if let Some(name) = get(found, "runAsUserName").as_str() {
        user_name(name, &at.child("runAsUserName"), errors);
    }
}

fn user_name(name: &str, at: &FieldPath, errors: &mut FieldErrors) {
    let mut wrong = |why: &str| errors.invalid(at, name, why);
    if name.is_empty() {
        return wrong("runAsUserName cannot be an empty string");
    }
    if name.chars().any(char::is_control) {
        return wrong("runAsUserName cannot contain control characters");
    }
    let (domain, user) = match name.split('\\').collect::<Vec<_>>()[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return wrong("runAsUserName cannot contain more than one backslash"),
    };
    if let Some(domain) = domain {
        if domain.len() >= 256 {
            wrong("runAsUserName's Domain length must be under 256 characters");
        }
        let netbios = (1..=15).contains(&domain.chars().count())
            && !domain.starts_with('.')
            && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|']);
        let label = |part: &str| {
            (1..=63).contains(&part.len())
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !netbios && !domain.split('.').all(label) {
            wrong("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        wrong("runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        wrong("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        wrong("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        wrong("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
}

/// Containers that are processes of the host are so all together, on its network.
pub fn host_process(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let of_pod = value::at(spec, &["securityContext", "windowsOptions", "hostProcess"]).and_then(Value::as_bool);
    let (mut count, mut on_host) = (0, 0);
    visit(spec, at, |container, path| {
        count += 1;
        let own = value::at(container, &["securityContext", "windowsOptions", "hostProcess"]).and_then(Value::as_bool);
        if let (Some(of_pod), Some(own)) = (of_pod, own)
            && of_pod != own
        {
            let why = format!("pod hostProcess value must be identical if both are specified, was {of_pod}");
            errors.invalid(&path.child("securityContext").child("windowsOptions").child("hostProcess"), own, &why);
        }
        on_host += usize::from(own.or(of_pod).unwrap_or(false));
    });
    if on_host == 0 {
        return;
    }
    if on_host != count {
        errors.invalid(at, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers");
    }
    if !value::flag(spec, &["hostNetwork"]) {
        errors.invalid(&at.child("hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers");
    }
}

pub fn not_on_linux(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let why = "windows options cannot be set for a linux pod";
    if has(get(spec, "securityContext"), "windowsOptions") {
        errors.forbidden(&at.child("securityContext").child("windowsOptions"), why);
    }
    visit(spec, at, |container, path| {
        if has(get(container, "securityContext"), "windowsOptions") {
            errors.forbidden(&path.child("securityContext").child("windowsOptions"), why);
        }
    });
}

pub fn only_on_linux(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let why = "cannot be set for a windows pod";
    for name in POD_ONLY_LINUX.iter().filter(|name| has(get(spec, "securityContext"), name)) {
        errors.forbidden(&at.child("securityContext").child(name), why);
    }
    for name in ["hostUsers", "shareProcessNamespace"].into_iter().filter(|name| has(spec, name)) {
        errors.forbidden(&at.child(name), why);
    }
    for name in ["hostPID", "hostIPC"].into_iter().filter(|name| value::flag(spec, &[name])) {
        errors.forbidden(&at.child(name), why);
    }
    visit(spec, at, |container, path| {
        for name in CONTAINER_ONLY_LINUX.iter().filter(|name| has(get(container, "securityContext"), name)) {
            errors.forbidden(&path.child("securityContext").child(name), why);
        }
    });
}
