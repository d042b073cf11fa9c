//! What probes and hooks may not be.

use super::Context;
use crate::rules::{self, get, has};
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

const PROBE_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];
const SIGNALS: [&str; 34] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// Exactly one way to act.
fn handler(found: &Value, kinds: &[&str], grace: Option<i64>, at: &FieldPath, errors: &mut FieldErrors) {
    let mut given = kinds.iter().filter(|kind| has(found, kind));
    match given.next() {
        None => errors.required(at, "must specify a handler type"),
        Some(first) => act(first, get(found, first), grace, &at.child(first), errors),
    }
    for more in given {
        errors.forbidden(&at.child(more), "may not specify more than 1 handler type");
    }
}

fn act(kind: &str, found: &Value, grace: Option<i64>, at: &FieldPath, errors: &mut FieldErrors) {
    match kind {
        "exec" if value::items(found, &["command"]).is_empty() => errors.required(&at.child("command"), ""),
        "httpGet" => {
            rules::required_texts(found, &["path"], at, errors);
            rules::port(get(found, "port"), &at.child("port"), errors);
            let scheme = value::text(found, &["scheme"]);
            if !["HTTP", "HTTPS"].contains(&scheme) {
                errors.not_supported(&at.child("scheme"), scheme, &["HTTP", "HTTPS"]);
            }
            for header in value::items(found, &["httpHeaders"]) {
                let name = value::text(header, &["name"]);
                rules::messages(validate::http_header_name(name), name, &at.child("httpHeaders"), errors);
            }
        }
        "tcpSocket" | "grpc" => rules::port(get(found, "port"), &at.child("port"), errors),
        "sleep" => {
            let seconds = value::int(found, &["seconds"]).unwrap_or(0);
            if let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) {
                let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                errors.invalid(at, seconds, &why);
            }
        }
        _ => {}
    }
}

pub fn all(container: &Value, pod: &Context<'_>, at: &FieldPath, errors: &mut FieldErrors) {
    if has(container, "lifecycle") {
        lifecycle(get(container, "lifecycle"), pod, &at.child("lifecycle"), errors);
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"].into_iter().filter(|name| has(container, name)) {
        let (probe, at) = (get(container, name), at.child(name));
        handler(probe, &PROBE_HANDLERS, pod.grace, &at, errors);
        let numbers = ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
        rules::not_negative(probe, &numbers, &at, errors);
        let grace = value::int(probe, &["terminationGracePeriodSeconds"]);
        if let Some(seconds) = grace.filter(|s| *s <= 0) {
            errors.invalid(&at.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0");
        }
        let successes = value::int(probe, &["successThreshold"]).unwrap_or(0);
        if name == "readinessProbe" {
            if let Some(seconds) = grace {
                errors.invalid(&at.child("terminationGracePeriodSeconds"), seconds, "must not be set for readinessProbes");
            }
        } else if successes != 1 {
            errors.invalid(&at.child("successThreshold"), successes, "must be 1");
        }
    }
}

fn lifecycle(found: &Value, pod: &Context<'_>, at: &FieldPath, errors: &mut FieldErrors) {
    for hook in ["postStart", "preStop"].into_iter().filter(|hook| has(found, hook)) {
        handler(get(found, hook), &HOOK_HANDLERS, pod.grace, &at.child(hook), errors);
    }
    let Some(signal) = get(found, "stopSignal").as_str() else { return };
    let at = at.child("stopSignal");
    match pod.os {
        "" => errors.forbidden(&at, "may not be set for containers with empty `spec.os.name`"),
        "windows" if !["SIGKILL", "SIGTERM"].contains(&signal) => errors.not_supported(&at, signal, &["SIGKILL", "SIGTERM"]),
        "linux" if !is_signal(signal) => {
            let realtime = (1..=15).map(|n| format!("SIGRTMIN+{n}")).chain((1..=14).map(|n| format!("SIGRTMAX-{n}")));
            let names: Vec<String> =
                SIGNALS.iter().map(ToString::to_string).chain(["SIGRTMIN".into(), "SIGRTMAX".into()]).chain(realtime).collect();
            errors.not_supported(&at, signal, &names.iter().map(String::as_str).collect::<Vec<_>>());
        }
        _ => {}
    }
}

fn is_signal(signal: &str) -> bool {
    let offset = |prefix: &str, most: u32| {
        let rest = signal.strip_prefix(prefix);
        rest.is_some_and(|n| !n.starts_with('0') && n.parse::<u32>().is_ok_and(|n| (1..=most).contains(&n)))
    };
    SIGNALS.contains(&signal) || matches!(signal, "SIGRTMIN" | "SIGRTMAX") || offset("SIGRTMIN+", 15) || offset("SIGRTMAX-", 14)
}
