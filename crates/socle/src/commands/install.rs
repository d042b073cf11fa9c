//! `socle install`: a systemd unit for those who keep the platform.

use crate::cli::Up;
use anyhow::Context;
use std::path::{Path, PathBuf};

const UNIT: &str = "/etc/systemd/system/socle.service";

pub fn run(options: &Up) -> anyhow::Result<()> {
    super::must_be_root("socle install")?;
    super::up::settings(options)?;
    let program = std::env::current_exe().context("finding this program")?;
    let unit = render(&program, options)?;
    std::fs::write(UNIT, unit).with_context(|| format!("writing {UNIT}"))?;
    println!("wrote {UNIT}");
    println!("start it now and at every boot: systemctl daemon-reload && systemctl enable --now socle");
    Ok(())
}

fn render(program: &Path, options: &Up) -> anyhow::Result<String> {
    let mut line = format!("{} up", quoted(program));
    let mut flag = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            line.push_str(&format!(" --{name} {}", quoted(Path::new(&value))));
        }
    };
    let absolute = |path: &PathBuf| std::path::absolute(path).map(|p| p.to_string_lossy().into_owned());
    flag("config", options.place.config.as_ref().map(absolute).transpose()?);
    flag("data-dir", options.place.data_dir.as_ref().map(absolute).transpose()?);
    flag("datastore", options.store.datastore.clone());
    for (name, path) in [
        ("etcd-cafile", &options.store.etcd_cafile),
        ("etcd-certfile", &options.store.etcd_certfile),
        ("etcd-keyfile", &options.store.etcd_keyfile),
        ("encryption-provider-config", &options.store.encryption_provider_config),
    ] {
        flag(name, path.as_ref().map(absolute).transpose()?);
    }
    flag("audit-policy-file", options.operations.audit_policy_file.as_ref().map(absolute).transpose()?);
    flag("audit-log-path", options.operations.audit_log_path.as_ref().map(|p| p.to_string_lossy().into_owned()));
    for feature in &options.operations.feature {
        flag("feature", Some(feature.clone()));
    }
    flag("node-name", options.node_name.clone());
    flag("container-runtime-endpoint", options.container_runtime_endpoint.clone());
    flag("controllers", options.controllers.clone());
    Ok(format!(
        "[Unit]
Description=socle, the on-premises production Kubernetes platform
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={line}
Restart=always
RestartSec=1
# Only socle itself: the containers live through its restart.
KillMode=process
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity

[Install]
WantedBy=multi-user.target
"
    ))
}

/// systemd splits at spaces and reads `%` and `$` for itself.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    if text.contains([' ', '\t', '"', '\\', '\'']) { format!("\"{text}\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    #[test]
    fn the_unit_repeats_the_flags_it_was_installed_with() {
        let Command::Install(options) = Cli::parse_from(["socle", "install", "--data-dir", "/srv/so cle", "--node-name", "a"]).command
        else {
            panic!("not install");
        };
        let unit = render(Path::new("/usr/local/bin/socle"), &options).unwrap();
        assert!(unit.contains("ExecStart=/usr/local/bin/socle up --data-dir \"/srv/so cle\" --node-name a\n"), "{unit}");
    }
}
