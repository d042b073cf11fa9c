//! What the parts of the node's network are told.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub struct Config {
    /// The name of this node's Node object, by which endpoints are known to be local.
    pub node_name: String,
    /// The address that the node's own traffic to Services comes from, if it is one of the node's.
    pub node_ip: Option<Ipv4Addr>,
    /// The pods of this node.
    pub pod_cidr: Ipv4Net,
    /// The pods of all nodes; contains `pod_cidr`.
    pub cluster_cidr: Ipv4Net,
    pub service_cidr: Ipv4Net,
    /// Where the cluster's names are served: an address inside `service_cidr` that the node itself holds.
    pub cluster_dns_ip: Ipv4Addr,
    /// `cluster.local`
    pub cluster_domain: String,
    /// The bridge that the pods hang on.
    pub bridge: String,
    /// The link that holds `cluster_dns_ip` and leads nowhere.
    pub dns_link: String,
    /// Of pod links; that of the default route's link if none is given.
    pub mtu: Option<u32>,
    pub cni_conf_dir: PathBuf,
    pub cni_bin_dir: PathBuf,
    /// Which pod holds which address. Best on a file system that a reboot empties.
    pub state_dir: PathBuf,
    /// The node's resolvers, for names outside the cluster.
    pub resolv_conf: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            node_ip: None,
            pod_cidr: net([10, 42, 0, 0], 24),
            cluster_cidr: net([10, 42, 0, 0], 16),
            service_cidr: net([10, 43, 0, 0], 16),
            cluster_dns_ip: Ipv4Addr::new(10, 43, 0, 10),
            cluster_domain: "cluster.local".into(),
            bridge: "socle0".into(),
            dns_link: "socle-dns".into(),
            mtu: None,
            cni_conf_dir: "/etc/cni/net.d".into(),
            cni_bin_dir: "/opt/cni/bin".into(),
            state_dir: "/run/socle/network".into(),
            resolv_conf: "/etc/resolv.conf".into(),
        }
    }
}

impl Config {
    /// The first address of the node's pods: the bridge's.
    pub fn gateway(&self) -> Ipv4Addr {
        gateway_of(self.pod_cidr)
    }
}

pub(crate) fn gateway_of(pods: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(pods.network()).saturating_add(1))
}

fn net(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from(octets), prefix)
}
