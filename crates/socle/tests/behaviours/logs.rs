//! `kubectl logs`.

use super::{BUSYBOX, Space};
use crate::support::Cluster;
use k8s_openapi::jiff::Timestamp;

/// Behaviour: [sig-cli] Kubectl logs logs should be able to retrieve and filter logs
pub fn logs_are_retrieved_and_filtered(cluster: &Cluster) {
    let space = Space::new(cluster, "logs-filtered");
    // Twenty lines at once, and then one after another.
    let script = "i=0; while :; do i=$((i + 1)); echo \"line $i of the log\"; [ $i -lt 20 ] || sleep 0.5; done";
    let image = format!("--image={BUSYBOX}");
    space.kubectl(&[
        "run",
        "generator",
        &image,
        "--image-pull-policy=IfNotPresent",
        "--restart=Never",
        "--grace-period=1",
        "--",
        "sh",
        "-c",
        script,
    ]);
    space.eventually(&["logs", "generator", "generator"], |out| out.contains("line 20 of the log"));
    let logs = |flags: &[&str]| space.kubectl(&[&["logs", "generator", "generator"], flags].concat());
    assert!(logs(&[]).starts_with("line 1 of the log\nline 2 of the log\n"));
    let last = logs(&["--tail=1"]);
    assert!(last.lines().count() == 1 && last.starts_with("line ") && last.ends_with(" of the log\n"), "{last}");
    assert_eq!(logs(&["--limit-bytes=1"]), "l");
    let stamped = logs(&["--tail=1", "--timestamps"]);
    let (stamp, line) = stamped.split_once(' ').expect("a timestamp and a line");
    assert!(stamp.parse::<Timestamp>().is_ok() && line.lines().count() == 1 && line.starts_with("line "), "{stamped}");
    // The first lines become old; the newest do not.
    let recent = space.eventually(&["logs", "generator", "generator", "--since=1s"], |out| {
        out.contains(" of the log\n") && !out.contains("line 1 of the log\n")
    });
    let all = logs(&["--since=24h"]);
    assert!(all.starts_with("line 1 of the log\n") && recent.lines().count() < all.lines().count(), "{recent}---\n{all}");
}
