//! certificates.k8s.io/v1: asking for a certificate.

mod certificate_signing_request;
mod pem;

use crate::Kind;
use std::sync::Arc;

pub fn all() -> Vec<Arc<dyn Kind>> {
    vec![Arc::new(certificate_signing_request::CertificateSigningRequest)]
}
