//! Where the rooms meet: each part built from its own settings, in the order that it is needed, and
//! nothing else in the program names two rooms at once. Read from top to bottom.

use crate::inprocess::{self, InProcess};
use crate::layout::Layout;
use crate::pki::{self, Pki};
use crate::platform::{DatastoreKind, Platform};
use crate::runtime::{Containerd, images};
use crate::say::Say;
use crate::serving::{self, Serving};
use crate::{address, defaults, operations};
use anyhow::{Context, anyhow};
use apiserver::aggregation::Aggregator;
use apiserver::auth::{
    self, bootstrap_tokens::BootstrapTokens, certificates::Certificates, front_proxy::FrontProxy, node::NodeAuthorizer, rbac::Rbac,
    tokens::Tokens,
};
use apiserver::encryption::Encryption;
use apiserver::listener::Limits;
use apiserver::{ApiServer, Authenticator, Authorizer, Core, Handlers, Objects, User};
use client::{Informers, Recorder};
use ipnet::Ipv4Net;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{Embedded, Etcd, EtcdConfig, Store};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// What is announced when the node takes longer; it goes on all the same.
const NODE_PATIENCE: Duration = Duration::from_secs(60);

/// The platform, running.
pub struct Running {
    tasks: TaskTracker,
    /// How long what is under way may take at the end.
    patience: Duration,
    failures: tokio::sync::Mutex<mpsc::UnboundedReceiver<anyhow::Error>>,
}

