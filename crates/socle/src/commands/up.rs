//! `socle up`: in the foreground, or detached once ready.

use super::serve;
use crate::cli::Up;
use crate::layout::Layout;
use crate::platform::Platform;
use crate::process;
use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn run(options: Up) -> anyhow::Result<()> {
    super::must_be_root("socle up")?;
    let (platform, layout) = settings(&options)?;
    layout.create_node().with_context(|| format!("preparing {}", layout.data.display()))?;
    if options.detach {
        return detach(&layout);
    }
    // Held until the process ends, however it ends.
    let _lock = serve::lock(&layout)?;
    let _machine = lock_machine(&layout)?;
    serve::run(&layout, "ready; Ctrl-C ends socle, the pods go on until `socle down`", |say, stop| {
        let layout = layout.clone();
        async move { crate::wiring::start(&platform, &layout, &say, stop).await }
    })
}

/// The platform file with the flags laid over it.
pub fn settings(options: &Up) -> anyhow::Result<(Platform, Layout)> {
    let (mut platform, layout) = super::platform(&options.place)?;
    super::set_datastore(&mut platform, &options.store)?;
    super::set_operations(&mut platform, &options.operations)?;
    if let Some(name) = &options.node_name {
        platform.node.name = name.clone();
    }
    if let Some(endpoint) = &options.container_runtime_endpoint {
        platform.runtime.endpoint = endpoint.clone();
    }
    if let Some(controllers) = &options.controllers {
        platform.controllers = controllers.clone();
    }
    platform.check()?;
    Ok((platform, layout))
}

/// A second platform would take the network of the first apart, whatever its data directory.
fn lock_machine(layout: &Layout) -> anyhow::Result<Flock<File>> {
    let path = crate::layout::MACHINE_LOCK;
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path).with_context(|| path.to_string())?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            file.set_len(0)?;
            writeln!(file, "{}", layout.data.display())?;
            Ok(file)
        }
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            let holder = fs::read_to_string(path).unwrap_or_default();
            bail!("a platform runs on this machine already, on {}; a machine has one pod network", holder.trim())
        }
        Err((_, error)) => bail!("locking {path}: {error}"),
    }
}

/// Starts the same command without `--detach` in a session of its own, and repeats what it says until
/// it is ready.
fn detach(layout: &Layout) -> anyhow::Result<()> {
    if let Some(pid) = super::holder(layout) {
        bail!("another socle (pid {pid}) runs on {}; stop it with `socle down`", layout.data.display());
    }
    let _ = fs::remove_file(layout.ready());
    let log_path = layout.log();
    let mut log = File::options().create(true).append(true).read(true).open(&log_path).with_context(|| log_path.display().to_string())?;
    let mut seen = log.seek(SeekFrom::End(0))?;
    let arguments: Vec<_> = std::env::args_os().skip(1).filter(|a| a != "--detach").collect();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(std::io::Error::from));
    }
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id())?;
    loop {
        let ended = child.try_wait()?;
        let mut text = Vec::new();
        log.seek(SeekFrom::Start(seen))?;
        seen += log.read_to_end(&mut text)? as u64;
        std::io::stdout().write_all(&text)?;
        if let Some(status) = ended {
            bail!("socle ended ({status}); its log is {}", log_path.display());
        }
        if layout.ready().exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("running in the background, pid {pid}; its log is {}", log_path.display());
    debug_assert!(process::alive(pid));
    Ok(())
}
