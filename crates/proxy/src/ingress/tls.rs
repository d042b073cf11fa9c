//! TLS from Secrets: the certificate is chosen at each handshake from the live table, so a renewed
//! Secret is served to the next connection without a restart.

use super::Error;
use super::table::Live;
use k8s_openapi::api::core::v1::Secret;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

struct FromTable {
    table: Arc<Live>,
    /// For a name that no Ingress has a certificate for.
    fallback: Arc<CertifiedKey>,
}

impl std::fmt::Debug for FromTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FromTable")
    }
}

impl ResolvesServerCert for FromTable {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.table.get();
        let secret = hello.server_name().and_then(|name| table.routes.certificate(name));
        let found = secret.and_then(|secret| table.certificates.get(secret)).cloned();
        Some(found.unwrap_or_else(|| self.fallback.clone()))
    }
}

pub fn acceptor(table: Arc<Live>) -> Result<TlsAcceptor, Error> {
    let fallback = Arc::new(self_signed().map_err(Error::Certificate)?);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Certificate(e.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(FromTable { table, fallback }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Reads `tls.crt` and `tls.key`.
pub fn certified_key(secret: &Secret) -> Result<CertifiedKey, String> {
    let data = secret.data.as_ref().ok_or("it has no data")?;
    let part = |name: &str| data.get(name).map(|b| b.0.as_slice()).ok_or(format!("it has no {name}"));
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(part("tls.crt")?).collect::<Result<_, _>>().map_err(|e| format!("tls.crt: {e}"))?;
    if chain.is_empty() {
        return Err("tls.crt holds no certificate".into());
    }
    let key = PrivateKeyDer::from_pem_slice(part("tls.key")?).map_err(|e| format!("tls.key: {e}"))?;
    let key = ring::sign::any_supported_type(&key).map_err(|e| format!("tls.key: {e}"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Unknown: the key type does not tell its public half, which is no evidence against it.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => Err(error.to_string()),
    }
}

fn self_signed() -> Result<CertifiedKey, String> {
    let issued = rcgen::generate_simple_self_signed(vec!["ingress.socle.invalid".to_string()]).map_err(|e| e.to_string())?;
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).map_err(str::to_string)?;
    let key = ring::sign::any_supported_type(&key).map_err(|e| e.to_string())?;
    Ok(CertifiedKey::new(vec![issued.cert.der().clone()], key))
}
