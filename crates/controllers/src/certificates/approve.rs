//! A node's own client certificate needs nobody's approval, if whoever asks may ask for it.

use super::condition;
use super::request::{KUBELET_CLIENT, Request};
use crate::Context;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::api::PostParams;

pub async fn settle(context: &Context, csr: &CertificateSigningRequest, asked: &Request) -> Result<(), kube::Error> {
    let usages = csr.spec.usages.clone().unwrap_or_default();
    if csr.spec.signer_name != KUBELET_CLIENT || asked.kubelet_client(&usages).is_err() {
        return Ok(());
    }
    let own = csr.spec.username.as_deref() == Some(asked.common_name.as_str());
    let ways = [
        (own, "selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."),
        (true, "nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."),
    ];
    for (_, subresource, message) in ways.into_iter().filter(|(applies, ..)| *applies) {
        if may(context, csr, subresource).await? {
            let mut approved = csr.clone();
            let status = approved.status.get_or_insert_default();
            status.conditions.get_or_insert_default().push(condition("Approved", "AutoApproved", message.into()));
            let name = csr.metadata.name.clone().unwrap_or_default();
            let requests = context.all::<CertificateSigningRequest>();
            return requests.replace_subresource("approval", &name, &PostParams::default(), &approved).await.map(drop);
        }
    }
    tracing::debug!(csr = csr.metadata.name, "a node's request for a certificate is not allowed by its rights");
    Ok(())
}

async fn may(context: &Context, csr: &CertificateSigningRequest, subresource: &str) -> Result<bool, kube::Error> {
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: csr.spec.username.clone(),
            uid: csr.spec.uid.clone(),
            groups: csr.spec.groups.clone(),
            extra: csr.spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".into()),
                resource: Some("certificatesigningrequests".into()),
                verb: Some("create".into()),
                subresource: Some(subresource.into()),
                version: Some("*".into()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = context.all::<SubjectAccessReview>().create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|s| s.allowed))
}
