//! The platform's own PKI: one authority and one service-account key, made at the first start and kept;
//! the certificates of this process are made anew at each start and never written down.

use crate::layout::Layout;
use anyhow::Context;
use controllers::certificates::{Request, Signer};
use nix::fcntl::{Flock, FlockArg};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

const CA_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;

pub struct Pki {
    pub main: Authority,
    /// For the one certificate by which servers behind the API server believe its user headers. An authority of its
    /// own, or whoever has a certificate could say that he is somebody else.
    pub front_proxy: Authority,
}

/// A certificate and its key, in PEM.
pub struct Leaf {
    pub certificate: String,
    pub key: String,
    chain: Vec<CertificateDer<'static>>,
    secret: PrivateKeyDer<'static>,
}

pub struct Authority {
    pub pem: String,
    pub certificate: CertificateDer<'static>,
    pub key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Read, or made where there is none.
    fn open(dir: &Path, file: &str, common_name: &str) -> anyhow::Result<Self> {
        let (crt, key) = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
        // The key is written last: a pair without a key was not finished.
        if !key.exists() {
            let pair = KeyPair::generate()?;
            let mut params = CertificateParams::default();
            params.distinguished_name = name(common_name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
            valid(&mut params, CA_DAYS);
            write(&crt, params.self_signed(&pair)?.pem().as_bytes(), 0o644)?;
            write(&key, pair.serialize_pem().as_bytes(), 0o600)?;
        }
        let pem = fs::read_to_string(&crt).with_context(|| crt.display().to_string())?;
        let key_pem = fs::read_to_string(&key).with_context(|| key.display().to_string())?;
        let pair = KeyPair::from_pem(&key_pem).with_context(|| format!("{} is not a private key", key.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, pair).with_context(|| format!("{} is not a certificate", crt.display()))?;
        let certificate = pem::parse(&pem).with_context(|| crt.display().to_string())?.into_contents().into();
        Ok(Self { pem, certificate, key_pem, issuer })
    }

    fn sign(&self, mut params: CertificateParams) -> anyhow::Result<Leaf> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        valid(&mut params, LEAF_DAYS);
        let pair = KeyPair::generate()?;
        let certificate = params.signed_by(&pair, &self.issuer)?;
        Ok(Leaf {
            certificate: certificate.pem(),
            key: pair.serialize_pem(),
            chain: vec![certificate.der().clone(), self.certificate.clone()],
            secret: PrivatePkcs8KeyDer::from(pair.serialize_der()).into(),
        })
    }
}

impl Leaf {
    /// From files of somebody else's.
    pub fn read(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let text = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
        let (certificate_pem, key_pem) = (text(certificate)?, text(key)?);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate_pem.as_bytes()).collect();
        let chain = chain.with_context(|| certificate.display().to_string())?;
        anyhow::ensure!(!chain.is_empty(), "{} holds no certificate", certificate.display());
        let secret = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).with_context(|| key.display().to_string())?;
        Ok(Self { certificate: certificate_pem, key: key_pem, chain, secret })
    }

    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    pub fn into_parts(self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain, self.secret)
    }
}

