//! The HTTP client of probes: a connection of its own for each, certificates unchecked, redirects
//! followed on the same host only.

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

const REDIRECTS: usize = 10;
const LONGEST_BODY: usize = 10 << 10;

/// The status code.
pub async fn get(url: &str, headers: &[(&str, &str)]) -> Result<u16, String> {
    let mut uri: Uri = url.parse().map_err(|e: http::uri::InvalidUri| e.to_string())?;
    for _ in 0..REDIRECTS {
        let (status, location) = once(&uri, headers).await?;
        let Some(location) = location.filter(|_| (300..400).contains(&status)) else { return Ok(status) };
        let Some(next) = beside(&uri, &location) else { return Ok(status) };
        if next.host() != uri.host() {
            return Ok(status);
        }
        uri = next;
    }
    Err("stopped after 10 redirects".into())
}

fn beside(uri: &Uri, location: &str) -> Option<Uri> {
    if location.contains("://") {
        return location.parse().ok();
    }
    let path = if location.starts_with('/') {
        location.to_string()
    } else {
        let (folder, _) = uri.path().rsplit_once('/').unwrap_or_default();
        format!("{folder}/{location}")
    };
    format!("{}://{}{path}", uri.scheme_str()?, uri.authority()?).parse().ok()
}

async fn once(uri: &Uri, headers: &[(&str, &str)]) -> Result<(u16, Option<String>), String> {
    let tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(|e| format!("dial tcp {host}:{port}: {e}"))?;
    if tls {
        let bare = host.trim_matches(['[', ']']).to_string();
        let name = ServerName::try_from(bare).map_err(|e| e.to_string())?;
        let stream = tokio_rustls::TlsConnector::from(unchecked()?).connect(name, stream).await.map_err(|e| e.to_string())?;
        send(stream, uri, headers).await
    } else {
        send(stream, uri, headers).await
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
    headers: &[(&str, &str)],
) -> Result<(u16, Option<String>), String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let mut request = Request::get(uri.path_and_query().map_or("/", |p| p.as_str()));
        let own = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        for (name, value) in [("host", authority.as_str()), ("user-agent", "kube-probe/1.36"), ("accept", "*/*"), ("connection", "close")] {
            if !own(name) {
                request = request.header(name, value);
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let location = answer.headers().get(header::LOCATION).and_then(|l| l.to_str().ok()).map(str::to_string);
        let status = answer.status().as_u16();
        // Read, so that the server does not see a reset; a longer body is nobody's fault.
        let _ = Limited::new(answer.into_body(), LONGEST_BODY).collect().await;
        Ok((status, location))
    };
    let answer = answer.await;
    connection.abort();
    answer
}

fn unchecked() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(schemes)))
        .with_no_client_auth();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

/// A probe asks whether the server answers, not who it is.
#[derive(Debug)]
struct Anyone(Vec<SignatureScheme>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
