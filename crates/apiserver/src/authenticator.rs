//! The seam to authentication.

use crate::user::User;
use async_trait::async_trait;
use meta::ApiError;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;

/// The verified chain that a TLS client presented, leaf first. The listener puts it into the extensions
/// of each request of the connection.
#[derive(Clone, Debug)]
pub struct PeerCertificates(pub Arc<[CertificateDer<'static>]>);

#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// `Ok(None)`: no credentials that this authenticator knows.
    async fn authenticate(
        &self,
        parts: &http::request::Parts,
        peer_certificates: Option<&PeerCertificates>,
    ) -> Result<Option<User>, ApiError>;
}
