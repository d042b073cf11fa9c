//! Client certificates: the common name is the user, the organizations are its groups.

use super::AUTHENTICATED;
use crate::authenticator::{Authenticator, PeerCertificates};
use crate::user::User;
use async_trait::async_trait;
use meta::ApiError;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The chain itself was verified by the listener, once per connection; connections outlive certificates, so
/// the leaf's dates are checked with each request.
pub struct Certificates;

#[async_trait]
impl Authenticator for Certificates {
    async fn authenticate(&self, _: &http::request::Parts, peer: Option<&PeerCertificates>) -> Result<Option<User>, ApiError> {
        match peer.and_then(|p| p.0.first()) {
            Some(leaf) => user_of(leaf).map(Some),
            None => Ok(None),
        }
    }
}

fn user_of(der: &[u8]) -> Result<User, ApiError> {
    let refused = || ApiError::unauthorized("Unauthorized");
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| refused())?;
    if !certificate.validity().is_valid() {
        return Err(refused());
    }
    let subject = certificate.subject();
    let name = subject.iter_common_name().next().and_then(|n| n.as_str().ok()).unwrap_or_default();
    if name.is_empty() {
        return Err(refused());
    }
    let mut user = User::new(name, &[]);
    user.groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_string).collect();
    user.groups.push(AUTHENTICATED.into());
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_becomes_a_user() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:n1");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
        let key = rcgen::KeyPair::generate().unwrap();
        let user = user_of(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("system:node:n1", vec!["system:nodes".to_string(), AUTHENTICATED.into()]));
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        assert_eq!(user_of(params.self_signed(&key).unwrap().der()).unwrap_err().code, 401);
        assert_eq!(user_of(b"nonsense").unwrap_err().code, 401);
    }
}
