//! A connection to a webhook, TLS always.

use super::{Endpoint, Place, resolve, words};
use crate::objects::Objects;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const DIAL: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Connector {
    tls: Arc<ClientConfig>,
    objects: Arc<dyn Objects>,
    /// The Service that stands for the URL's host.
    service: Option<(String, String, u16)>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DialError(String);

/// Whom the machine trusts, read once.
fn native() -> Arc<rustls::RootCertStore> {
    static ROOTS: LazyLock<Arc<rustls::RootCertStore>> = LazyLock::new(|| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    ROOTS.clone()
}

impl Connector {
    pub fn new(endpoint: &Endpoint, objects: Arc<dyn Objects>) -> Result<Self, String> {
        let roots = if endpoint.ca.is_empty() {
            native()
        } else {
            let mut roots = rustls::RootCertStore::empty();
            let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&endpoint.ca).filter_map(Result::ok).collect();
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err("unable to load root certificates: unable to parse bytes as PEM block".into());
            }
            Arc::new(roots)
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        // With HTTP/2 all calls would go to the one backend that the connection leads to.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let service = match &endpoint.place {
            Place::Url(_) => None,
            Place::Service { namespace, name, port, .. } => Some((namespace.clone(), name.clone(), *port)),
        };
        Ok(Self { tls: Arc::new(tls), objects, service })
    }

    async fn dial(self, uri: Uri) -> Result<Stream, DialError> {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_string();
        let (address, port) = match &self.service {
            Some((namespace, name, port)) => resolve::service(&*self.objects, namespace, name, *port).map_err(DialError)?,
            None => (host.clone(), uri.port_u16().unwrap_or(443)),
        };
        let shown = match address.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
            _ => format!("{address}:{port}"),
        };
        let dialed = tokio::time::timeout(DIAL, TcpStream::connect((address.as_str(), port))).await;
        let stream = match dialed {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(DialError(format!("dial tcp {shown}: connect: connection refused")));
            }
            Ok(Err(error)) => return Err(DialError(format!("dial tcp {shown}: {error}"))),
            Err(_) => return Err(DialError(format!("dial tcp {shown}: i/o timeout"))),
        };
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(host).map_err(|e| DialError(e.to_string()))?;
        let connected = TlsConnector::from(self.tls).connect(name, stream).await;
        let tls = connected.map_err(|error| match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            Some(error) => DialError(words::tls(error)),
            None => DialError(format!("tls: handshake with {shown} failed: {error}")),
        })?;
        Ok(Stream(TokioIo::new(tls)))
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

pub struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: hyper::rt::ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
