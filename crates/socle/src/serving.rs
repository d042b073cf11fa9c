//! What the API server shows its clients, and whom it believes: made anew when a file behind it changes, for
//! connections from then on. Connections that are there go on.

use crate::layout::Layout;
use crate::pki::{Leaf, Pki};
use crate::platform::Api;
use anyhow::Context;
use apiserver::auth::tokens::Tokens;
use apiserver::listener::Tls;
use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;
use x509_parser::extensions::GeneralName;

const LOOK: Duration = Duration::from_secs(5);
/// Our own certificate is made again long before it ends.
const RENEW: Duration = Duration::from_secs(30 * 86_400);

pub struct Serving {
    api: Api,
    layout: Layout,
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    tls: Tls,
    /// As the files were when they were last read.
    seen: Vec<Option<Print>>,
}

/// Enough of a file to tell that it is another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Print {
    modified: Option<SystemTime>,
    inode: u64,
    size: u64,
}

impl Serving {
    /// `names`, `addresses`: what our own certificate is valid for.
    pub fn new(api: &Api, layout: &Layout, names: Vec<String>, addresses: Vec<IpAddr>) -> anyhow::Result<Self> {
        let seen = prints(&files(api, layout));
        let config = config(api, layout, &names, &addresses)?;
        let tls = Arc::new(ArcSwap::from_pointee(config));
        Ok(Self { api: api.clone(), layout: layout.clone(), names, addresses, tls, seen })
    }

    pub fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Looks at the files until the end.
    pub async fn follow(mut self, tokens: Arc<Tokens>, stop: CancellationToken) {
        let mut made = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = prints(&files(&self.api, &self.layout));
            if now == self.seen && made.elapsed() < RENEW {
                continue;
            }
            match self.read_again(&tokens) {
                Ok(()) => {
                    tracing::info!("certificates and keys were read again");
                    (self.seen, made) = (now, Instant::now());
                }
                // Half written, perhaps: what is there still serves, and the next look may find it whole.
                Err(error) => tracing::warn!(error = format!("{error:#}"), "certificates and keys changed and cannot be used"),
            }
        }
    }

    fn read_again(&self, tokens: &Tokens) -> anyhow::Result<()> {
        let config = config(&self.api, &self.layout, &self.names, &self.addresses)?;
        tokens.replace(&signing_keys(&self.layout)?)?;
        self.tls.store(Arc::new(config));
        Ok(())
    }
}

/// Keys for service account tokens: the first in the file signs, all of them are believed.
pub fn signing_keys(layout: &Layout) -> anyhow::Result<Vec<Vec<u8>>> {
    let path = layout.pki().join("service-account.key");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let keys = pem::parse_many(text).with_context(|| path.display().to_string())?;
    Ok(keys.into_iter().map(pem::Pem::into_contents).collect())
}

fn files(api: &Api, layout: &Layout) -> Vec<PathBuf> {
    let own = ["ca.crt", "ca.key", "service-account.key"].map(|file| layout.pki().join(file));
    own.into_iter().chain([&api.tls_cert_file, &api.tls_key_file, &api.client_ca_file].into_iter().flatten().cloned()).collect()
}

fn prints(files: &[PathBuf]) -> Vec<Option<Print>> {
    let print = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some(Print { modified: meta.modified().ok(), inode: meta.ino(), size: meta.len() })
    };
    files.iter().map(print).collect()
}

fn config(api: &Api, layout: &Layout, names: &[String], addresses: &[IpAddr]) -> anyhow::Result<ServerConfig> {
    let pki = Pki::open(layout)?;
    let mut roots = RootCertStore::empty();
    for authority in pki.client_authorities() {
        roots.add(authority)?;
    }
    if let Some(path) = &api.client_ca_file {
        let read = CertificateDer::pem_file_iter(path).with_context(|| path.display().to_string())?;
        for certificate in read {
            roots.add(certificate.with_context(|| path.display().to_string())?)?;
        }
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build()?;
    let own = certified(pki.server("kube-apiserver", names, addresses)?)?;
    let other = match (&api.tls_cert_file, &api.tls_key_file) {
        (Some(certificate), Some(key)) => {
            let leaf = Leaf::read(certificate, key)?;
            let names = dns_names(leaf.certificate_der()).with_context(|| certificate.display().to_string())?;
            Some((certified(leaf)?, names))
        }
        _ => None,
    };
    let mut config = ServerConfig::builder().with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(ByName { own, other }));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certified(leaf: Leaf) -> anyhow::Result<Arc<CertifiedKey>> {
    let (chain, secret) = leaf.into_parts();
    let key = rustls::crypto::ring::sign::any_supported_type(&secret)?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().context("the certificate and the key do not belong together")?;
    Ok(Arc::new(certified))
}

/// The certificate from elsewhere for the names it has, ours for everybody who comes by another.
#[derive(Debug)]
struct ByName {
    own: Arc<CertifiedKey>,
    other: Option<(Arc<CertifiedKey>, Vec<String>)>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().unwrap_or_default();
        let other = self.other.as_ref().filter(|(_, names)| names.iter().any(|name| covers(name, asked)));
        Some(other.map_or(&self.own, |(certified, _)| certified).clone())
    }
}

/// `*.example.com` covers one label.
fn covers(name: &str, asked: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => asked.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(asked),
    }
}

fn dns_names(certificate: &CertificateDer<'_>) -> anyhow::Result<Vec<String>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)?;
    let alternative = parsed.subject_alternative_name()?;
    let names = alternative.map(|a| &a.value.general_names).into_iter().flatten();
    Ok(names.filter_map(|n| if let GeneralName::DNSName(name) = n { Some((*name).to_string()) } else { None }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> (Layout, PathBuf) {
        let dir = std::env::temp_dir().join(format!("serving-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&dir).unwrap();
        (Layout::new(&dir), dir)
    }

    #[test]
    fn a_certificate_from_elsewhere_is_shown_to_who_asks_for_its_names() {
        assert!(covers("*.example.com", "api.Example.com") && !covers("*.example.com", "a.b.example.com"));
        assert!(covers("api.example.com", "API.example.com") && !covers("*.example.com", "example.com"));
        let own = rcgen::generate_simple_self_signed(vec!["a.example".into(), "*.b.example".into()]).unwrap();
        assert_eq!(dns_names(own.cert.der()).unwrap(), ["a.example", "*.b.example"]);
    }

    #[test]
    fn changed_files_are_seen_and_broken_ones_refused() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (layout, dir) = layout();
        let api = Api { client_ca_file: Some(dir.join("clients.crt")), ..Api::default() };
        let make = || config(&api, &layout, &["localhost".into()], &[]).map(drop);
        assert!(format!("{:#}", make().unwrap_err()).contains("clients.crt"));
        let other = rcgen::generate_simple_self_signed(vec!["other".into()]).unwrap();
        std::fs::write(dir.join("clients.crt"), other.cert.pem()).unwrap();
        make().unwrap();
        let before = prints(&files(&api, &layout));
        std::fs::write(dir.join("clients.crt"), format!("{}\n", other.cert.pem())).unwrap();
        assert!(before != prints(&files(&api, &layout)));
        let mut keys = std::fs::read_to_string(layout.pki().join("service-account.key")).unwrap();
        keys = format!("{}{keys}", pem::encode(&pem::Pem::new("PRIVATE KEY", Tokens::generate().unwrap())));
        std::fs::write(layout.pki().join("service-account.key"), keys).unwrap();
        assert_eq!(signing_keys(&layout).unwrap().len(), 2);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
