//! Who approves and who signs certificate requests needs that right for the signer, and nobody asks for the masters' group.

use super::{Acts, Operation, Plugin, Request};
use crate::attributes::Attributes;
use crate::authorizer::Decision;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::{ApiError, value};
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

const GROUP: &str = "certificates.k8s.io";
const RESOURCE: &str = "certificatesigningrequests";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

pub struct CertificateApproval;
pub struct CertificateSigning;
pub struct CertificateSubjectRestriction;

/// For this signer, or for all of its domain.
fn may(request: &Request<'_>, verb: &str, signer: &str) -> bool {
    let all = signer.split_once('/').map(|(domain, _)| format!("{domain}/*"));
    [Some(signer.to_string()), all].into_iter().flatten().any(|name| {
        let asked = Attributes {
            user: request.attributes.user.clone(),
            verb: verb.into(),
            group: GROUP.into(),
            version: "*".into(),
            resource: "signers".into(),
            name,
            is_resource: true,
            named: true,
            ..Attributes::default()
        };
        request.server.authorizer().authorize(&asked) == Decision::Allow
    })
}

fn part(request: &Request<'_>, subresource: &str) -> bool {
    request.of(GROUP, RESOURCE) && request.attributes.subresource == subresource && request.operation == Operation::Update
}

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn acts(&self) -> Acts {
        Acts::Validates
    }

    async fn validate(&self, request: &Request<'_>, _: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let Some(old) = old.filter(|_| part(request, "approval")) else { return Ok(()) };
        let signer = value::text(old, &["spec", "signerName"]);
        if may(request, "approve", signer) {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to approve requests with signerName {signer:?}")))
    }
}

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn acts(&self) -> Acts {
        Acts::Validates
    }

    async fn validate(&self, request: &Request<'_>, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        let Some(old) = old.filter(|_| part(request, "status")) else { return Ok(()) };
        let same = |field| value::at(old, &["status", field]) == value::at(object, &["status", field]);
        let signer = value::text(old, &["spec", "signerName"]);
        if (same("certificate") && same("conditions")) || may(request, "sign", signer) {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to sign requests with signerName {signer:?}")))
    }
}

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn acts(&self) -> Acts {
        Acts::Validates
    }

    async fn validate(&self, request: &Request<'_>, object: &Value, _: Option<&Value>) -> Result<(), ApiError> {
        if !request.creates(GROUP, RESOURCE) || value::text(object, &["spec", "signerName"]) != CLIENT {
            return Ok(());
        }
        let organizations = organizations(value::text(object, &["spec", "request"]));
        let organizations = organizations.map_err(|why| request.forbidden(format!("failed to parse CSR: {why}")))?;
        if organizations.iter().any(|o| o == "system:masters") {
            return Err(request.forbidden(format!("use of {CLIENT} signer with system:masters group is not allowed")));
        }
        Ok(())
    }
}

fn with_subject<T>(request: &str, read: impl Fn(&X509Name<'_>) -> T) -> Result<T, String> {
    let pem = STANDARD.decode(request).map_err(|e| e.to_string())?;
    let block = pem::parse(pem).map_err(|e| e.to_string())?;
    let (_, csr) = X509CertificationRequest::from_der(block.contents()).map_err(|e| e.to_string())?;
    Ok(read(&csr.certification_request_info.subject))
}

fn organizations(request: &str) -> Result<Vec<String>, String> {
    with_subject(request, |s| s.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_string).collect())
}

pub fn common_name(request: &str) -> Result<String, String> {
    with_subject(request, |s| s.iter_common_name().next().and_then(|n| n.as_str().ok()).unwrap_or_default().to_string())
}
