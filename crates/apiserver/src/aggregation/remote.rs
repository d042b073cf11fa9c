//! One server behind this one: where it is and how it proves who it is.

use crate::connect::{locate, trust};
use crate::objects::Objects;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::{ApiError, GroupResource, value};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use std::sync::{Arc, LazyLock};

/// The front proxy's certificate, leaf first, and its key.
pub struct ClientIdentity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

pub struct Remote {
    pub name: String,
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub service: String,
    pub port: u16,
    pub available: bool,
    pub group_priority: i64,
    pub version_priority: i64,
    /// Or why there is none.
    pub tls: Result<Arc<ClientConfig>, String>,
    pub(super) spec: Value,
}

impl Remote {
    /// None: an APIService that this server answers itself.
    pub fn of(object: &Value, identity: Option<&ClientIdentity>, before: Option<&Self>) -> Option<Self> {
        let spec = object.get("spec")?;
        let service = spec.get("service").filter(|s| !s.is_null())?;
        let text = |v: &Value, f: &str| value::text(v, &[f]).to_string();
        let tls = match before {
            Some(before) if before.spec == *spec => before.tls.clone(),
            _ => tls(spec, identity),
        };
        Some(Self {
            name: value::text(object, &["metadata", "name"]).to_string(),
            group: text(spec, "group"),
            version: text(spec, "version"),
            namespace: text(service, "namespace"),
            service: text(service, "name"),
            port: value::int(service, &["port"]).and_then(|p| u16::try_from(p).ok()).unwrap_or(443),
            available: value::items(object, &["status", "conditions"])
                .iter()
                .any(|c| value::text(c, &["type"]) == "Available" && value::text(c, &["status"]) == "True"),
            group_priority: value::int(spec, &["groupPriorityMinimum"]).unwrap_or(0),
            version_priority: value::int(spec, &["versionPriority"]).unwrap_or(0),
            tls,
            spec: spec.clone(),
        })
    }

    /// The name that its certificate must carry.
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    pub fn path(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }

    /// Host and port: an endpoint of the service, or the name that an ExternalName service stands for.
    pub fn address(&self, objects: &dyn Objects) -> Result<(String, u16), ApiError> {
        let resource = GroupResource::new("", "services");
        let service =
            objects.get(&resource, &self.namespace, &self.service).ok_or_else(|| ApiError::not_found(&resource, &self.service))?;
        let service = service.value();
        if value::text(&service, &["spec", "type"]) == "ExternalName" {
            return Ok((value::text(&service, &["spec", "externalName"]).to_string(), self.port));
        }
        let (host, port, _) = locate::service(objects, &self.namespace, &format!("{}:{}", self.service, self.port))?;
        Ok((host, port))
    }
}

fn tls(spec: &Value, identity: Option<&ClientIdentity>) -> Result<Arc<ClientConfig>, String> {
    let said = |e: &dyn std::fmt::Display| e.to_string();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().map_err(|e| said(&e))?;
    let builder = if value::flag(spec, &["insecureSkipTLSVerify"]) {
        builder.dangerous().with_custom_certificate_verifier(trust::verifier(provider))
    } else {
        let bundle = STANDARD.decode(value::text(spec, &["caBundle"])).map_err(|e| said(&e))?;
        builder.with_root_certificates(if bundle.is_empty() { SYSTEM.clone() } else { roots(&bundle)? })
    };
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(|e| said(&e))?,
        None => builder.with_no_client_auth(),
    };
    // Any request may become a stream of its own, which HTTP/2 has no way to hand over.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(bundle: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for block in pem::parse_many(bundle).map_err(|e| e.to_string())? {
        if block.tag() == "CERTIFICATE" {
            roots.add(block.into_contents().into()).map_err(|e| e.to_string())?;
        }
    }
    if roots.is_empty() { Err("unable to load root certificates: no valid certificate in the bundle".into()) } else { Ok(roots) }
}

/// The host's own authorities, for servers that bring no bundle.
static SYSTEM: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut store = RootCertStore::empty();
    let files = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"];
    if let Some(blocks) = files.iter().find_map(|f| std::fs::read(f).ok()).and_then(|b| pem::parse_many(b).ok()) {
        store.add_parsable_certificates(blocks.into_iter().map(|b| b.into_contents().into()));
    }
    store
});
