//! What every command that stays in the foreground does: one process a data directory, logging, and an
//! orderly end on a signal or when a part that the rest needs ends by itself.

use crate::layout::Layout;
use crate::say::Say;
use crate::wiring::Running;
use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::future::Future;
use std::io::Write;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Held until the process ends, however it ends.
pub fn lock(layout: &Layout) -> anyhow::Result<Flock<File>> {
    let path = layout.lock();
    let file =
        File::options().create(true).truncate(false).read(true).write(true).open(&path).with_context(|| path.display().to_string())?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())?;
            Ok(file)
        }
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            bail!("another socle (pid {}) runs on {}; stop it with `socle down`", holder.trim(), layout.data.display())
        }
        Err((_, error)) => bail!("locking {}: {error}", path.display()),
    }
}

/// Starts what `start` says, and returns when it has ended.
pub fn run<F, S>(layout: &Layout, ready: &str, start: S) -> anyhow::Result<()>
where
    S: FnOnce(Say, CancellationToken) -> F,
    F: Future<Output = anyhow::Result<Running>>,
{
    let _ = fs::remove_file(layout.ready());
    let filter = EnvFilter::try_from_env("SOCLE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    // ring for every TLS peer in the process; a second installation would be a second default.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("socle").build()?;
    let outcome = runtime.block_on(serve(layout, ready, start));
    // A thread that waits for containerd's end would hold us as long as containerd lives.
    runtime.shutdown_background();
    outcome
}

async fn serve<F, S>(layout: &Layout, ready: &str, start: S) -> anyhow::Result<()>
where
    S: FnOnce(Say, CancellationToken) -> F,
    F: Future<Output = anyhow::Result<Running>>,
{
    let say = Say::new();
    let stop = CancellationToken::new();
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let signalled = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(signalled);
    let running = tokio::select! {
        started = start(say, stop.clone()) => started?,
        () = &mut signalled => return Ok(()),
    };
    fs::write(layout.ready(), std::process::id().to_string())?;
    say.step(ready);
    let failed = tokio::select! {
        () = &mut signalled => None,
        failed = running.failed() => Some(failed),
    };
    let _ = fs::remove_file(layout.ready());
    stop.cancel();
    running.drain().await;
    match failed {
        None => Ok(()),
        Some(error) => Err(error),
    }
}