impl Running {
    /// Resolves when a part that the rest needs has ended by itself.
    pub async fn failed(&self) -> anyhow::Error {
        match self.failures.lock().await.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Waits until every part has ended, but not for ever.
    pub async fn drain(self) {
        self.tasks.close();
        if tokio::time::timeout(self.patience, self.tasks.wait()).await.is_err() {
            tracing::debug!(left = self.tasks.len(), "parts were cut");
        }
    }
}

pub async fn start(platform: &Platform, layout: &Layout, say: &Say, stop: CancellationToken) -> anyhow::Result<Running> {
    let tasks = TaskTracker::new();
    let (failed, failures) = mpsc::unbounded_channel();

    // The host first: what pods need of it does not need the API.
    let network = network_config(platform, layout)?;
    let prepared = {
        let (network, program) = (network.clone(), std::env::current_exe().context("finding this program")?);
        tokio::task::spawn_blocking(move || network::prepare_host(&network, &program))
    };
    let containerd = async {
        match platform.runtime.endpoint.as_str() {
            "" => Containerd::ensure(layout, stop.clone()).await.map(|c| c.endpoint()),
            endpoint => Ok(endpoint.trim_start_matches("unix://").to_string()),
        }
    };

    let api = api_server(platform, layout, say, &tasks, stop.clone());
    let (containerd, api, prepared) = tokio::join!(containerd, api, prepared);
    let (pki, server, tokens, node_address) = api?;
    prepared?.context("preparing the pod network")?;
    let endpoint = containerd?;
    say.step(format!("the container runtime answers on {endpoint}"));

    // Everything from here on is an ordinary client.
    let admin = |name: &str| InProcess::client(&server, User::system(name));
    defaults::apply(&admin("system:socle"), &network).await.context("creating the objects that come with the platform")?;
    let informers = Informers::new(admin("system:kube-controller-manager"));
    let node_name = node_name(platform)?;

    let context = controllers::Context {
        informers: informers.clone(),
        recorder: Recorder::new(admin("system:kube-controller-manager"), "kube-controller-manager", ""),
        cluster_ca: pki.main.pem.clone(),
        signer: Some(Arc::new(controllers::certificates::Signer::new(&pki.main.pem, &pki.main.key_pem)?)),
        sign_token: Some(inprocess::sign_tokens(tokens)),
        stop: stop.clone(),
    };
    tasks.spawn(controllers::run(context, controllers::Selection::parse(&platform.controllers)?));
    tasks.spawn(scheduler::run(scheduler::Config {
        name: "default-scheduler".into(),
        informers: informers.clone(),
        recorder: Recorder::new(admin("system:kube-scheduler"), "default-scheduler", ""),
        stop: stop.clone(),
    }));
    tasks.spawn(network::run_services(network.clone(), informers.clone(), stop.clone()));
    tasks.spawn(network::run_dns(network.clone(), informers.clone(), stop.clone()));
    tasks.spawn(storage::run(storage::Config {
        node_name: node_name.clone(),
        root: layout.volumes(),
        informers: informers.clone(),
        recorder: Recorder::new(admin("system:socle"), storage::PROVISIONER, &node_name),
        stop: stop.clone(),
    }));
    let mut ingress_waits = Vec::new();
    if platform.ingress.enabled {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let config = proxy::Config {
            http: SocketAddr::new(any, platform.ingress.http_port),
            https: SocketAddr::new(any, platform.ingress.https_port),
            address: IpAddr::V4(node_address),
        };
        let ports = proxy::Ports::bind(&config).await;
        ingress_waits = ports.troubles();
        let (ingress, failed) = (proxy::run(config, ports, informers.clone(), stop.clone()), failed.clone());
        tasks.spawn(async move {
            if let Err(error) = ingress.await {
                // Nobody listens any more when the process is ending anyway.
                let _ = failed.send(anyhow!(error));
            }
        });
    }

    // The node, under its own name and with its own rights.
    let loaded = if platform.runtime.endpoint.is_empty() {
        let layout = layout.clone();
        tokio::task::spawn_blocking(move || images::load_all(&layout)).await?.context("loading images into the runtime")?
    } else {
        0
    };
    if loaded > 0 {
        say.step(format!("{loaded} image archives loaded"));
    }
    let identity = User::new(format!("system:node:{node_name}"), &["system:nodes", "system:authenticated"]);
    let node_client = InProcess::client(&server, identity);
    let mut config = node::Config::new(&node_name, layout.kubelet(), PathBuf::from(&endpoint));
    config.node_ips = vec![IpAddr::V4(node_address)];
    config.cluster_dns = vec![IpAddr::V4(platform.network.cluster_dns)];
    config.cluster_domain = platform.network.cluster_domain.clone();
    config.resolv_conf = network.resolv_conf.clone();
    config.pod_cidr = Some(platform.network.pod_cidr.clone());
    config.max_pods = platform.node.max_pods;
    config.imported_images = layout.imported_images();
    config.api_port = platform.node.kubelet_port;
    let runtime: Arc<dyn node::cri::Runtime> = Arc::new(node::cri::Grpc::new(&config.cri_socket));
    let claims = Arc::new(node::volumes::BoundClaims::new(node_client.clone(), None));
    let started = Timestamp::now();
    let agent = node::Node::start(config, &Informers::new(node_client), runtime.clone(), claims, stop.clone());
    let pods = agent.pods();
    tasks.spawn(agent.join());
    kubelet_api(platform, &pki, &node_name, node_address, pods, runtime, &tasks, stop.clone()).await?;

    wait_for_node(&informers, &node_name, started, say).await;
    ingress_waits.iter().for_each(|trouble| say.line(trouble));
    if platform.ingress.enabled && ingress_waits.is_empty() {
        say.line(format!(
            "ingress   http://{node_address}:{} and https://{node_address}:{}",
            platform.ingress.http_port, platform.ingress.https_port
        ));
    }
    Ok(Running { tasks, patience: patience(platform), failures: tokio::sync::Mutex::new(failures) })
}

/// The API server and nothing else.
pub async fn start_api(platform: &Platform, layout: &Layout, say: &Say, stop: CancellationToken) -> anyhow::Result<Running> {
    let tasks = TaskTracker::new();
    api_server(platform, layout, say, &tasks, stop).await?;
    // Nothing here ends by itself, so nobody reports.
    let (_, failures) = mpsc::unbounded_channel();
    Ok(Running { tasks, patience: patience(platform), failures: tokio::sync::Mutex::new(failures) })
}

/// Longer than the listener gives its connections.
fn patience(platform: &Platform) -> Duration {
    Duration::from_secs(12 + platform.api.shutdown_delay_seconds)
}

/// The store that the platform file names.
pub async fn open_store(platform: &Platform, layout: &Layout) -> anyhow::Result<Arc<dyn Store>> {
    match platform.datastore.kind {
        DatastoreKind::Embedded => {
            let dir = layout.store();
            let opened = tokio::task::spawn_blocking(move || Embedded::open(&dir)).await?;
            Ok(Arc::new(opened.context("opening the store")?))
        }
        DatastoreKind::Etcd => {
            let read =
                |path: &Option<PathBuf>| path.as_ref().map(|p| std::fs::read(p).with_context(|| p.display().to_string())).transpose();
            let config = EtcdConfig {
                endpoints: platform.datastore.endpoints.clone(),
                ca: read(&platform.datastore.ca_file)?,
                certificate: read(&platform.datastore.cert_file)?,
                key: read(&platform.datastore.key_file)?,
                ..EtcdConfig::default()
            };
            Ok(Arc::new(Etcd::connect(&config).await.context("connecting to etcd")?))
        }
    }
}

/// The API over the store, listening, with the address of this machine.
async fn api_server(
    platform: &Platform,
    layout: &Layout,
    say: &Say,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> anyhow::Result<(Pki, ApiServer, Arc<Tokens>, Ipv4Addr)> {
    let pki = Pki::open(layout)?;
    let encryption = match &platform.datastore.encryption_config {
        Some(path) => Encryption::open(path)?,
        None => Encryption::none(),
    };
    let store = open_store(platform, layout).await?;
    let core = Core::open_encrypted(store, encryption).await.context("reading the store")?;
    let objects: Arc<dyn Objects> = core.clone();
    let tokens = Arc::new(Tokens::new(&serving::signing_keys(layout)?, ISSUER, vec![ISSUER.to_string()], objects.clone())?);
    let rbac = Rbac::start(&*objects);
    let names = vec![Pki::FRONT_PROXY.to_string()];
    let front_proxy = FrontProxy::new(std::slice::from_ref(&pki.front_proxy.certificate), names.clone())?;
    let trust = apiserver::Trust { client_ca: pki.main.pem.clone(), front_proxy_ca: pki.front_proxy.pem.clone(), front_proxy_names: names };
    let bootstrap_tokens = BootstrapTokens(objects.clone());
    let certificates = Certificates { front_proxy: Some(front_proxy) };
    let authenticator = auth::Union::<dyn Authenticator>(vec![Arc::new(certificates), Arc::new(bootstrap_tokens.clone()), tokens.clone()]);
    let authorizer = auth::Union::<dyn Authorizer>(vec![Arc::new(NodeAuthorizer::start(objects.clone())), Arc::new(rbac.clone())]);

    let mut handlers = Handlers::default();
    apiserver::discovery::register(&mut handlers);
    apiserver::openapi::register(&mut handlers);
    tokens.register(&mut handlers);
    apiserver::reviews::register(&mut handlers, tokens.clone(), bootstrap_tokens, rbac);
    handlers.on("", "pods", "eviction", Arc::new(apiserver::eviction::Evictions));
    let kubelet = pki.client("system:kube-apiserver", &["system:masters"])?;
    apiserver::connect::register(&mut handlers, pki.client_config(kubelet)?);

    let own = [platform.network.bridge.as_str(), "socle-dns"];
    let fallback = network::Config::default().gateway();
    let address = address::node(&platform.node.address, fallback, &own)?;
    let server = ApiServer::start(apiserver::Config {
        core,
        authenticator: Arc::new(authenticator),
        authorizer: Arc::new(authorizer),
        handlers,
        aggregator: Arc::new(Aggregator::new(Some(pki.front_proxy_client()?))),
        trust,
        bootstrap: auth::bootstrap::objects(),
        service_cidr: platform.network.service_cidr.clone(),
        node_port_range: platform.node_ports()?,
        advertise_address: IpAddr::V4(address),
        advertise_port: platform.api.port,
        identity: match platform.api.port {
            6443 => node_name(platform)?,
            // Another server of this machine.
            port => format!("{}-{port}", node_name(platform)?),
        },
        operations: operations::settings(platform)?,
        stop: stop.clone(),
    })
    .await?;
    tasks.spawn(apiserver::custom::run(server.clone(), stop.clone()));
    tasks.spawn(apiserver::admission::check_types(server.clone(), stop.clone()));
    tasks.spawn(apiserver::aggregation::run(server.clone(), stop.clone()));
    tasks.spawn(tokens.clone().mark_used(server.clone(), stop.clone()));
    tasks.spawn(apiserver::allocate::release(server.clone(), stop.clone()));

    let domain = &platform.network.cluster_domain;
    let mut names: Vec<String> = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(String::from).to_vec();
    names.push(format!("kubernetes.default.svc.{domain}"));
    names.push(node_name(platform)?);
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(address), IpAddr::V4(platform.first_service_address()?)];
    for name in &platform.api.names {
        match name.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => names.push(name.clone()),
        }
    }
    let serving = Serving::new(&platform.api, layout, names, addresses)?;
    let tls = serving.tls();
    tasks.spawn(serving.follow(tokens.clone(), stop.clone()));
    let port = platform.api.port;
    let listener = TcpListener::bind(("0.0.0.0", port)).await.with_context(|| format!("the API server cannot listen on port {port}"))?;
    tasks.spawn(apiserver::listener::serve(server.clone(), listener, tls, Limits::default()));
    pki::write_kubeconfig(&pki, &layout.admin_kubeconfig(), &format!("https://127.0.0.1:{port}"))?;
    say.step(format!("the API server answers on https://{address}:{port}"));
    say.line(format!("export KUBECONFIG={}", layout.admin_kubeconfig().display()));
    Ok((pki, server, tokens, address))
}

