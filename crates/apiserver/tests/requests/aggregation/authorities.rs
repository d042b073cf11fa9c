//! Authorities, and certificates of theirs.

use apiserver::aggregation::ClientIdentity;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

pub struct Authority {
    pub der: CertificateDer<'static>,
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

pub fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Authority { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) }
}

pub fn leaf(of: &Authority, names: &[&str], usage: ExtendedKeyUsagePurpose) -> ClientIdentity {
    let mut params = CertificateParams::new(names.iter().map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "front-proxy-client");
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &of.issuer).unwrap();
    ClientIdentity { chain: vec![certificate.der().clone()], key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
}

/// How a server named `wardle` shows itself to those who come with a certificate of `proxies`.
pub fn server_config(proxies: &Authority, own: &Authority) -> rustls::ServerConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(proxies.der.clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let identity = leaf(own, &["wardle.default.svc"], ExtendedKeyUsagePurpose::ServerAuth);
    rustls::ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(identity.chain, identity.key).unwrap()
}
