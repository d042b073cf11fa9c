//! The server as its users hold it.

use crate::admission::{self, Admission};
use crate::aggregation::Aggregator;
use crate::allocate::BadRange;
use crate::audit::Auditor;
use crate::authenticator::Authenticator;
use crate::authorizer::Authorizer;
use crate::body::Body;
use crate::catalog::Catalog;
use crate::core::Core;
use crate::encryption::ConfigError;
use crate::handlers::Handlers;
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::operations::Operations;
use crate::webhook::Webhooks;
use crate::{flow, housekeeping, registry};
use http::{Request, Response};
use jiff::Timestamp;
use meta::ApiError;
use meta::error::{Cause, Details};
use serde_json::Value;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use store::{Revision, Store};
use tokio_util::sync::CancellationToken;

pub struct Config {
    pub core: Arc<Core>,
    pub authenticator: Arc<dyn Authenticator>,
    pub authorizer: Arc<dyn Authorizer>,
    pub handlers: Handlers,
    /// Who serves what elsewhere.
    pub aggregator: Arc<Aggregator>,
    /// What servers behind this one need to know callers by.
    pub trust: Trust,
    /// Objects to create at the start where they are missing (the RBAC that comes with the server).
    pub bootstrap: Vec<Value>,
    /// The range of Service addresses (`10.43.0.0/16`).
    pub service_cidr: String,
    pub node_port_range: RangeInclusive<u16>,
    /// Where the `kubernetes` Service leads.
    pub advertise_address: IpAddr,
    pub advertise_port: u16,
    pub operations: Operations,
    /// Tells this server from others on the same store: the host's name, where one server runs on a host.
    pub identity: String,
    /// Ends the server's own loops.
    pub stop: CancellationToken,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Range(#[from] BadRange),
    #[error("creating {what}: {source}")]
    Bootstrap { what: String, source: ApiError },
    #[error("keeping flow schemas and priority levels: {0}")]
    Flow(ApiError),
    #[error("opening the audit log {path}: {source}")]
    Audit { path: String, source: std::io::Error },
}

/// The authorities, in PEM: published in `extension-apiserver-authentication`. Empty ones are left out.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    pub client_ca: String,
    pub front_proxy_ca: String,
    pub front_proxy_names: Vec<String>,
}

#[derive(Clone)]
pub struct ApiServer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub core: Arc<Core>,
    pub authenticator: Arc<dyn Authenticator>,
    pub authorizer: Arc<dyn Authorizer>,
    pub handlers: Handlers,
    pub admission: Admission,
    pub webhooks: Arc<Webhooks>,
    pub aggregator: Arc<Aggregator>,
    pub metrics: Arc<Metrics>,
    pub flow: flow::Dispatcher,
    pub audit: Option<Arc<Auditor>>,
    pub operations: Operations,
    pub started_at: Timestamp,
    started: AtomicBool,
    pub leases: registry::Leases,
    pub stop: CancellationToken,
    /// The end of what lasts, and of taking new connections: some time after `stop`.
    pub drain: CancellationToken,
}

/// How long a reader waits for the caches to come as far as it may expect.
const FRESH: Duration = Duration::from_secs(3);

impl ApiServer {
    /// Makes what must be there before anybody asks, and begins to look after the store.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let objects: Arc<dyn Objects> = config.core.clone();
        let webhooks = Arc::new(Webhooks::new(objects));
        let admission = admission::standard(&config, &webhooks)?;
        let mut handlers = config.handlers.clone();
        handlers.on("", "componentstatuses", "", Arc::new(crate::components::ComponentStatuses));
        let operations = config.operations.clone();
        let metrics = Arc::new(Metrics::new(&operations.features));
        let opened = operations.audit.clone().map(|audit| {
            let path = audit.log.path.display().to_string();
            Auditor::open(audit, &metrics).map_err(|source| StartError::Audit { path, source })
        });
        let inner = Inner {
            core: config.core.clone(),
            authenticator: config.authenticator.clone(),
            authorizer: config.authorizer.clone(),
            handlers,
            admission,
            webhooks,
            aggregator: config.aggregator.clone(),
            metrics,
            flow: flow::Dispatcher::new(operations.flow),
            audit: opened.transpose()?.map(Arc::new),
            operations,
            started_at: Timestamp::now(),
            started: AtomicBool::new(false),
            leases: registry::Leases::default(),
            stop: config.stop.clone(),
            drain: CancellationToken::new(),
        };
        let server = Self { inner: Arc::new(inner) };
        housekeeping::bootstrap(&server, &config).await?;
        flow::start(&server).await.map_err(StartError::Flow)?;
        housekeeping::start(&server, &config);
        let (stop, drain, delay) = (config.stop, server.inner.drain.clone(), server.inner.operations.shutdown_delay);
        tokio::spawn(async move {
            stop.cancelled().await;
            tokio::time::sleep(delay).await;
            drain.cancel();
        });
        server.inner.started.store(true, Ordering::Relaxed);
        Ok(server)
    }

    pub(crate) fn has_started(&self) -> bool {
        self.inner.started.load(Ordering::Relaxed)
    }

    /// Waits until reads see `revision`, or whatever the store has now.
    pub(crate) async fn settle(&self, revision: Option<Revision>) -> Result<(), ApiError> {
        let wanted = match revision {
            Some(revision) => revision,
            None => self.inner.core.store.revision().await.map_err(registry::store_error)?,
        };
        if self.inner.core.feed.reached(wanted, FRESH).await {
            return Ok(());
        }
        let current = self.inner.core.feed.revision();
        let mut error = ApiError::timeout(format!("Too large resource version: {wanted}, current: {current}"));
        let cause = Cause { reason: "ResourceVersionTooLarge".into(), message: "Too large resource version".into(), field: String::new() };
        error.details = Some(Box::new(Details { causes: vec![cause], retry_after_seconds: 1, ..Details::default() }));
        Err(error)
    }

    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        crate::chain::run(self, request).await
    }

    /// Reads the encryption configuration again; true where it has changed.
    pub fn reload_encryption(&self) -> Result<bool, ConfigError> {
        self.inner.core.feed.reload_encryption()
    }

    pub fn objects(&self) -> Arc<dyn Objects> {
        self.inner.core.clone()
    }

    pub fn catalog(&self) -> &Catalog {
        &self.inner.core.catalog
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.core.store
    }

    pub fn authorizer(&self) -> &Arc<dyn Authorizer> {
        &self.inner.authorizer
    }

    pub fn authenticator(&self) -> &Arc<dyn Authenticator> {
        &self.inner.authenticator
    }
}

impl tower::Service<Request<Body>> for ApiServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { Ok(server.handle(request).await) })
    }
}
