//! The node's conditions.

use super::machine;
use crate::config::Config;
use crate::cri::api::StatusResponse;
use k8s_openapi::api::core::v1::NodeCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Below this much free memory, and this share of free disk, the node is under pressure (upstream's
/// eviction thresholds).
const LEAST_MEMORY: i64 = 100 << 20;
const LEAST_DISK_PERCENT: u64 = 10;

/// What keeps the node from running pods, if anything.
pub fn obstacle(status: Result<StatusResponse, String>) -> Result<(), String> {
    let status = status.map_err(|why| format!("container runtime is down: {why}"))?;
    let conditions = status.status.map(|s| s.conditions).unwrap_or_default();
    for (kind, words) in [("RuntimeReady", "container runtime not ready"), ("NetworkReady", "container runtime network not ready")] {
        match conditions.iter().find(|c| c.r#type == kind) {
            Some(c) if c.status => {}
            Some(c) => return Err(format!("{words}: {kind}=false reason:{} message:{}", c.reason, c.message)),
            None => return Err(format!("{words}: {kind}=false reason: message:the runtime does not tell")),
        }
    }
    Ok(())
}

pub fn all(config: &Config, ready: &Result<(), String>, before: &[NodeCondition], now: &Time) -> Vec<NodeCondition> {
    let memory = machine::available_memory() < LEAST_MEMORY;
    let disk = machine::disk(&config.root_dir).is_some_and(|d| d.available * 100 < d.total * LEAST_DISK_PERCENT);
    let (ready, reason, message) = match ready {
        Ok(()) => ("True", "KubeletReady", "kubelet is posting ready status".to_string()),
        Err(why) => ("False", "KubeletNotReady", why.clone()),
    };
    let pressure = |there: bool, yes: (&'static str, &str), no: (&'static str, &str)| {
        let (reason, message) = if there { yes } else { no };
        (if there { "True" } else { "False" }, reason, message.to_string())
    };
    let conditions = [
        (
            "MemoryPressure",
            pressure(
                memory,
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ),
        ),
        (
            "DiskPressure",
            pressure(
                disk,
                ("KubeletHasDiskPressure", "kubelet has disk pressure"),
                ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ),
        ),
        (
            "PIDPressure",
            pressure(
                false,
                ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
                ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ),
        ),
        ("Ready", (ready, reason, message)),
    ];
    conditions
        .into_iter()
        .map(|(kind, (status, reason, message))| {
            let same = before.iter().find(|c| c.type_ == kind && c.status == status);
            NodeCondition {
                type_: kind.into(),
                status: status.into(),
                reason: Some(reason.into()),
                message: Some(message),
                last_heartbeat_time: Some(now.clone()),
                last_transition_time: same.and_then(|c| c.last_transition_time.clone()).or_else(|| Some(now.clone())),
            }
        })
        .collect()
}
