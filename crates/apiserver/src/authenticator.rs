//! The seam to authentication.

use crate::auth::certificates::Leaf;
use crate::user::User;
use async_trait::async_trait;
use meta::ApiError;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;

/// The verified chain that a TLS client presented, leaf first. The listener reads it once and puts it into the
/// extensions of each request of the connection.
#[derive(Clone, Debug)]
pub struct PeerCertificates(Arc<Peer>);

#[derive(Debug)]
struct Peer {
    chain: Vec<CertificateDer<'static>>,
    leaf: Option<Leaf>,
}

impl PeerCertificates {
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        let leaf = chain.first().and_then(|der| Leaf::read(der));
        Self(Arc::new(Peer { chain, leaf }))
    }

    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// None: it cannot be read.
    pub fn leaf(&self) -> Option<&Leaf> {
        self.0.leaf.as_ref()
    }
}

#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// `Ok(None)`: no credentials that this authenticator knows.
    async fn authenticate(
        &self,
        parts: &http::request::Parts,
        peer_certificates: Option<&PeerCertificates>,
    ) -> Result<Option<User>, ApiError>;
}
