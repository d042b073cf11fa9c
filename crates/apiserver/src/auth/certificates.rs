//! Client certificates: the common name is the user, the organizations are its groups.

use super::AUTHENTICATED;
use super::front_proxy::FrontProxy;
use super::tokens::EXTRA;
use crate::authenticator::{Authenticator, PeerCertificates};
use crate::discovery::hex;
use crate::user::User;
use async_trait::async_trait;
use meta::ApiError;
use sha2::{Digest, Sha256};
use x509_parser::der_parser::oid;
use x509_parser::prelude::{FromDer, Validity, X509Certificate, X509Name};

/// The chain itself was verified by the listener, once per connection; connections outlive certificates, so
/// the leaf's dates are checked with each request.
#[derive(Default)]
pub struct Certificates {
    pub front_proxy: Option<FrontProxy>,
}

/// What is to be known of a client's own certificate.
#[derive(Debug)]
pub struct Leaf {
    pub common_name: String,
    /// The name of who signed it, as it is encoded.
    pub issuer: Vec<u8>,
    validity: Validity,
    /// Whom it names; none where it does not say so clearly.
    user: Option<User>,
}

impl Leaf {
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let common_name = certificate.subject().iter_common_name().next().and_then(|n| n.as_str().ok()).unwrap_or_default();
        Some(Self {
            common_name: common_name.into(),
            issuer: certificate.issuer().as_raw().to_vec(),
            validity: certificate.validity().clone(),
            user: user_of(der, common_name, certificate.subject()),
        })
    }
}

#[async_trait]
impl Authenticator for Certificates {
    async fn authenticate(&self, parts: &http::request::Parts, peer: Option<&PeerCertificates>) -> Result<Option<User>, ApiError> {
        let Some(peer) = peer else { return Ok(None) };
        let refused = || ApiError::unauthorized("Unauthorized");
        let leaf = peer.leaf().ok_or_else(refused)?;
        match &self.front_proxy {
            Some(proxy) if proxy.claims(leaf) => Ok(proxy.user(peer.chain(), leaf, &parts.headers)),
            _ if !leaf.validity.is_valid() => Err(refused()),
            _ => leaf.user.clone().ok_or_else(refused).map(Some),
        }
    }
}

fn user_of(der: &[u8], name: &str, subject: &X509Name<'_>) -> Option<User> {
    // Where Kubernetes' own identifiers lie in certificates, a user's UID.
    let uid = oid!(1.3.6.1.4.1.57683.2);
    if name.is_empty() {
        return None;
    }
    let mut user = User::new(name, &[]);
    user.groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_string).collect();
    user.groups.push(AUTHENTICATED.into());
    let mut uids = subject.iter().flat_map(|part| part.iter()).filter(|a| *a.attr_type() == uid);
    if let Some(found) = uids.next() {
        user.uid = found.as_str().ok().filter(|text| !text.is_empty() && uids.next().is_none())?.to_string();
    }
    let id = format!("X509SHA256={}", hex(&Sha256::digest(der)));
    user.extra.insert(format!("{EXTRA}credential-id"), vec![id]);
    Some(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
    use rustls::pki_types::CertificateDer;

    fn params(name: &str, organizations: &[&str]) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        organizations.iter().for_each(|o| params.distinguished_name.push(DnType::OrganizationName, *o));
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params
    }

    fn authority(name: &str) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let mut params = params(name, &[]);
        params.extended_key_usages.clear();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().der().clone(), Issuer::new(params, key))
    }

    #[tokio::test]
    async fn a_subject_becomes_a_user() {
        let ask = async |der: &[u8]| {
            let (parts, ()) = http::Request::new(()).into_parts();
            let peer = PeerCertificates::new(vec![CertificateDer::from(der.to_vec())]);
            Certificates::default().authenticate(&parts, Some(&peer)).await
        };
        let mut params = params("system:node:n1", &["system:nodes"]);
        let key = KeyPair::generate().unwrap();
        let user = ask(params.self_signed(&key).unwrap().der()).await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("system:node:n1", vec!["system:nodes".to_string(), AUTHENTICATED.into()]));
        assert!(user.extra["authentication.kubernetes.io/credential-id"][0].starts_with("X509SHA256="));
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        assert_eq!(ask(params.self_signed(&key).unwrap().der()).await.unwrap_err().code, 401);
        assert_eq!(ask(b"nonsense").await.unwrap_err().code, 401);
    }

    #[tokio::test]
    async fn a_front_proxy_speaks_for_others_and_nobody_in_its_name() {
        let (der, issuer) = authority("proxies");
        // Another authority that calls itself the same.
        let (_, impostor) = authority("proxies");
        let proxy = FrontProxy::new(&[der], vec!["front-proxy-client".into()]).unwrap();
        let certificates = Certificates { front_proxy: Some(proxy) };
        let ask = async |name: &str, issuer: &Issuer<'static, KeyPair>| {
            let request = http::Request::get("/").header("x-remote-user", "jane").header("x-remote-group", "dev");
            let (parts, ()) = request.header("x-remote-extra-scopes", "a").body(()).unwrap().into_parts();
            let leaf = params(name, &["system:masters"]).signed_by(&KeyPair::generate().unwrap(), issuer).unwrap();
            certificates.authenticate(&parts, Some(&PeerCertificates::new(vec![leaf.der().clone()]))).await.unwrap()
        };
        let user = ask("front-proxy-client", &issuer).await.unwrap();
        assert_eq!((user.name.as_str(), user.groups), ("jane", vec!["dev".to_string(), AUTHENTICATED.into()]));
        assert_eq!(user.extra["scopes"], ["a"]);
        assert_eq!(ask("somebody", &issuer).await, None);
        assert_eq!(ask("front-proxy-client", &impostor).await, None);
    }
}
