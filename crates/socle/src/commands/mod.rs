//! One module a command.

mod apiserver;
mod down;
mod image;
mod init;
mod install;
mod kubeconfig;
mod serve;
mod snapshot;
mod status;
mod up;

use crate::cli::{Cli, Command, Datastore, Image, Place};
use crate::layout::Layout;
use crate::platform::{DatastoreKind, Platform};

pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Up(options) => up::run(options),
        Command::Apiserver(options) => apiserver::run(&options),
        Command::Status(place) => status::run(&place),
        Command::Down(options) => down::run(&options),
        Command::Install(options) => install::run(&options),
        Command::Init => init::run(),
        Command::Kubeconfig(place) => kubeconfig::run(&place),
        Command::Snapshot(command) => snapshot::run(&command),
        Command::Image(Image::Import { place, files }) => image::import(&place, &files),
    }
}

/// The platform file as the flags of every command name it, with the layout that follows from it.
fn platform(place: &Place) -> anyhow::Result<(Platform, Layout)> {
    let mut platform = match &place.config {
        Some(path) => Platform::load(path)?,
        None => Platform::default(),
    };
    if let Some(dir) = &place.data_dir {
        platform.data_dir = std::path::absolute(dir)?;
    }
    let layout = Layout::new(&platform.data_dir);
    Ok((platform, layout))
}

/// What the flags say about the store, over what the file says.
fn set_datastore(platform: &mut Platform, flags: &Datastore) -> anyhow::Result<()> {
    match flags.datastore.as_deref() {
        None => {}
        Some("embedded") => platform.datastore.kind = DatastoreKind::Embedded,
        Some(other) => match other.strip_prefix("etcd=") {
            Some(endpoints) if !endpoints.is_empty() => {
                platform.datastore.kind = DatastoreKind::Etcd;
                platform.datastore.endpoints = endpoints.split(',').map(str::to_string).collect();
            }
            _ => anyhow::bail!("--datastore takes embedded or etcd=URL[,URL...], not {other:?}"),
        },
    }
    let store = &mut platform.datastore;
    for (flag, field) in [
        (&flags.etcd_cafile, &mut store.ca_file),
        (&flags.etcd_certfile, &mut store.cert_file),
        (&flags.etcd_keyfile, &mut store.key_file),
        (&flags.encryption_provider_config, &mut store.encryption_config),
    ] {
        if let Some(path) = flag {
            *field = Some(std::path::absolute(path)?);
        }
    }
    Ok(())
}

/// What flags say of how the API server is run, over what the file says.
fn set_operations(platform: &mut Platform, flags: &crate::cli::Operations) -> anyhow::Result<()> {
    if let Some(path) = &flags.audit_policy_file {
        platform.api.audit.policy_file = Some(path.clone());
    }
    if let Some(path) = &flags.audit_log_path {
        platform.api.audit.log_path = path.clone();
    }
    let mut known = ::apiserver::features::Features::default();
    for text in &flags.feature {
        known.parse(text)?;
        for (name, on) in text.split(',').filter_map(|part| part.trim().split_once('=')) {
            platform.api.features.insert(name.to_string(), on == "true");
        }
    }
    Ok(())
}

fn must_be_root(what: &str) -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        anyhow::bail!("{what} must be run as root: it makes network namespaces, mounts and firewall rules");
    }
    Ok(())
}

/// Whether a platform runs on this machine, on whatever data directory.
fn machine_is_taken() -> bool {
    let Ok(file) = std::fs::File::open(crate::layout::MACHINE_LOCK) else { return false };
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockSharedNonblock).is_err()
}

/// The process that holds a data directory, if one does.
fn holder(layout: &Layout) -> Option<i32> {
    let file = std::fs::File::open(layout.lock()).ok()?;
    match nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockSharedNonblock) {
        Ok(_) => None,
        Err(_) => std::fs::read_to_string(layout.lock()).ok()?.trim().parse().ok(),
    }
}
