//! Who may call: the API server, by its client certificate. The chain itself was verified by TLS.

use x509_parser::prelude::{FromDer, X509Certificate};

const USER: &str = "system:kube-apiserver";
const GROUP: &str = "system:masters";

/// The names of a certificate are those of a caller who may use this API.
pub fn allowed(certificate: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    if !certificate.validity().is_valid() {
        return false;
    }
    let subject = certificate.subject();
    subject.iter_common_name().any(|n| n.as_str().is_ok_and(|n| n == USER))
        || subject.iter_organization().any(|n| n.as_str().is_ok_and(|n| n == GROUP))
}
