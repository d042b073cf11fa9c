//! What is asked for: the request as it was written, and what each of the signers insists on.

use super::der;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::{FromDer, ParsedExtension};

pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// The parts that go into a certificate, as they were encoded.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub subject: Vec<u8>,
    pub public_key: Vec<u8>,
    /// The value of the extension, and whether there are such names in it.
    pub alt_names: Option<Vec<u8>>,
    pub common_name: String,
    pub organizations: Vec<String>,
    dns: bool,
    ip: bool,
    email: bool,
    uri: bool,
}

impl Request {
    /// For who goes by that name and belongs to all these organizations. `public_key`: as certificates have it.
    pub fn named(common_name: &str, organizations: &[&str], public_key: Vec<u8>) -> Self {
        const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
        const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
        const SET: u8 = 0x31;
        let part = |id: &[u8], text: &str| {
            let text = der::tagged(der::UTF8, text.as_bytes());
            der::tagged(SET, &der::sequence(&[&der::tagged(0x06, id), &text]))
        };
        let mut subject: Vec<u8> = organizations.iter().flat_map(|o| part(ORGANIZATION, o)).collect();
        subject.extend(part(COMMON_NAME, common_name));
        Self {
            subject: der::sequence(&[&subject]),
            public_key,
            common_name: common_name.into(),
            organizations: organizations.iter().map(|o| (*o).to_string()).collect(),
            ..Self::default()
        }
    }

    /// From PEM; the request must be signed with its own key.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        const TYPE: &str = "PEM block type must be CERTIFICATE REQUEST";
        let block = pem::parse(pem).map_err(|_| TYPE.to_string())?;
        if block.tag() != "CERTIFICATE REQUEST" {
            return Err(TYPE.into());
        }
        let (_, csr) = X509CertificationRequest::from_der(block.contents()).map_err(|e| e.to_string())?;
        csr.verify_signature().map_err(|e| format!("the request is not signed with its key: {e}"))?;
        let info = &csr.certification_request_info;
        let subject = &info.subject;
        let mut out = Self {
            subject: subject.as_raw().to_vec(),
            public_key: info.subject_pki.raw.to_vec(),
            common_name: subject.iter_common_name().next().and_then(|n| n.as_str().ok()).unwrap_or_default().to_string(),
            organizations: subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_string).collect(),
            ..Self::default()
        };
        for attribute in info.iter_attributes() {
            let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute() else { continue };
            for extension in asked.extensions.iter().filter(|e| e.oid == OID_X509_EXT_SUBJECT_ALT_NAME) {
                out.alt_names = Some(extension.value.to_vec());
                if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
                    for name in &names.general_names {
                        match name {
                            GeneralName::DNSName(_) => out.dns = true,
                            GeneralName::IPAddress(_) => out.ip = true,
                            GeneralName::RFC822Name(_) => out.email = true,
                            GeneralName::URI(_) => out.uri = true,
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(out)
    }

    /// What the signer finds wrong with it.
    pub fn check(&self, signer: &str, usages: &[String]) -> Result<(), String> {
        match signer {
            KUBELET_CLIENT => self.kubelet_client(usages),
            KUBELET_SERVING => self.kubelet_serving(usages),
            CLIENT => client(usages),
            _ => Ok(()),
        }
    }

    pub fn kubelet_client(&self, usages: &[String]) -> Result<(), String> {
        self.node_organization()?;
        let forbidden = [(self.dns, "DNS"), (self.email, "Email"), (self.ip, "IP"), (self.uri, "URI")];
        if let Some((_, kind)) = forbidden.iter().find(|(has, _)| *has) {
            return Err(format!("{kind} subjectAltNames are not allowed"));
        }
        exactly(usages, "client auth")?;
        self.node_name()
    }

    fn kubelet_serving(&self, usages: &[String]) -> Result<(), String> {
        self.node_organization()?;
        if !self.dns && !self.ip {
            return Err("DNS or IP subjectAltName is required".into());
        }
        if let Some((_, kind)) = [(self.email, "Email"), (self.uri, "URI")].iter().find(|(has, _)| *has) {
            return Err(format!("{kind} subjectAltNames are not allowed"));
        }
        exactly(usages, "server auth")?;
        self.node_name()
    }

    fn node_organization(&self) -> Result<(), String> {
        if self.organizations == ["system:nodes"] { Ok(()) } else { Err("subject organization is not system:nodes".into()) }
    }

    fn node_name(&self) -> Result<(), String> {
        let is = self.common_name.starts_with("system:node:");
        if is { Ok(()) } else { Err("subject common name does not begin with system:node:".into()) }
    }
}

/// The one usage, digital signatures, and perhaps key encipherment, which only RSA needs.
fn exactly(usages: &[String], main: &str) -> Result<(), String> {
    let mut found: Vec<&str> = usages.iter().map(String::as_str).filter(|u| *u != "key encipherment").collect();
    found.sort_unstable();
    let mut wanted = ["digital signature", main];
    wanted.sort_unstable();
    if found == wanted { Ok(()) } else { Err(format!("usages did not match [{main} digital signature key encipherment]")) }
}

fn client(usages: &[String]) -> Result<(), String> {
    const AUTH: &str = "client auth";
    if let Some(other) = usages.iter().find(|u| !matches!(u.as_str(), "digital signature" | "key encipherment" | AUTH)) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    if usages.iter().any(|u| u == AUTH) { Ok(()) } else { Err(format!("missing required usage for client certificate: {AUTH}")) }
}

pub fn has(csr: &CertificateSigningRequest, condition: &str) -> bool {
    let conditions = csr.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == condition)
}

pub fn issued(csr: &CertificateSigningRequest) -> Option<&[u8]> {
    csr.status.as_ref()?.certificate.as_ref().map(|c| c.0.as_slice()).filter(|c| !c.is_empty())
}
