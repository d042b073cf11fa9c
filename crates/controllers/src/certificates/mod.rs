//! Requests for certificates: approved where a node asks for its own, signed where somebody approved, cleared away when
//! they are old.

mod approve;
mod clean;
mod der;
mod request;
mod signer;

pub use request::Request;
pub use signer::{Signer, SignerError};

use crate::Context;
use crate::context::{code, itself};
use client::{Key, Queue};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use std::sync::Arc;
use std::time::Duration;

const WORKERS: usize = 2;

/// Approves what nodes ask for themselves.
pub async fn run_approving(context: Context) {
    each(context, "certificatesigningrequest-approving", None).await;
}

/// Signs what is approved.
pub async fn run_signing(context: Context) {
    if let Some(signer) = context.signer.clone() {
        each(context, "certificatesigningrequest-signing", Some(signer)).await;
    }
}

pub async fn run_cleaning(context: Context) {
    let requests = context.informers.of::<CertificateSigningRequest>();
    requests.synced().await;
    context.stop.clone().run_until_cancelled(clean::run(context, requests)).await;
}

/// Looks at each request that changes: with a signer at those that are approved, without one at those that are not.
async fn each(context: Context, name: &'static str, signer: Option<Arc<Signer>>) {
    let requests = context.informers.of::<CertificateSigningRequest>();
    requests.synced().await;
    let queue: Queue<Key> = Queue::new();
    context.feed(&requests, &queue, itself);
    let stop = context.stop.clone();
    client::run(name, queue, WORKERS, stop, move |key: Key| {
        let (context, requests, signer) = (context.clone(), requests.clone(), signer.clone());
        async move {
            let Some(csr) = requests.get("", &key.name) else { return Ok(None) };
            let Some(asked) = asked(&csr) else { return Ok(None) };
            settled(match (signer, request::has(&csr, "Approved")) {
                (Some(signer), true) => sign(&context, &signer, &csr, &asked).await,
                (None, false) => approve::settle(&context, &csr, &asked).await,
                _ => Ok(()),
            })
        }
    })
    .await;
}

/// A conflict means that there is a newer one, which is queued by itself.
fn settled(result: Result<(), kube::Error>) -> Result<Option<Duration>, kube::Error> {
    match result {
        Err(error) if !matches!(code(&error), 404 | 409) => Err(error),
        _ => Ok(None),
    }
}

/// What is asked of one of the cluster's own signers and not answered yet.
fn asked(csr: &CertificateSigningRequest) -> Option<Request> {
    const OWN: [&str; 4] = [request::KUBELET_CLIENT, request::KUBELET_SERVING, request::CLIENT, request::LEGACY];
    let answered = request::issued(csr).is_some() || request::has(csr, "Denied") || request::has(csr, "Failed");
    if answered || !OWN.contains(&csr.spec.signer_name.as_str()) {
        return None;
    }
    match Request::parse(&csr.spec.request.0) {
        Ok(asked) => Some(asked),
        Err(why) => {
            tracing::debug!(csr = csr.metadata.name, why, "a certificate request cannot be read");
            None
        }
    }
}

async fn sign(context: &Context, signer: &Signer, csr: &CertificateSigningRequest, asked: &Request) -> Result<(), kube::Error> {
    let usages = csr.spec.usages.clone().unwrap_or_default();
    let mut changed = csr.clone();
    let status = changed.status.get_or_insert_default();
    let signed = asked
        .check(&csr.spec.signer_name, &usages)
        .and_then(|()| signer.sign(asked, &usages, csr.spec.expiration_seconds.map(i64::from)).map_err(|e| e.to_string()));
    match signed {
        Ok(certificate) => status.certificate = Some(ByteString(certificate.into_bytes())),
        Err(why) => {
            status.conditions.get_or_insert_default().push(condition("Failed", "SignerValidationFailure", why));
        }
    }
    let name = csr.metadata.name.clone().unwrap_or_default();
    context.all::<CertificateSigningRequest>().replace_status(&name, &PostParams::default(), &changed).await.map(drop)
}

fn condition(type_: &str, reason: &str, message: String) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: type_.into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: Some(Time(Timestamp::now())),
        ..CertificateSigningRequestCondition::default()
    }
}
