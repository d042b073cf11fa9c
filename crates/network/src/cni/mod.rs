//! The CNI plugin: what the container runtime calls to attach a pod to the node's network and to
//! detach it (specification 1.0.0, results also in the form of 0.3 and 0.4; IPv4).
//!
//! `main` is the whole program when the binary is called by the name [`PLUGIN`]. It is on the path of
//! every pod start, so it starts no runtime and no other program, except `nft` for a pod with host
//! ports.

mod attach;
mod ipam;
mod portmap;
mod request;
mod respond;
mod setup;

use attach::{attach, check, detach};
use request::{Command, Request};
use std::io::{Read, Write};
use std::path::Path;

pub(crate) use attach::ensure_bridge;
pub use ipam::{Holder, Leases, Reservation};
pub(crate) use portmap::{TABLE as HOSTPORTS_TABLE, restore as restore_host_ports};
pub use request::{Environment, Network};
pub use setup::{install, uninstall, write_config};

/// The name that the plugin goes by in the network configuration and in the plugin directory.
pub const PLUGIN: &str = "socle-cni";

/// The plugin that containerd calls before any other, and expects beside them.
pub const LOOPBACK: &str = "loopback";

/// Whether a program called by this name is a plugin of ours.
pub fn is_plugin(name: &str) -> bool {
    matches!(name, PLUGIN | LOOPBACK)
}

/// Why a call failed. The codes below 100 are the specification's.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    #[error("CNI version {0} is not supported")]
    Version(String),
    #[error("environment variable {0} is missing or invalid")]
    Environment(&'static str),
    #[error("cannot read the network configuration: {0}")]
    Input(#[source] std::io::Error),
    #[error("the network configuration is not valid: {0}")]
    Decode(#[source] serde_json::Error),
    #[error("the network configuration is not valid: {0}")]
    Network(String),
    #[error("cannot open the pod's network namespace {path}: {source}")]
    Namespace { path: String, source: std::io::Error },
    #[error("no address is free in {0}")]
    Exhausted(ipnet::Ipv4Net),
    #[error("{action} {path}: {source}")]
    State { action: &'static str, path: std::path::PathBuf, source: std::io::Error },
    #[error("{action}: {source}")]
    Kernel { action: String, source: std::io::Error },
    #[error("host ports: {0}")]
    Ports(#[from] crate::nft::NftError),
    #[error("{0}")]
    NotAttached(String),
}

impl CniError {
    fn code(&self) -> u32 {
        match self {
            Self::Version(_) => 1,
            Self::Environment(_) => 4,
            Self::Input(_) => 5,
            Self::Decode(_) => 6,
            Self::Network(_) => 7,
            Self::State { .. } => 100,
            Self::Kernel { .. } | Self::Namespace { .. } => 101,
            Self::Exhausted(_) => 102,
            Self::Ports(_) => 103,
            Self::NotAttached(_) => 104,
        }
    }
}

/// Answers one call of the runtime; what is returned is the exit status.
pub fn main() -> i32 {
    let environment = Environment::of_process();
    let mut input = Vec::new();
    // No real configuration comes near this.
    let read = std::io::stdin().take(1 << 20).read_to_end(&mut input);
    let called_as = std::env::args_os().next().unwrap_or_default();
    let outcome = read.map_err(CniError::Input).and_then(|_| {
        // `attach` brings the loopback link up with the rest, so that one call does it all.
        let loopback = Path::new(&called_as).file_name().is_some_and(|name| name == LOOPBACK);
        if loopback { loopback_call(&environment, &input) } else { call(&environment, &input) }
    });
    let (output, status) = match outcome {
        Ok(output) => (output, 0),
        Err(error) => (respond::failure(respond::version_of(&input), &error), 1),
    };
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(output.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => status,
        Err(_) => 1,
    }
}

fn loopback_call(environment: &Environment, input: &[u8]) -> Result<String, CniError> {
    match environment.command()? {
        Command::Version => Ok(respond::versions(respond::version_of(input))),
        Command::Add => Ok(respond::loopback(respond::version_of(input))),
        Command::Delete | Command::Check => Ok(String::new()),
    }
}

/// One call: the environment and the standard input that the specification names, the answer out.
pub fn call(environment: &Environment, input: &[u8]) -> Result<String, CniError> {
    let command = environment.command()?;
    if command == Command::Version {
        return Ok(respond::versions(respond::version_of(input)));
    }
    let request = Request::parse(environment, input)?;
    match command {
        Command::Add => attach(&request).map(|attachment| respond::success(&request, &attachment)),
        Command::Delete => detach(&request).map(|()| String::new()),
        Command::Check => check(&request).map(|()| String::new()),
        Command::Version => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests;
