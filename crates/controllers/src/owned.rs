//! Which objects a parent has: those it controls and still selects, those without a controller that it
//! selects and may adopt. What it controls and no longer selects it lets go.

use crate::context::if_there;
use crate::pods::{controlled_by, controller_of, selects};
use client::{Informer, Object};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use std::sync::Arc;

/// The children of `parent`, after adopting and releasing. `api` is of the children's namespace.
pub async fn claim<P, C>(parent: &P, selector: &LabelSelector, children: &Informer<C>, api: &Api<C>) -> Result<Vec<Arc<C>>, kube::Error>
where
    P: Resource<DynamicType = ()>,
    C: Object + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let uid = parent.uid().unwrap_or_default();
    let namespace = parent.namespace().unwrap_or_default();
    let mut claimed = Vec::new();
    for child in children.list_in(&namespace) {
        let selected = selects(selector, child.labels());
        match controller_of(child.meta()) {
            Some(owner) if owner.uid == uid => {
                if selected {
                    claimed.push(child);
                } else if parent.meta().deletion_timestamp.is_none() {
                    release(&*child, &uid, api).await?;
                }
            }
            Some(_) => {}
            None if selected && parent.meta().deletion_timestamp.is_none() && child.meta().deletion_timestamp.is_none() => {
                if let Some(adopted) = adopt(parent, &*child, api).await? {
                    claimed.push(Arc::new(adopted));
                }
            }
            None => {}
        }
    }
    claimed.sort_by_key(|c| c.name_any());
    Ok(claimed)
}

async fn adopt<P, C>(parent: &P, child: &C, api: &Api<C>) -> Result<Option<C>, kube::Error>
where
    P: Resource<DynamicType = ()>,
    C: Object,
{
    let mut owners = child.meta().owner_references.clone().unwrap_or_default();
    owners.push(controlled_by(parent));
    write_owners(child, owners, api).await
}

async fn release<C: Object>(child: &C, uid: &str, api: &Api<C>) -> Result<(), kube::Error> {
    let mut owners = child.meta().owner_references.clone().unwrap_or_default();
    owners.retain(|o| o.uid != uid);
    write_owners(child, owners, api).await.map(drop)
}

/// With the uid and revision the decision was made on: somebody else's decision is not overwritten.
async fn write_owners<C, O>(child: &C, owners: O, api: &Api<C>) -> Result<Option<C>, kube::Error>
where
    C: Object,
    O: serde::Serialize,
{
    let patch = json!({"metadata": {"uid": child.uid(), "resourceVersion": child.resource_version(), "ownerReferences": owners}});
    if_there(api.patch(&child.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await)
}
