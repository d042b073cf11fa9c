//! The platform file: one document that describes a site. Everything has a default, so that an empty
//! file, or none, is a working single machine. Read once, checked once, never written.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Platform {
    /// Where everything that must last is kept.
    pub data_dir: PathBuf,
    pub node: Node,
    pub api: Api,
    pub datastore: Datastore,
    pub network: Network,
    pub ingress: Ingress,
    pub runtime: Runtime,
    /// Which controllers run: `*` for all, `name` to add one, `-name` to leave one out.
    pub controllers: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Node {
    /// Empty: the host name.
    pub name: String,
    /// Empty: the address of the interface that the default route leaves by, else the first there is.
    pub address: String,
    pub max_pods: u32,
    /// Where the node's own API listens.
    pub kubelet_port: u16,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Api {
    pub port: u16,
    /// Further names and addresses that the serving certificate is valid for.
    pub names: Vec<String>,
    /// A serving certificate and its key from elsewhere, read again when they change; none: one of the platform's own.
    pub tls_cert_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
    /// Further authorities whose client certificates are trusted.
    pub client_ca_file: Option<PathBuf>,
    /// Upstream's feature gates, by name.
    pub features: BTreeMap<String, bool>,
    pub audit: Audit,
    /// Off: everybody is alike, and nobody waits.
    pub priority_and_fairness: bool,
    pub max_requests_inflight: u32,
    pub max_mutating_requests_inflight: u32,
    pub request_timeout_seconds: u64,
    /// How long requests are taken once `/readyz` says that the server stops.
    pub shutdown_delay_seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Audit {
    /// A Policy of audit.k8s.io/v1; none: nothing is audited.
    pub policy_file: Option<PathBuf>,
    /// `-` is standard output.
    pub log_path: PathBuf,
    /// In megabytes.
    pub max_size: u64,
    /// In days; 0: for ever.
    pub max_age: u64,
    /// 0: all are kept.
    pub max_backups: usize,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Datastore {
    /// `embedded` or `etcd`.
    pub kind: DatastoreKind,
    pub endpoints: Vec<String>,
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// An `EncryptionConfiguration`: which resources are stored encrypted. Read again when it changes.
    pub encryption_config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DatastoreKind {
    Embedded,
    Etcd,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// The range of this machine's pods.
    pub pod_cidr: String,
    pub service_cidr: String,
    pub cluster_domain: String,
    pub cluster_dns: Ipv4Addr,
    /// `first-last`, inclusive.
    pub node_port_range: String,
    pub bridge: String,
    pub mtu: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ingress {
    pub enabled: bool,
    pub http_port: u16,
    pub https_port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Runtime {
    /// A CRI socket; empty: a containerd of socle's own.
    pub endpoint: String,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            data_dir: crate::layout::DEFAULT_DATA_DIR.into(),
            node: Node::default(),
            api: Api::default(),
            datastore: Datastore::default(),
            network: Network::default(),
            ingress: Ingress::default(),
            runtime: Runtime::default(),
            controllers: "*".into(),
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self { name: String::new(), address: String::new(), max_pods: 110, kubelet_port: 10250 }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            port: 6443,
            names: Vec::new(),
            tls_cert_file: None,
            tls_key_file: None,
            client_ca_file: None,
            features: BTreeMap::new(),
            audit: Audit::default(),
            priority_and_fairness: true,
            max_requests_inflight: 400,
            max_mutating_requests_inflight: 200,
            request_timeout_seconds: 60,
            shutdown_delay_seconds: 0,
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self { policy_file: None, log_path: "/var/log/socle/audit.log".into(), max_size: 100, max_age: 30, max_backups: 10 }
    }
}

impl Default for Datastore {
    fn default() -> Self {
        Self {
            kind: DatastoreKind::Embedded,
            endpoints: Vec::new(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            encryption_config: None,
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            pod_cidr: "10.42.0.0/24".into(),
            service_cidr: "10.43.0.0/16".into(),
            cluster_domain: "cluster.local".into(),
            cluster_dns: Ipv4Addr::new(10, 43, 0, 10),
            node_port_range: "30000-32767".into(),
            bridge: "socle0".into(),
            mtu: 1500,
        }
    }
}

impl Default for Ingress {
    fn default() -> Self {
        Self { enabled: true, http_port: 80, https_port: 443 }
    }
}

/// A range of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cidr {
    pub address: Ipv4Addr,
    pub prefix: u8,
}

impl Cidr {
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (address, prefix) = text.split_once('/').with_context(|| format!("{text:?} is not a range like 10.42.0.0/24"))?;
        let address: Ipv4Addr = address.parse().with_context(|| format!("{text:?} does not start with an IPv4 address"))?;
        let prefix: u8 =
            prefix.parse().ok().filter(|p| (1..=30).contains(p)).with_context(|| format!("{text:?}: the prefix must be 1 to 30"))?;
        let cidr = Self { address, prefix };
        if cidr.network() != u32::from(address) {
            bail!("{text:?} has bits set after its prefix; did you mean {}/{prefix}?", Ipv4Addr::from(cidr.network()));
        }
        Ok(cidr)
    }

    fn network(self) -> u32 {
        u32::from(self.address) & (u32::MAX << (32 - self.prefix))
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & (u32::MAX << (32 - self.prefix)) == self.network()
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

impl Platform {
    /// Reads and checks a file; problems name the file, and line and column where they have one.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("the platform file {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("the platform file {}", path.display()))
    }

    pub fn parse(text: &str) -> anyhow::Result<Self> {
        // An empty document is null, which is no struct.
        let platform: Option<Self> = serde_yaml_ng::from_str(text)?;
        let platform = platform.unwrap_or_default();
        platform.check()?;
        Ok(platform)
    }

    pub fn check(&self) -> anyhow::Result<()> {
        let pods = Cidr::parse(&self.network.pod_cidr).context("network.podCidr")?;
        let services = Cidr::parse(&self.network.service_cidr).context("network.serviceCidr")?;
        if pods.overlaps(services) {
            bail!("network.podCidr {} and network.serviceCidr {} overlap", self.network.pod_cidr, self.network.service_cidr);
        }
        if !services.contains(self.network.cluster_dns) {
            bail!("network.clusterDns {} is not in network.serviceCidr {}", self.network.cluster_dns, self.network.service_cidr);
        }
        self.node_ports().context("network.nodePortRange")?;
        if self.datastore.kind == DatastoreKind::Etcd && self.datastore.endpoints.is_empty() {
            bail!("datastore.kind is etcd, and datastore.endpoints names none");
        }
        if self.api.tls_cert_file.is_some() != self.api.tls_key_file.is_some() {
            bail!("api.tlsCertFile and api.tlsKeyFile belong together");
        }
        if self.api.request_timeout_seconds == 0 {
            bail!("api.requestTimeoutSeconds must be at least 1");
        }
        if !self.data_dir.is_absolute() {
            bail!("dataDir must be an absolute path");
        }
        controllers::Selection::parse(&self.controllers).context("controllers")?;
        if self.network.bridge.is_empty() || self.network.bridge.len() > 15 {
            bail!("network.bridge must have 1 to 15 characters");
        }
        Ok(())
    }

    pub fn node_ports(&self) -> anyhow::Result<std::ops::RangeInclusive<u16>> {
        let text = &self.network.node_port_range;
        let (first, last) = text.split_once('-').with_context(|| format!("{text:?} is not a range like 30000-32767"))?;
        let (first, last): (u16, u16) = (first.trim().parse()?, last.trim().parse()?);
        if first == 0 || first > last {
            bail!("{text:?} is empty");
        }
        Ok(first..=last)
    }

    /// The first address of the service range, which the `kubernetes` Service has.
    pub fn first_service_address(&self) -> anyhow::Result<Ipv4Addr> {
        Ok(Ipv4Addr::from(u32::from(Cidr::parse(&self.network.service_cidr)?.address) + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_an_empty_file_are_the_default() {
        assert_eq!(Platform::parse("").unwrap(), Platform::default());
        assert_eq!(Platform::parse("# a comment\n").unwrap(), Platform::default());
    }

    #[test]
    fn what_init_prints_is_the_default() {
        let text = serde_yaml_ng::to_string(&Platform::default()).unwrap();
        assert_eq!(Platform::parse(&text).unwrap(), Platform::default());
    }

    #[test]
    fn an_unknown_field_is_told_with_its_place() {
        let error = format!("{:#}", Platform::parse("api:\n  prot: 1\n").unwrap_err());
        assert!(error.contains("prot") && error.contains("line 2 column 3"), "{error}");
    }

    #[test]
    fn ranges_that_cannot_work_are_refused() {
        for (text, says) in [
            ("network: {podCidr: 10.43.1.0/24}", "overlap"),
            ("network: {podCidr: 10.42.0.7/24}", "did you mean 10.42.0.0/24"),
            ("network: {clusterDns: 10.1.0.1}", "is not in network.serviceCidr"),
            ("network: {nodePortRange: 3-2}", "empty"),
            ("datastore: {kind: etcd}", "names none"),
        ] {
            let error = format!("{:#}", Platform::parse(text).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
