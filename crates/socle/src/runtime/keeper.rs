//! Starts containerd, waits for it, and starts it again when it dies.

use crate::layout::Layout;
use crate::process;
use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

const START_PATIENCE: Duration = Duration::from_secs(30);

pub struct Containerd {
    layout: Layout,
}

impl Containerd {
    /// Makes sure that containerd answers, and keeps it so until `stop`.
    pub async fn ensure(layout: &Layout, stop: CancellationToken) -> anyhow::Result<Self> {
        fs::create_dir_all(layout.containerd_root())?;
        fs::create_dir_all(layout.containerd_state())?;
        let config = layout.run.join("containerd.toml");
        fs::write(&config, super::settings::render(layout)).with_context(|| format!("writing {}", config.display()))?;
        if !answers(&layout.containerd_socket()).await {
            start(layout).await?;
        }
        let keeper = Self { layout: layout.clone() };
        tokio::spawn(keep(layout.clone(), stop));
        Ok(keeper)
    }

    pub fn endpoint(&self) -> String {
        self.layout.containerd_socket().to_string_lossy().into_owned()
    }
}

/// Looks every few seconds whether containerd still lives: it is not our child after a restart of
/// socle, so its end cannot be waited for otherwise.
async fn keep(layout: Layout, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(5))).await.is_some() {
        if answers(&layout.containerd_socket()).await {
            continue;
        }
        tracing::warn!("containerd does not answer; starting it again");
        if let Err(error) = start(&layout).await {
            tracing::error!(error = format!("{error:#}"), "containerd does not start");
        }
    }
}

async fn answers(socket: &Path) -> bool {
    UnixStream::connect(socket).await.is_ok()
}

async fn start(layout: &Layout) -> anyhow::Result<()> {
    let log_path = layout.data.join("containerd.log");
    let log = File::options().create(true).append(true).open(&log_path).with_context(|| format!("opening {}", log_path.display()))?;
    let mut command = Command::new("containerd");
    command
        .arg("--config")
        .arg(layout.run.join("containerd.toml"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // containerd reads this, and would take a service manager's socket for its own.
        .env_remove("NOTIFY_SOCKET");
    // A session of its own: a Ctrl-C at socle's terminal is not meant for the containers.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(std::io::Error::from));
    }
    let mut child = command.spawn().context("starting containerd (is it installed? on Debian: apt-get install containerd runc)")?;
    let deadline = tokio::time::Instant::now() + START_PATIENCE;
    while !answers(&layout.containerd_socket()).await {
        if let Some(status) = child.try_wait()? {
            bail!("containerd ended at once ({status}); see {}", log_path.display());
        }
        if tokio::time::Instant::now() > deadline {
            bail!("containerd did not answer within {} s; see {}", START_PATIENCE.as_secs(), log_path.display());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Waited for, so that it leaves no zombie; whether it lives is `keep`'s business.
    tokio::task::spawn_blocking(move || child.wait());
    Ok(())
}

/// Ends containerd and every container it runs, and undoes their mounts.
pub fn stop_everything(layout: &Layout) {
    let config = layout.run.join("containerd.toml").to_string_lossy().into_owned();
    let socket = layout.containerd_socket().to_string_lossy().into_owned();
    for pid in process::find(|line| line.first().is_some_and(|exe| exe.ends_with("containerd")) && line.contains(&config)) {
        process::stop(pid, Duration::from_secs(10));
    }
    let shims = process::find(|line| line.first().is_some_and(|exe| exe.contains("containerd-shim")) && line.contains(&socket));
    for shim in &shims {
        for container in process::children(*shim) {
            process::signal(container, Signal::SIGKILL);
        }
    }
    for shim in shims {
        process::signal(shim, Signal::SIGKILL);
        process::gone_within(shim, Duration::from_secs(5));
    }
    for point in process::mounts_below(&[&layout.run, &layout.data]) {
        // Lazily: a mount that is still busy goes when its last user does.
        if let Err(error) = nix::mount::umount2(point.as_str(), nix::mount::MntFlags::MNT_DETACH) {
            eprintln!("socle: unmounting {point}: {error}");
        }
    }
}
