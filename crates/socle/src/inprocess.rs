//! The transport of the clients that live in this process: the same requests and answers as over
//! TLS, handed to the API server without a socket. Who is asking is fixed by the wiring.

use apiserver::auth::tokens::Tokens;
use apiserver::{ApiServer, User};
use controllers::SignToken;
use http::{Request, Response};
use kube::ResourceExt;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Instant;

const HOST: &str = "in-process";
const SECONDS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];

/// Calls of the clients in this process, under the names that upstream's components use.
struct Calls {
    total: IntCounterVec,
    duration: HistogramVec,
}

static CALLS: LazyLock<prometheus::Result<Calls>> = LazyLock::new(|| {
    let duration = HistogramOpts::new("rest_client_request_duration_seconds", "Time that calls of clients took.").buckets(SECONDS.to_vec());
    let calls = Calls {
        total: IntCounterVec::new(Opts::new("rest_client_requests_total", "Calls of clients."), &["code", "host", "method"])?,
        duration: HistogramVec::new(duration, &["host", "verb"])?,
    };
    prometheus::default_registry().register(Box::new(calls.total.clone()))?;
    prometheus::default_registry().register(Box::new(calls.duration.clone()))?;
    Ok(calls)
});

/// The API server's own tokens, for the loop that fills Secrets with them.
pub fn sign_tokens(tokens: Arc<Tokens>) -> SignToken {
    Arc::new(move |secret, account| {
        let uid = account.metadata.uid.as_deref()?;
        tokens.issue_legacy(&account.namespace()?, &secret.name_any(), &account.name_any(), uid).ok()
    })
}

#[derive(Clone)]
pub struct InProcess {
    server: ApiServer,
    user: Arc<User>,
}

impl InProcess {
    /// A client that the API server knows as `user`.
    pub fn client(server: &ApiServer, user: User) -> kube::Client {
        let transport = Self { server: server.clone(), user: Arc::new(user) };
        kube::Client::new(transport, "default")
    }
}

impl tower::Service<Request<kube::client::Body>> for InProcess {
    type Response = Response<apiserver::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<kube::client::Body>) -> Self::Future {
        request.extensions_mut().insert(self.user.clone());
        let server = self.server.clone();
        Box::pin(async move {
            let (method, began) = (request.method().clone(), Instant::now());
            let response = server.handle(request.map(apiserver::body::wrap)).await;
            if let Ok(calls) = CALLS.as_ref() {
                calls.total.with_label_values(&[response.status().as_str(), HOST, method.as_str()]).inc();
                calls.duration.with_label_values(&[HOST, method.as_str()]).observe(began.elapsed().as_secs_f64());
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests;
