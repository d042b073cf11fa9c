//! Old requests go: an hour after they were answered, a day after they were made and nobody did.

use super::request;
use crate::Context;
use crate::context::if_there;
use client::Informer;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Preconditions};
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

const ROUND: Duration = Duration::from_secs(3600);
const ANSWERED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

pub async fn run(context: Context, requests: Informer<CertificateSigningRequest>) {
    loop {
        for csr in requests.list() {
            if past(&csr, Timestamp::now()) {
                let name = csr.metadata.name.clone().unwrap_or_default();
                let same = Preconditions { uid: csr.metadata.uid.clone(), ..Preconditions::default() };
                let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
                if let Err(error) = if_there(context.all::<CertificateSigningRequest>().delete(&name, &params).await) {
                    tracing::debug!(csr = name, %error, "an old certificate request stays");
                }
            }
        }
        tokio::time::sleep(ROUND).await;
    }
}

fn past(csr: &CertificateSigningRequest, now: Timestamp) -> bool {
    let conditions = csr.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let older = |at: Option<Timestamp>, than: SignedDuration| at.is_some_and(|at| now.duration_since(at) > than);
    let made = csr.metadata.creation_timestamp.as_ref().map(|t| t.0);
    if conditions.is_empty() {
        return older(made, PENDING);
    }
    conditions.iter().any(|c| {
        let since = c.last_update_time.as_ref().map(|t| t.0);
        match (c.type_.as_str(), request::issued(csr)) {
            ("Denied" | "Failed", _) => older(since, ANSWERED),
            ("Approved", Some(certificate)) => older(since, ANSWERED) || expired(certificate, now),
            ("Approved", None) => older(since, PENDING),
            _ => false,
        }
    })
}

fn expired(pem: &[u8], now: Timestamp) -> bool {
    let Ok(block) = pem::parse(pem) else { return false };
    X509Certificate::from_der(block.contents()).is_ok_and(|(_, c)| c.validity().not_after.timestamp() < now.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answered_requests_go_before_unanswered_ones() {
        let at = |hours: i64| (Timestamp::now() - SignedDuration::from_hours(hours)).to_string();
        let csr = |made: i64, condition: Option<(&str, i64)>| -> CertificateSigningRequest {
            let conditions: Vec<_> =
                condition.iter().map(|(t, h)| json!({"type": t, "status": "True", "lastUpdateTime": at(*h)})).collect();
            let spec = json!({"request": "", "signerName": "a/b"});
            let object = json!({"metadata": {"creationTimestamp": at(made)}, "spec": spec, "status": {"conditions": conditions}});
            serde_json::from_value(object).unwrap()
        };
        let now = Timestamp::now();
        assert!(!past(&csr(23, None), now) && past(&csr(25, None), now));
        assert!(!past(&csr(9, Some(("Denied", 0))), now) && past(&csr(9, Some(("Denied", 2))), now));
        assert!(!past(&csr(9, Some(("Approved", 9))), now) && past(&csr(30, Some(("Approved", 25))), now));
    }
}
