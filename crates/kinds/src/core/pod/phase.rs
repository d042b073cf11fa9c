//! What `kubectl get pods` says of a pod: the status column and its neighbours.

use crate::rules::get;
use crate::table;
use jiff::Timestamp;
use meta::value;
use serde_json::Value;

pub struct Shown {
    pub status: String,
    pub ready: usize,
    pub total: usize,
    pub restarts: String,
}

fn is_sidecar(spec: &Value, name: &str) -> bool {
    let init = value::items(spec, &["initContainers"]).iter().find(|c| value::text(c, &["name"]) == name);
    init.is_some_and(|c| value::text(c, &["restartPolicy"]) == "Always")
}

/// Upstream's `printPod`, in words of our own.
pub fn shown(pod: &Value, now: Timestamp) -> Shown {
    let (spec, status) = (get(pod, "spec"), get(pod, "status"));
    let reason = value::text(status, &["reason"]);
    let mut text = if reason.is_empty() { value::text(status, &["phase"]) } else { reason }.to_string();
    let gated = value::items(status, &["conditions"])
        .iter()
        .any(|c| value::text(c, &["type"]) == "PodScheduled" && value::text(c, &["reason"]) == "SchedulingGated");
    if gated {
        text = "SchedulingGated".into();
    }
    let mut total = value::items(spec, &["containers"]).len();
    let mut ready = 0;
    let (mut restarts, mut sidecar_restarts) = (0, 0);
    let (mut last, mut sidecar_last) = ("", "");
    let mut initializing = false;
    let statuses = value::items(status, &["initContainerStatuses"]);
    let inits = value::items(spec, &["initContainers"]);
    total += inits.iter().filter(|c| value::text(c, &["restartPolicy"]) == "Always").count();
    for (i, container) in statuses.iter().enumerate() {
        let count = value::int(container, &["restartCount"]).unwrap_or(0);
        restarts += count;
        let finished = value::text(container, &["lastState", "terminated", "finishedAt"]);
        last = last.max(finished);
        let sidecar = is_sidecar(spec, value::text(container, &["name"]));
        if sidecar {
            sidecar_restarts += count;
            sidecar_last = sidecar_last.max(finished);
        }
        let state = get(container, "state");
        if !get(state, "terminated").is_null() && value::int(state, &["terminated", "exitCode"]) == Some(0) {
            continue;
        }
        if sidecar && value::flag(container, &["started"]) {
            ready += usize::from(value::flag(container, &["ready"]));
            continue;
        }
        text = match (get(state, "terminated"), value::text(state, &["waiting", "reason"])) {
            (Value::Null, "" | "PodInitializing") => format!("Init:{i}/{}", inits.len()),
            (Value::Null, waiting) => format!("Init:{waiting}"),
            (ended, _) => format!("Init:{}", ended_text(ended)),
        };
        initializing = true;
        break;
    }
    let initialized = value::items(status, &["conditions"])
        .iter()
        .any(|c| value::text(c, &["type"]) == "Initialized" && value::text(c, &["status"]) == "True");
    if !initializing || initialized {
        (restarts, last) = (sidecar_restarts, sidecar_last);
        let mut running = false;
        for container in value::items(status, &["containerStatuses"]).iter().rev() {
            restarts += value::int(container, &["restartCount"]).unwrap_or(0);
            last = last.max(value::text(container, &["lastState", "terminated", "finishedAt"]));
            let state = get(container, "state");
            let waiting = value::text(state, &["waiting", "reason"]);
            if !waiting.is_empty() {
                text = waiting.to_string();
            } else if !get(state, "terminated").is_null() {
                text = ended_text(get(state, "terminated"));
            } else if value::flag(container, &["ready"]) && !get(state, "running").is_null() {
                running = true;
                ready += 1;
            }
        }
        if text == "Completed" && running {
            let is_ready = value::items(status, &["conditions"])
                .iter()
                .any(|c| value::text(c, &["type"]) == "Ready" && value::text(c, &["status"]) == "True");
            text = if is_ready { "Running" } else { "NotReady" }.into();
        }
    }
    if value::at(pod, &["metadata", "deletionTimestamp"]).is_some() {
        let phase = value::text(status, &["phase"]);
        if reason == "NodeLost" {
            text = "Unknown".into();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            text = "Terminating".into();
        }
    }
    let restarts =
        if restarts != 0 && !last.is_empty() { format!("{restarts} ({} ago)", table::since_text(last, now)) } else { restarts.to_string() };
    Shown { status: text, ready, total, restarts }
}

fn ended_text(ended: &Value) -> String {
    let reason = value::text(ended, &["reason"]);
    if !reason.is_empty() {
        return reason.into();
    }
    match value::int(ended, &["signal"]) {
        Some(signal) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", value::int(ended, &["exitCode"]).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status_of(pod: Value) -> (String, String) {
        let shown = shown(&pod, "2026-01-01T00:10:00Z".parse().unwrap());
        (shown.status, format!("{}/{} {}", shown.ready, shown.total, shown.restarts))
    }

    #[test]
    fn the_status_column_says_what_matters_most() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]});
        let waiting =
            json!({"spec": spec, "status": {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}});
        assert_eq!(status_of(waiting), ("Init:0/1".into(), "0/2 0".into()));
        let crashing = json!({"spec": spec, "status": {"phase": "Running",
            "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 0}}}],
            "containerStatuses": [
                {"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}},
                {"name": "b", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:05:00Z"}}}]}});
        assert_eq!(status_of(crashing), ("CrashLoopBackOff".into(), "1/2 3 (5m ago)".into()));
        let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec, "status": {"phase": "Running"}});
        assert_eq!(status_of(going).0, "Terminating");
    }
}
