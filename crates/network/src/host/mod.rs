//! What the node itself needs before the first pod: the bridge, the address of the cluster's DNS, a way
//! for Service addresses, forwarding, and the translation of pod traffic that leaves the cluster.

use crate::Config;
use crate::cni::{self, CniError, Leases, Network};
use crate::config::gateway_of;
use crate::netlink::Socket;
use crate::netlink::route::mac_of;
use crate::nft::{self, NftError};
use ipnet::Ipv4Net;
use std::io;
use std::path::{Path, PathBuf};

const TABLE: &str = "socle-host";
const DEFAULT_MTU: u32 = 1500;

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("{0} must contain the node's pods, {1}")]
    Ranges(Ipv4Net, Ipv4Net),
    #[error("cannot set {path}: {source}")]
    Sysctl { path: PathBuf, source: io::Error },
    #[error("{action}: {source}")]
    Link { action: &'static str, source: io::Error },
    #[error(transparent)]
    Nft(#[from] NftError),
    #[error(transparent)]
    Pods(#[from] CniError),
    #[error("cannot install the CNI plugin: {0}")]
    Plugin(#[source] io::Error),
    #[error("cannot remove {path}: {source}")]
    Remove { path: PathBuf, source: io::Error },
}

/// Brings the host into the wanted state, whatever state it is in; running pods are not touched.
/// `executable` is the program to be called as the CNI plugin. Blocking, some ten milliseconds.
pub fn prepare(config: &Config, executable: &Path) -> Result<(), HostError> {
    if !config.cluster_cidr.contains(&config.pod_cidr) || config.pod_cidr.prefix_len() > 30 {
        return Err(HostError::Ranges(config.cluster_cidr, config.pod_cidr));
    }
    let mtu = config.mtu.unwrap_or_else(|| default_route_mtu().unwrap_or(DEFAULT_MTU));
    let mut socket = Socket::route().map_err(link("cannot open netlink"))?;
    bridge(&mut socket, config, mtu)?;
    dns_link(&mut socket, config)?;
    sysctl("net/ipv4/ip_forward", "1")?;
    // Neighbours on the bridge reach each other through the node on purpose; it must not tell them of a
    // shorter way.
    sysctl("net/ipv4/conf/all/send_redirects", "0")?;
    sysctl(&format!("net/ipv4/conf/{}/send_redirects", config.bridge), "0")?;
    nft::apply(&masquerade(config))?;
    // A host port is the node's loopback addresses' too. The rules just made keep pods from the loopback itself.
    sysctl(&format!("net/ipv4/conf/{}/route_localnet", config.bridge), "1")?;
    let leases = Leases::open(&config.state_dir)?;
    leases.reconcile()?;
    let pods = leases.all()?;
    cni::restore_host_ports(pods.iter().map(|(address, _, reservation)| (*address, reservation.ports.as_slice())))?;
    drop(leases);
    let network = Network { bridge: config.bridge.clone(), pod_cidr: config.pod_cidr, mtu, state_dir: config.state_dir.clone() };
    cni::install(&config.cni_bin_dir, executable).map_err(HostError::Plugin)?;
    cni::write_config(&config.cni_conf_dir, &network).map_err(HostError::Plugin)?;
    Ok(())
}

/// Takes everything away that `prepare`, the plugin and the Service tables made. For a host whose pods
/// are gone: the links of those that are not go with the bridge's name only.
pub fn cleanup(config: &Config) -> Result<(), HostError> {
    cni::uninstall(&config.cni_conf_dir, &config.cni_bin_dir).map_err(HostError::Plugin)?;
    for table in [crate::services::TABLE, cni::HOSTPORTS_TABLE, TABLE] {
        nft::drop_table(table)?;
    }
    let mut socket = Socket::route().map_err(link("cannot open netlink"))?;
    for name in [&config.bridge, &config.dns_link] {
        socket.delete_link(name).map_err(link("cannot delete a link"))?;
    }
    match std::fs::remove_dir_all(&config.state_dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(HostError::Remove { path: config.state_dir.clone(), source }),
        _ => Ok(()),
    }
}

fn bridge(socket: &mut Socket, config: &Config, mtu: u32) -> Result<(), HostError> {
    let index = cni::ensure_bridge(socket, &config.bridge, config.pod_cidr, mtu)?;
    // A bridge of an earlier run may have had other addresses.
    let wanted = Ipv4Net::new(gateway_of(config.pod_cidr), config.pod_cidr.prefix_len()).unwrap_or(config.pod_cidr);
    keep_only(socket, index, wanted)?;
    match socket.link(&config.bridge).map_err(link("cannot read the bridge"))? {
        Some(present) if present.mtu != mtu => socket.set_mtu(index, mtu).map_err(link("cannot set the bridge's MTU")),
        _ => Ok(()),
    }
}

/// The link that holds the address of the cluster's DNS. Service addresses are routed to it as well: on
/// a node without a default route they would otherwise be unreachable before translation is asked, and
/// one that is translated by nothing ends here instead of wandering off to the node's router.
fn dns_link(socket: &mut Socket, config: &Config) -> Result<(), HostError> {
    let name = &config.dns_link;
    let read = link("cannot read the DNS link");
    if socket.link(name).map_err(&read)?.is_none() {
        let mac = Some(mac_of(config.cluster_dns_ip));
        match socket.add_link(name, "dummy", mac, None) {
            // A kernel without dummy links; a bridge without ports does as well.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => socket.add_link(name, "bridge", mac, None),
            other => other,
        }
        .map_err(link("cannot create the DNS link"))?;
    }
    let Some(present) = socket.link(name).map_err(&read)? else { return Ok(()) };
    socket.set_up(present.index).map_err(link("cannot bring the DNS link up"))?;
    keep_only(socket, present.index, Ipv4Net::from(config.cluster_dns_ip))?;
    let route = |socket: &mut Socket, source| socket.set_route(config.service_cidr, None, present.index, source);
    // The node's address is only a preference; it may have changed or not be set up yet.
    route(socket, config.node_ip).or_else(|_| route(socket, None)).map_err(link("cannot route the Service addresses"))
}

fn keep_only(socket: &mut Socket, index: u32, wanted: Ipv4Net) -> Result<(), HostError> {
    for address in socket.addresses(index).map_err(link("cannot read addresses"))? {
        if address != wanted {
            socket.delete_address(index, address).map_err(link("cannot remove an old address"))?;
        }
    }
    socket.add_address(index, wanted).map_err(link("cannot set an address"))
}

/// Pods leave the cluster under the node's address.
fn masquerade(config: &Config) -> String {
    format!(
        "table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n  chain postrouting {{\n    \
         type nat hook postrouting priority srcnat\n    \
         ip saddr {pods} ip daddr != {cluster} oifname != {{ \"lo\", \"{bridge}\" }} masquerade fully-random\n  }}\n  \
         chain loopback {{\n    type filter hook prerouting priority raw\n    \
         iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop\n    iifname \"{bridge}\" ip saddr 127.0.0.0/8 drop\n  }}\n}}\n",
        pods = config.pod_cidr,
        cluster = config.cluster_cidr,
        bridge = config.bridge
    )
}

/// The MTU of the link that the default route leaves by.
fn default_route_mtu() -> Option<u32> {
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    let name = routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (name, destination, mask) = (fields.next()?, fields.next()?, fields.nth(5)?);
        (destination == "00000000" && mask == "00000000").then_some(name)
    })?;
    std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok()?.trim().parse().ok()
}

fn sysctl(name: &str, value: &str) -> Result<(), HostError> {
    let path = Path::new("/proc/sys").join(name);
    // In a container /proc/sys may be read-only but right.
    if std::fs::read_to_string(&path).is_ok_and(|present| present.trim() == value) {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(|source| HostError::Sysctl { path, source })
}

fn link(action: &'static str) -> impl Fn(io::Error) -> HostError {
    move |source| HostError::Link { action, source }
}

#[cfg(test)]
mod tests;