#[allow(clippy::too_many_arguments, reason = "every part of the wiring is named once, here")]
async fn kubelet_api(
    platform: &Platform,
    pki: &Pki,
    name: &str,
    address: Ipv4Addr,
    pods: Arc<dyn node::Pods>,
    runtime: Arc<dyn node::cri::Runtime>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let leaf = pki.server(&format!("system:node:{name}"), &[name.to_string()], &[IpAddr::V4(address), IpAddr::V4(Ipv4Addr::LOCALHOST)])?;
    let tls = pki.server_config(leaf, &[b"http/1.1"])?;
    let port = platform.node.kubelet_port;
    let listener = TcpListener::bind(("0.0.0.0", port)).await.with_context(|| format!("the kubelet API cannot listen on port {port}"))?;
    tasks.spawn(node::server::Server::new(name, runtime, pods).serve(listener, tls, stop));
    Ok(())
}

/// Until this process has told that the node is ready: what one before it told does not count.
async fn wait_for_node(informers: &Informers, name: &str, since: Timestamp, say: &Say) {
    let nodes = informers.of::<Node>();
    let mut changes = nodes.changes();
    let ready = async {
        while let Some(change) = changes.recv().await {
            let Some(node) = change.new.filter(|n| n.metadata.name.as_deref() == Some(name)) else { continue };
            let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
            let told = |c: &NodeCondition| c.last_heartbeat_time.as_ref().is_some_and(|at| at.0.as_second() >= since.as_second());
            if conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True" && told(c)) {
                return;
            }
        }
    };
    match tokio::time::timeout(NODE_PATIENCE, ready).await {
        Ok(()) => say.step(format!("node {name} is Ready")),
        Err(_) => say.step(format!("node {name} is not Ready yet; `socle status` says why")),
    }
}

