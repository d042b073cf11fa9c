//! Subresources that lead out of the server: to kubelets (logs, sessions), to pods and to services.

pub(crate) mod client;
mod html;
pub(crate) mod locate;
mod log;
mod page;
mod proxy;
mod sessions;
pub(crate) mod trust;
mod websocket;

use crate::handlers::Handlers;
use std::sync::Arc;

/// `tls` holds the server's client certificate and the CA of the kubelets' certificates.
pub fn register(handlers: &mut Handlers, tls: Arc<rustls::ClientConfig>) {
    // Sessions take over a whole connection, which HTTP/2 has no way to give.
    let mut config = (*tls).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tls = Arc::new(config);
    handlers.on("", "pods", "log", Arc::new(log::Log { tls: tls.clone() }));
    for kind in [sessions::Kind::Exec, sessions::Kind::Attach, sessions::Kind::PortForward] {
        handlers.on("", "pods", kind.subresource(), Arc::new(sessions::Sessions { kind, tls: tls.clone() }));
    }
    for (resource, kind) in [("pods", proxy::Kind::Pods), ("services", proxy::Kind::Services), ("nodes", proxy::Kind::Nodes)] {
        handlers.on("", resource, "proxy", Arc::new(proxy::Proxy { kind, tls: tls.clone() }));
    }
}
