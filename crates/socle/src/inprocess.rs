//! The transport of the clients that live in this process: the same requests and answers as over
//! TLS, handed to the API server without a socket. Who is asking is fixed by the wiring.

use apiserver::{ApiServer, User};
use http::{Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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
        Box::pin(async move { Ok(server.handle(request.map(apiserver::body::wrap)).await) })
    }
}