impl Pki {
    /// Whose client certificates the API server believes: our own, and a front proxy's.
    pub fn client_authorities(&self) -> Vec<CertificateDer<'static>> {
        vec![self.main.certificate.clone(), self.front_proxy.certificate.clone()]
    }

    pub fn open(layout: &Layout) -> anyhow::Result<Self> {
        let dir = layout.pki();
        fs::create_dir_all(&dir)?;
        // Several API servers may share the directory, and only one of them makes the keys.
        let lock = fs::File::create(dir.join("lock"))?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).context("locking the PKI")?;
        let main = Authority::open(&dir, "ca", "socle-ca")?;
        let front_proxy = Authority::open(&dir, "front-proxy-ca", "socle-front-proxy-ca")?;
        let sa = dir.join("service-account.key");
        if !sa.exists() {
            let der = apiserver::auth::tokens::Tokens::generate()?;
            write(&sa, pem::encode(&pem::Pem::new("PRIVATE KEY", der)).as_bytes(), 0o600)?;
        }
        Ok(Self { main, front_proxy })
    }

    /// For a server that goes by these names and addresses.
    pub fn server(&self, common_name: &str, names: &[String], addresses: &[IpAddr]) -> anyhow::Result<Leaf> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = name(common_name);
        params.subject_alt_names.extend(addresses.iter().map(|ip| SanType::IpAddress(*ip)));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.main.sign(params)
    }

    /// For a client that the API server knows as `user` of `groups`.
    pub fn client(&self, user: &str, groups: &[&str]) -> anyhow::Result<Leaf> {
        // By the signer of requests: rcgen keeps one organization only.
        let pair = KeyPair::generate()?;
        let request = Request::named(user, groups, pair.subject_public_key_info());
        let signer = Signer::new(&self.main.pem, &self.main.key_pem)?;
        let certificate = signer.sign(&request, &["digital signature".into(), "client auth".into()], None)?;
        let der = pem::parse(&certificate)?.into_contents().into();
        Ok(Leaf {
            certificate,
            key: pair.serialize_pem(),
            chain: vec![der, self.main.certificate.clone()],
            secret: PrivatePkcs8KeyDer::from(pair.serialize_der()).into(),
        })
    }

    /// The name in the front proxy's certificate.
    pub const FRONT_PROXY: &str = "front-proxy-client";

    /// By what servers behind the API server know it.
    pub fn front_proxy_client(&self) -> anyhow::Result<apiserver::aggregation::ClientIdentity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(Self::FRONT_PROXY);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = self.front_proxy.sign(params)?;
        Ok(apiserver::aggregation::ClientIdentity { chain: leaf.chain, key: leaf.secret })
    }

    fn roots(&self) -> anyhow::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.main.certificate.clone())?;
        Ok(roots)
    }

    /// Serves as `leaf`; clients may present a certificate of ours.
    pub fn server_config(&self, leaf: Leaf, protocols: &[&[u8]]) -> anyhow::Result<Arc<ServerConfig>> {
        let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots()?)).allow_unauthenticated().build()?;
        let mut config = ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(leaf.chain, leaf.secret)?;
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        Ok(Arc::new(config))
    }

    /// Connects as `leaf` to servers of ours.
    pub fn client_config(&self, leaf: Leaf) -> anyhow::Result<Arc<ClientConfig>> {
        let config = ClientConfig::builder().with_root_certificates(self.roots()?).with_client_auth_cert(leaf.chain, leaf.secret)?;
        Ok(Arc::new(config))
    }
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn valid(params: &mut CertificateParams, days: i64) {
    let now = std::time::SystemTime::now();
    // A little into the past, for clocks that are behind.
    params.not_before = (now - std::time::Duration::from_secs(3600)).into();
    params.not_after = (now + std::time::Duration::from_secs(days as u64 * 86400)).into();
}

/// Durable before it counts, and never half written.
fn write(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let mut file =
        fs::File::options().create(true).write(true).truncate(true).mode(mode).open(&new).with_context(|| new.display().to_string())?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    if let Some(dir) = path.parent() {
        fs::File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Writes the administrator's kubeconfig where there is none for this authority and address yet, so
/// that copies of it stay good.
pub fn write_kubeconfig(pki: &Pki, path: &Path, server: &str) -> anyhow::Result<()> {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let authority = encode(&pki.main.pem);
    const YOUNG: std::time::Duration = std::time::Duration::from_secs(300 * 86400);
    if let (Ok(text), Ok(meta)) = (fs::read_to_string(path), fs::metadata(path)) {
        let age = meta.modified().ok().and_then(|t| t.elapsed().ok()).unwrap_or_default();
        if text.contains(&authority) && text.contains(server) && age < YOUNG {
            return Ok(());
        }
    }
    let leaf = pki.client("kubernetes-admin", &["system:masters"])?;
    let text = format!(
        "apiVersion: v1
kind: Config
clusters:
- name: socle
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: admin
  user:
    client-certificate-data: {}
    client-key-data: {}
contexts:
- name: socle
  context:
    cluster: socle
    user: admin
current-context: socle
",
        encode(&leaf.certificate),
        encode(&leaf.key)
    );
    write(path, text.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer, X509Certificate};

    #[test]
    fn a_client_belongs_to_all_its_groups() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::open(&Layout::new(dir.path())).unwrap();
        let leaf = pki.client("jane", &["developers", "operators", "system:masters"]).unwrap();
        let (_, parsed) = X509Certificate::from_der(leaf.certificate_der()).unwrap();
        let organizations: Vec<&str> = parsed.subject().iter_organization().map(|o| o.as_str().unwrap()).collect();
        assert_eq!(organizations, ["developers", "operators", "system:masters"]);
        assert_eq!(parsed.subject().iter_common_name().next().unwrap().as_str().unwrap(), "jane");
        let mut roots = RootCertStore::empty();
        roots.add(pki.main.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        verifier.verify_client_cert(leaf.certificate_der(), &[], rustls::pki_types::UnixTime::now()).unwrap();
    }
}
