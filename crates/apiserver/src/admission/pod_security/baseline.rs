//! What the baseline level forbids: the known ways out of a container.

use super::Found;
use meta::value;
use serde_json::Value;

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SELINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
];
const MORE_SYSCTLS: [&str; 2] = ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"];
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// The first version that looks at the hosts of probes.
const PROBE_HOSTS: u32 = 34;

pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|f| value::items(pod, &["spec", f]))
}

/// `container "a"`, `containers "a", "b"`; none if there are none.
pub fn named<'a>(which: impl Iterator<Item = &'a Value>) -> Option<String> {
    let names: Vec<String> = which.map(|c| format!("\"{}\"", value::text(c, &["name"]))).collect();
    match names.len() {
        0 => None,
        1 => Some(format!("container {}", names[0])),
        _ => Some(format!("containers {}", names.join(", "))),
    }
}

/// Sorted, quoted, each once.
pub fn text_list(items: impl Iterator<Item = Value>) -> String {
    let mut all: Vec<String> = items.map(|i| i.to_string()).collect();
    all.sort();
    all.dedup();
    all.join(", ")
}

/// `restricted`: leaves out what that level forbids in stronger words itself.
pub fn check(pod: &Value, restricted: bool, minor: u32, found: &mut Found) {
    apparmor(pod, found);
    if !restricted {
        let bad = |a: &Value| a.as_str().is_some_and(|a| !CAPABILITIES.contains(&a));
        let list = |c: &Value| value::items(c, &["securityContext", "capabilities", "add"]).to_vec();
        if let Some(who) = named(containers(pod).filter(|c| list(c).iter().any(bad))) {
            let what = text_list(containers(pod).flat_map(list).filter(bad));
            found.add("non-default capabilities", format!("{who} must not include {what} in securityContext.capabilities.add"));
        }
    }
    let spaces = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|f| value::flag(pod, &["spec", f]));
    let spaces: Vec<String> = spaces.map(|f| format!("{f}=true")).collect();
    if !spaces.is_empty() {
        found.add("host namespaces", spaces.join(", "));
    }
    if !restricted {
        let paths = value::items(pod, &["spec", "volumes"]).iter().filter(|v| v.get("hostPath").is_some());
        let names: Vec<String> = paths.map(|v| format!("\"{}\"", value::text(v, &["name"]))).collect();
        if !names.is_empty() {
            found.add("hostPath volumes", format!("{} {}", if names.len() == 1 { "volume" } else { "volumes" }, names.join(", ")));
        }
    }
    ports(pod, found);
    if minor >= PROBE_HOSTS {
        hosts(pod, found);
    }
    if let Some(who) = named(containers(pod).filter(|c| value::flag(c, &["securityContext", "privileged"]))) {
        found.add("privileged", format!("{who} must not set securityContext.privileged=true"));
    }
    proc_mount(pod, restricted, found);
    selinux(pod, found);
    if !restricted {
        banned(pod, &["seccompProfile", "type"], "Unconfined", "seccompProfile", found);
    }
    let known = |n: &str| SYSCTLS.contains(&n) || MORE_SYSCTLS.contains(&n);
    let bad: Vec<&str> = value::items(pod, &["spec", "securityContext", "sysctls"])
        .iter()
        .map(|s| value::text(s, &["name"]))
        .filter(|n| !known(n))
        .collect();
    if !bad.is_empty() {
        found.add("forbidden sysctls", bad.join(", "));
    }
    let windows = |of: &Value| value::flag(of, &["securityContext", "windowsOptions", "hostProcess"]);
    let who: Vec<String> = pod
        .get("spec")
        .is_some_and(windows)
        .then(|| "pod".to_string())
        .into_iter()
        .chain(named(containers(pod).filter(|c| windows(c))))
        .collect();
    if !who.is_empty() {
        found.add("hostProcess", format!("{} must not set securityContext.windowsOptions.hostProcess=true", who.join(" and ")));
    }
}

/// A value of the security context that neither the pod nor a container may have.
fn banned(pod: &Value, path: &[&str], bad: &str, reason: &'static str, found: &mut Found) {
    let has = |of: &Value| of.get("securityContext").is_some_and(|c| value::text(c, path) == bad);
    let whole = pod.get("spec").is_some_and(has).then(|| "pod".to_string());
    let who: Vec<String> = whole.into_iter().chain(named(containers(pod).filter(|c| has(c)))).collect();
    if !who.is_empty() {
        found.add(reason, format!("{} must not set securityContext.{} to \"{bad}\"", who.join(" and "), path.join(".")));
    }
}

