//! The server as its users hold it.

use crate::authenticator::Authenticator;
use crate::authorizer::Authorizer;
use crate::body::{self, Body};
use crate::catalog::Catalog;
use crate::core::Core;
use crate::handlers::Handlers;
use crate::objects::Objects;
use crate::user::User;
use http::{Method, Request, Response};
use meta::ApiError;
use serde_json::Value;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use store::Store;
use tokio_util::sync::CancellationToken;

pub struct Config {
    pub core: Arc<Core>,
    pub authenticator: Arc<dyn Authenticator>,
    pub authorizer: Arc<dyn Authorizer>,
    pub handlers: Handlers,
    /// Objects to create at the start where they are missing (the RBAC that comes with the server).
    pub bootstrap: Vec<Value>,
    /// The range of Service addresses (`10.43.0.0/16`).
    pub service_cidr: String,
    pub node_port_range: RangeInclusive<u16>,
    /// Where the `kubernetes` Service leads.
    pub advertise_address: IpAddr,
    pub advertise_port: u16,
    /// Ends the server's own loops.
    pub stop: CancellationToken,
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
}

impl ApiServer {
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        crate::chain::run(self, request).await
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
