//! containerd's configuration file.

use crate::layout::Layout;
use serde::Serialize;
use std::path::Path;

/// The CRI part for containerd 1.6 and 1.7 (configuration version 2). A TOML basic string is written
/// like a JSON string, so paths are quoted through serde_json.
pub fn render(layout: &Layout) -> String {
    let q = |path: &Path| quoted(&path.to_string_lossy());
    format!(
        r#"# Written by socle at every start; changes made here do not last.
version = 2
root = {root}
state = {state}
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
  "io.containerd.internal.v1.opt",
]

[grpc]
  address = {socket}

[ttrpc]
  address = {ttrpc}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {pause}
  restrict_oom_score_adj = {restrict}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  max_concurrent_downloads = 3

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {cni_bin}
    conf_dir = {cni_conf}

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = {registries}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"#,
        root = q(&layout.containerd_root()),
        state = q(&layout.containerd_state()),
        socket = q(&layout.containerd_socket()),
        ttrpc = q(&layout.run.join("containerd.sock.ttrpc")),
        pause = quoted(super::images::PAUSE),
        restrict = !may_lower_oom_scores(),
        cni_bin = q(&layout.cni_bin()),
        cni_conf = q(&layout.cni_conf()),
        registries = q(&layout.registries()),
    )
}

fn quoted<T: Serialize + ?Sized>(text: &T) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// Without CAP_SYS_RESOURCE nobody may lower an OOM score, and containers that ask for it fail.
fn may_lower_oom_scores() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|caps| caps & (1 << CAP_SYS_RESOURCE) != 0)
}