fn apparmor(pod: &Value, found: &mut Found) {
    banned(pod, &["appArmorProfile", "type"], "Unconfined", "forbidden AppArmor profile", found);
    let notes = value::at(pod, &["metadata", "annotations"]).and_then(Value::as_object);
    for (key, profile) in notes.into_iter().flatten().filter(|(k, _)| k.starts_with(APPARMOR)) {
        let profile = profile.as_str().unwrap_or_default();
        if !profile.is_empty() && profile != "runtime/default" && !profile.starts_with("localhost/") {
            found.add("forbidden AppArmor profile", format!("annotation \"{key}\"=\"{profile}\""));
        }
    }
}

fn ports(pod: &Value, found: &mut Found) {
    let of =
        |c: &Value| value::items(c, &["ports"]).iter().filter_map(|p| value::int(p, &["hostPort"])).filter(|p| *p != 0).collect::<Vec<_>>();
    if let Some(who) = named(containers(pod).filter(|c| !of(c).is_empty())) {
        let mut all: Vec<i64> = containers(pod).flat_map(of).collect();
        all.sort_unstable();
        all.dedup();
        let ports: Vec<String> = all.iter().map(i64::to_string).collect();
        let uses = if who.starts_with("containers") { "use" } else { "uses" };
        found.add("hostPort", format!("{who} {uses} {} {}", if ports.len() == 1 { "hostPort" } else { "hostPorts" }, ports.join(", ")));
    }
}

fn hosts(pod: &Value, found: &mut Found) {
    let of = |c: &Value| {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].into_iter().filter_map(|p| c.get(p));
        let hooks = ["postStart", "preStop"].into_iter().filter_map(|h| value::at(c, &["lifecycle", h]));
        let hosts = probes.chain(hooks).flat_map(|h| ["httpGet", "tcpSocket"].into_iter().map(move |k| value::text(h, &[k, "host"])));
        hosts.filter(|h| !h.is_empty()).map(Value::from).collect::<Vec<_>>()
    };
    if let Some(who) = named(containers(pod).filter(|c| !of(c).is_empty())) {
        let uses = if who.starts_with("containers") { "use" } else { "uses" };
        found.add("probe or lifecycle host", format!("{who} {uses} probe or lifecycle hosts {}", text_list(containers(pod).flat_map(of))));
    }
}

/// A process tree may be seen whole where root inside is nobody outside; not so in restricted pods.
fn proc_mount(pod: &Value, restricted: bool, found: &mut Found) {
    if !restricted && value::at(pod, &["spec", "hostUsers"]).and_then(Value::as_bool) == Some(false) {
        return;
    }
    let kind = |c: &Value| value::text(c, &["securityContext", "procMount"]).to_string();
    let bad = |c: &Value| !matches!(kind(c).as_str(), "" | "Default");
    if let Some(who) = named(containers(pod).filter(|c| bad(c))) {
        let kinds = text_list(containers(pod).filter(|c| bad(c)).map(|c| Value::from(kind(c))));
        found.add("procMount", format!("{who} must not set securityContext.procMount to {kinds}"));
    }
}

fn selinux(pod: &Value, found: &mut Found) {
    let get = |of: &Value, f: &str| value::text(of, &["securityContext", "seLinuxOptions", f]).to_string();
    let bad = |of: &Value| !SELINUX_TYPES.contains(&get(of, "type").as_str()) || !get(of, "user").is_empty() || !get(of, "role").is_empty();
    let whole = pod.get("spec").is_some_and(bad).then(|| "pod".to_string());
    let who: Vec<String> = whole.into_iter().chain(named(containers(pod).filter(|c| bad(c)))).collect();
    if who.is_empty() {
        return;
    }
    let all: Vec<&Value> = pod.get("spec").into_iter().chain(containers(pod)).collect();
    let types = all.iter().map(|of| get(of, "type")).filter(|t| !SELINUX_TYPES.contains(&t.as_str()));
    let types = text_list(types.map(Value::from));
    let mut details = Vec::new();
    if !types.is_empty() {
        details.push(format!("type {types}"));
    }
    for field in ["user", "role"] {
        if all.iter().any(|of| !get(of, field).is_empty()) {
            details.push(format!("{field} may not be set"));
        }
    }
    let sets = if who.len() > 1 || who[0].starts_with("containers") { "set" } else { "sets" };
    found.add("seLinuxOptions", format!("{} {sets} forbidden securityContext.seLinuxOptions: {}", who.join(" and "), details.join("; ")));
}
