//! Template hashes, and the ControllerRevisions in which StatefulSets and DaemonSets remember what
//! their templates were.

use crate::Context;
use crate::context::{code, if_there};
use crate::pods::{controlled_by, controller_of};
use client::Informer;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub const HASH_LABEL: &str = "controller-revision-hash";

/// Characters that make no words and no numbers.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A short name for a template's content, steady over restarts and versions of this program.
/// `collision` tells apart two contents that hash alike.
pub fn hash(content: &impl serde::Serialize, collision: i32) -> String {
    let text = serde_json::to_vec(content).unwrap_or_default();
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in text.iter().chain(collision.to_be_bytes().iter().filter(|_| collision > 0)) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut short = (hash >> 32) ^ (hash & 0xffff_ffff);
    let base = ALPHABET.len() as u64;
    let mut name = String::new();
    for _ in 0..7 {
        let digit = usize::try_from(short % base).unwrap_or(0);
        name.push(char::from(ALPHABET[digit]));
        short /= base;
    }
    // Seven digits hold the 32 bits but for their top; this one takes the rest.
    name.push(char::from(ALPHABET[usize::try_from((hash >> 7) % base).unwrap_or(0)]));
    name
}

/// What a revision keeps: a patch that puts the template back.
pub fn data(template: &PodTemplateSpec) -> Value {
    let mut template = json!(template);
    if let Value::Object(fields) = &mut template {
        fields.insert("$patch".into(), "replace".into());
    }
    json!({"spec": {"template": template}})
}

/// The template in a revision.
pub fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.get("spec")?.get("template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// The parent's revisions, oldest first.
pub fn list<P: Resource<DynamicType = ()>>(parent: &P, revisions: &Informer<ControllerRevision>) -> Vec<Arc<ControllerRevision>> {
    let mut own = revisions.owned_by(&parent.uid().unwrap_or_default());
    own.sort_by_key(|r| (r.revision, r.name_any()));
    own
}

/// The revision of the parent's present template, made or moved to the newest number where it is not.
pub async fn current<P>(
    context: &Context,
    parent: &P,
    template: &PodTemplateSpec,
    known: &[Arc<ControllerRevision>],
) -> Result<Arc<ControllerRevision>, kube::Error>
where
    P: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let data = data(template);
    let newest = known.last().map_or(0, |r| r.revision);
    let api = context.api::<ControllerRevision>(&parent.namespace().unwrap_or_default());
    if let Some(same) = known.iter().rev().find(|r| r.data.as_ref().is_some_and(|d| d.0 == data)) {
        if same.revision == newest {
            return Ok(same.clone());
        }
        // A rollback: the old content is the newest revision again.
        let patch = json!({"revision": newest + 1});
        return Ok(Arc::new(api.patch(&same.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?));
    }
    for collision in 0.. {
        let hash = hash(&data, collision);
        let labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", parent.name_any())),
                labels: Some(labels.into_iter().chain([(HASH_LABEL.to_string(), hash.clone())]).collect::<BTreeMap<_, _>>()),
                owner_references: Some(vec![controlled_by(parent)]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(data.clone())),
            revision: newest + 1,
        };
        match api.create(&PostParams::default(), &revision).await {
            Ok(created) => return Ok(Arc::new(created)),
            Err(error) if code(&error) == 409 => {
                let Some(there) = if_there(api.get(&revision.name_any()).await)? else { continue };
                let ours = controller_of(&there.metadata).is_some_and(|o| Some(&o.uid) == parent.uid().as_ref());
                if ours && there.data.as_ref().is_some_and(|d| d.0 == data) {
                    return Ok(Arc::new(there));
                }
            }
            Err(error) => return Err(error),
        }
    }
    unreachable!("the collision count has no end")
}

/// Removes the oldest revisions beyond the limit that no pod is of.
pub async fn trim(context: &Context, known: &[Arc<ControllerRevision>], live: &BTreeSet<String>, limit: i32) -> Result<(), kube::Error> {
    let unused: Vec<_> = known.iter().filter(|r| !live.contains(&r.name_any())).collect();
    let surplus = unused.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    for revision in unused.into_iter().take(surplus) {
        let api = context.api::<ControllerRevision>(&revision.namespace().unwrap_or_default());
        if_there(api.delete(&revision.name_any(), &DeleteParams::default()).await)?;
    }
    Ok(())
}

/// The hash part of a revision's name, which the pods of it carry as a label.
pub fn label(revision: &ControllerRevision) -> String {
    revision.labels().get(HASH_LABEL).cloned().unwrap_or_else(|| revision.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_steady_and_tells_contents_and_collisions_apart() {
        let hashes: BTreeSet<String> = (0..50).map(|i| hash(&json!({"image": format!("x:{i}")}), 0)).collect();
        assert_eq!(hashes.len(), 50);
        assert_eq!(hash(&json!({"a": 1}), 0), hash(&json!({"a": 1}), 0));
        assert_ne!(hash(&json!({"a": 1}), 0), hash(&json!({"a": 1}), 1));
    }

    #[test]
    fn a_template_comes_back_out_of_its_revision() {
        let template: PodTemplateSpec = serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "image": "i"}]}})).unwrap();
        let revision = ControllerRevision { data: Some(RawExtension(data(&template))), ..ControllerRevision::default() };
        assert_eq!(super::template(&revision), Some(template));
    }
}
