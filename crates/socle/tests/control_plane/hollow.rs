//! A node without a runtime: it says that it is ready, that the pods bound to it run, and lets go of those
//! that are deleted.

use client::Informers;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use std::time::Duration;

pub const NAME: &str = "hollow";
const HEARTBEAT: Duration = Duration::from_secs(5);

pub async fn run(informers: Informers) {
    let client = informers.client();
    let nodes = Api::<Node>::all(client.clone());
    let node = json!({"metadata": {"name": NAME, "labels": {"kubernetes.io/hostname": NAME}}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).expect("a node")).await.expect("created");
    let beating = async {
        loop {
            // One that is missed is told by the next.
            let _ = nodes.patch_status(NAME, &PatchParams::default(), &Patch::Strategic(status())).await;
            tokio::time::sleep(HEARTBEAT).await;
        }
    };
    let carrying = async {
        let mut changes = informers.of::<Pod>().changes();
        let mut host = 0u32;
        while let Some(change) = changes.recv().await {
            let Some(pod) = change.new.filter(|p| p.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(NAME)) else { continue };
            host += 1;
            carry(&client, &pod, &format!("10.42.{}.{}", host / 250, host % 250 + 1)).await;
        }
    };
    tokio::join!(beating, carrying);
}

fn status() -> Value {
    let now = meta::time::now();
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": "as it should be",
            "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    let room = json!({"cpu": "64", "memory": "256Gi", "ephemeral-storage": "500Gi", "pods": "500"});
    json!({"status": {
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID"),
            condition("Ready", "True", "KubeletReady"),
        ],
        "addresses": [{"type": "InternalIP", "address": "192.0.2.10"}, {"type": "Hostname", "address": NAME}],
        "capacity": room, "allocatable": room,
        "nodeInfo": {"machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "6.1.0", "osImage": "none",
            "containerRuntimeVersion": "hollow://1", "kubeletVersion": "v1.36.0", "kubeProxyVersion": "",
            "operatingSystem": "linux", "architecture": "amd64"},
    }})
}

/// One step of a pod's way. What fails here is repeated with the pod's next change, or nobody waits for it.
async fn carry(client: &Client, pod: &Pod, address: &str) {
    let name = pod.name_any();
    let pods = Api::<Pod>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    if pod.metadata.deletion_timestamp.is_some() {
        let itself = Some(Preconditions { uid: pod.uid(), resource_version: None });
        let _ = pods.delete(&name, &DeleteParams { grace_period_seconds: Some(0), preconditions: itself, ..Default::default() }).await;
    } else if pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Pending") {
        let _ = pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(running(pod, address))).await;
    }
}

fn running(pod: &Pod, address: &str) -> Value {
    let now = Timestamp::now();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let containers: Vec<Value> = pod
        .spec
        .iter()
        .flat_map(|s| &s.containers)
        .map(|c| {
            json!({"name": c.name, "image": c.image, "imageID": "sha256:0", "containerID": format!("hollow://{}", c.name),
                "ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}}})
        })
        .collect();
    let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"].map(condition);
    json!({"metadata": {"uid": pod.uid()}, "status": {
        "phase": "Running", "hostIP": "192.0.2.10", "podIP": address, "podIPs": [{"ip": address}], "startTime": now,
        "conditions": conditions, "containerStatuses": containers,
    }})
}
