//! A proxy before this server (another API server, most likely) that has authenticated the caller, says in headers
//! who that is, and is believed because of its certificate.

use super::AUTHENTICATED;
use super::certificates::Leaf;
use crate::aggregation::proxy::{EXTRA, GROUP, UID, USER};
use crate::query;
use crate::user::User;
use http::HeaderMap;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// `requestheader` authentication.
pub struct FrontProxy {
    verifier: Arc<dyn ClientCertVerifier>,
    subjects: Vec<Vec<u8>>,
    /// The common names that are believed; all, if empty.
    names: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum FrontProxyError {
    #[error("the front proxy's authority is no certificate: {0}")]
    Authority(String),
}

impl FrontProxy {
    pub fn new(authorities: &[CertificateDer<'static>], names: Vec<String>) -> Result<Self, FrontProxyError> {
        let fail = |e: &dyn std::fmt::Display| FrontProxyError::Authority(e.to_string());
        let mut roots = RootCertStore::empty();
        let mut subjects = Vec::new();
        for der in authorities {
            roots.add(der.clone()).map_err(|e| fail(&e))?;
            let (_, certificate) = X509Certificate::from_der(der).map_err(|e| fail(&e))?;
            subjects.push(certificate.subject().as_raw().to_vec());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|e| fail(&e))?;
        Ok(Self { verifier, subjects, names })
    }

    /// Whether this is, by its issuer's name, a certificate for proxies and so none for users.
    pub fn claims(&self, leaf: &Leaf) -> bool {
        self.subjects.contains(&leaf.issuer)
    }

    /// The user that the proxy speaks for. None: it is not believed, or speaks for nobody.
    pub fn user(&self, chain: &[CertificateDer<'static>], leaf: &Leaf, headers: &HeaderMap) -> Option<User> {
        let (first, rest) = chain.split_first()?;
        // The listener trusts users' authority too: what it let in under this one's name is looked at again.
        self.verifier.verify_client_cert(first, rest, UnixTime::now()).ok()?;
        if !self.names.is_empty() && !self.names.contains(&leaf.common_name) {
            return None;
        }
        user(headers)
    }
}

fn user(headers: &HeaderMap) -> Option<User> {
    let text = |v: &http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let name = headers.get(USER).map(text).filter(|n| !n.trim().is_empty())?;
    let mut user = User::new(name, &[]);
    user.uid = headers.get(UID).map(text).unwrap_or_default();
    user.groups = headers.get_all(GROUP).iter().map(text).collect();
    for (key, value) in headers {
        if let Some(key) = key.as_str().strip_prefix(EXTRA) {
            user.extra.entry(query::decode(key, false)).or_default().push(text(value));
        }
    }
    if user.name != User::anonymous().name && !user.in_group(AUTHENTICATED) && !user.in_group("system:unauthenticated") {
        user.groups.push(AUTHENTICATED.into());
    }
    Some(user)
}