fn node_name(platform: &Platform) -> anyhow::Result<String> {
    if !platform.node.name.is_empty() {
        return Ok(platform.node.name.clone());
    }
    let name = nix::unistd::gethostname().context("reading the host name")?;
    let name = name.to_string_lossy().to_lowercase().replace('_', "-");
    Ok(if name.is_empty() || name == "(none)" { "localhost".into() } else { name })
}

pub fn network_config(platform: &Platform, layout: &Layout) -> anyhow::Result<network::Config> {
    let pods: Ipv4Net = platform.network.pod_cidr.parse().context("network.podCidr")?;
    Ok(network::Config {
        node_name: node_name(platform)?,
        node_ip: address::node(&platform.node.address, network::Config::default().gateway(), &[&platform.network.bridge, "socle-dns"]).ok(),
        pod_cidr: pods,
        cluster_cidr: pods,
        service_cidr: platform.network.service_cidr.parse().context("network.serviceCidr")?,
        cluster_dns_ip: platform.network.cluster_dns,
        cluster_domain: platform.network.cluster_domain.clone(),
        bridge: platform.network.bridge.clone(),
        mtu: (platform.network.mtu != 0).then_some(platform.network.mtu),
        cni_conf_dir: layout.cni_conf(),
        cni_bin_dir: layout.cni_bin(),
        state_dir: layout.run.join("network"),
        ..network::Config::default()
    })
}
