//! What the runtime asks: environment variables and a JSON document.

use super::CniError;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::PathBuf;

pub const SUPPORTED: [&str; 4] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];

/// The kernel's limit, without the zero at the end.
const LONGEST_INTERFACE: usize = 15;
/// Keeps the names of reservation files below the file system's limit.
const LONGEST_CONTAINER: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Add,
    Delete,
    Check,
    Version,
}

/// The variables of a call.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    pub command: Option<String>,
    pub container: Option<String>,
    pub namespace: Option<String>,
    pub interface: Option<String>,
}

impl Environment {
    pub fn of_process() -> Self {
        let get = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { command: get("CNI_COMMAND"), container: get("CNI_CONTAINERID"), namespace: get("CNI_NETNS"), interface: get("CNI_IFNAME") }
    }

    pub fn command(&self) -> Result<Command, CniError> {
        match self.command.as_deref() {
            Some("ADD") => Ok(Command::Add),
            Some("DEL") => Ok(Command::Delete),
            Some("CHECK") => Ok(Command::Check),
            Some("VERSION") => Ok(Command::Version),
            _ => Err(CniError::Environment("CNI_COMMAND")),
        }
    }
}

/// The part of the network configuration that is ours: what `write_config` writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    pub bridge: String,
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Ipv4Net,
    pub mtu: u32,
    pub state_dir: PathBuf,
}

/// A port of the node that leads to the pod. Runtimes in Go may write the fields as their language has them: its own
/// plugins read them in any case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    #[serde(alias = "HostPort")]
    pub host_port: u16,
    #[serde(alias = "ContainerPort")]
    pub container_port: u16,
    #[serde(default = "tcp", alias = "Protocol")]
    pub protocol: String,
    /// Empty or unspecified: every address of the node.
    #[serde(default, rename = "hostIP", alias = "HostIP")]
    pub host_ip: String,
}

impl PortMapping {
    /// The one address of the node that the mapping is for.
    pub fn address(&self) -> Result<Option<Ipv4Addr>, CniError> {
        match self.host_ip.as_str() {
            "" | "0.0.0.0" | "::" => Ok(None),
            address => address.parse().map(Some).map_err(|_| CniError::Network(format!("hostIP {address:?} is not an IPv4 address"))),
        }
    }
}

fn tcp() -> String {
    "tcp".into()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    cni_version: Option<String>,
    #[serde(flatten)]
    network: Network,
    #[serde(default)]
    runtime_config: RuntimeConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeConfig {
    #[serde(default)]
    port_mappings: Option<Vec<PortMapping>>,
}

/// A call about one attachment, checked.
#[derive(Debug)]
pub struct Request {
    pub version: String,
    pub network: Network,
    pub ports: Vec<PortMapping>,
    pub container: String,
    pub interface: String,
    /// May be missing in a deletion.
    pub namespace: Option<PathBuf>,
}

impl Request {
    pub fn parse(environment: &Environment, input: &[u8]) -> Result<Self, CniError> {
        let document: Document = serde_json::from_slice(input).map_err(CniError::Decode)?;
        let version = document.cni_version.unwrap_or_else(|| "0.2.0".into());
        if !SUPPORTED.contains(&version.as_str()) {
            return Err(CniError::Version(version));
        }
        if document.network.pod_cidr.prefix_len() > 30 {
            return Err(CniError::Network(format!("podCIDR {} has no room for pods", document.network.pod_cidr)));
        }
        let container = environment.container.clone().filter(|id| valid_container(id)).ok_or(CniError::Environment("CNI_CONTAINERID"))?;
        let interface = environment.interface.clone().filter(|name| valid_interface(name)).ok_or(CniError::Environment("CNI_IFNAME"))?;
        let mut ports = document.runtime_config.port_mappings.unwrap_or_default();
        ports.iter_mut().for_each(|port| port.protocol.make_ascii_lowercase());
        // The runtime also hands over container ports without a host port.
        ports.retain(|port| port.host_port != 0);
        Ok(Self {
            version,
            network: document.network,
            ports,
            container,
            interface,
            namespace: environment.namespace.clone().map(PathBuf::from),
        })
    }
}

fn valid_container(id: &str) -> bool {
    id.len() <= LONGEST_CONTAINER
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn valid_interface(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_INTERFACE
        && name != "."
        && name != ".."
        && name.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':' | ','))
}
