//! The end of a namespace: everything in it goes, then the finalizer that held it.

use crate::Context;
use crate::context::{code, itself};
use client::{Key, Queue};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams, PropagationPolicy};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const FINALIZER: &str = "kubernetes";
/// Looked at again while something is still going, besides the pods that tell by themselves.
const AGAIN: Duration = Duration::from_secs(2);
/// Where the looking again slows down to: what is still there waits for somebody else.
const SELDOM: Duration = Duration::from_secs(10);

pub async fn run(context: Context) {
    let namespaces = context.informers.of::<Namespace>();
    let pods = context.informers.of::<Pod>();
    tokio::join!(namespaces.synced(), pods.synced());
    let queue: Queue<Key> = Queue::new();
    context.feed(&namespaces, &queue, itself);
    let terminating = namespaces.clone();
    context.feed(&pods, &queue, move |change| {
        let gone = change.new.is_none().then(|| change.old.as_ref().and_then(|p| p.namespace())).flatten();
        let going = gone.filter(|n| terminating.get("", n).is_some_and(|n| n.metadata.deletion_timestamp.is_some()));
        going.map(|name| Key::new("", name)).into_iter().collect()
    });
    let stop = context.stop.clone();
    client::run("namespace", queue, 2, stop, move |key: Key| {
        let (context, namespaces) = (context.clone(), namespaces.clone());
        async move {
            match namespaces.get("", &key.name) {
                Some(namespace) if namespace.metadata.deletion_timestamp.is_some() => finish(&context, &namespace).await,
                _ => Ok(None),
            }
        }
    })
    .await;
}

async fn finish(context: &Context, namespace: &Namespace) -> Result<Option<Duration>, kube::Error> {
    let name = namespace.name_any();
    let held = namespace.spec.iter().flat_map(|s| s.finalizers.iter().flatten()).any(|f| f == FINALIZER);
    if !held {
        return Ok(None);
    }
    let (mut resources, unknown) = namespaced(context).await;
    let mut failure = None;
    // Pods go first, and alone: what they use is there for as long as they run.
    resources.sort_by_key(|r| !is_pods(r));
    let mut remaining = Vec::new();
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for resource in &resources {
        let api: Api<DynamicObject> = Api::namespaced_with(context.client(), &name, resource);
        match empty(&api).await {
            Ok(left) if left.is_empty() => {}
            Ok(left) => {
                remaining.push(format!("{} has {} resource instances", group_resource(resource), left.len()));
                for finalizer in left.into_iter().flat_map(|o| o.metadata.finalizers.unwrap_or_default()) {
                    *finalizers.entry(finalizer).or_default() += 1;
                }
                if is_pods(resource) {
                    break;
                }
            }
            Err(error) if matches!(code(&error), 404 | 405) => {}
            Err(error) => failure = failure.or(Some(crate::context::said(&error))),
        }
    }
    if remaining.is_empty() && failure.is_none() && unknown.is_none() {
        let mut body = namespace.clone();
        if let Some(spec) = &mut body.spec {
            spec.finalizers.iter_mut().for_each(|f| f.retain(|f| f != FINALIZER));
        }
        // The newest state is the server's to know; what is finalized is named by its uid.
        body.metadata.resource_version = None;
        let api: Api<Namespace> = context.all();
        return match api.replace_subresource("finalize", &name, &PostParams::default(), &body).await {
            Ok(_) => Ok(None),
            Err(error) if code(&error) == 404 => Ok(None),
            Err(error) => Err(error),
        };
    }
    tell(context, namespace, &remaining, &finalizers, unknown, failure).await?;
    let since = namespace.metadata.deletion_timestamp.as_ref().map_or(0, |t| Timestamp::now().as_second() - t.0.as_second());
    Ok(Some(again(since)))
}

/// The longer a namespace has been going, the less often it is looked at.
fn again(since: i64) -> Duration {
    Duration::from_secs(u64::try_from(since / 3).unwrap_or(0)).clamp(AGAIN, SELDOM)
}

/// Says in conditions what is still there and why.
async fn tell(
    context: &Context,
    namespace: &Namespace,
    remaining: &[String],
    finalizers: &BTreeMap<String, usize>,
    unknown: Option<String>,
    failure: Option<String>,
) -> Result<(), kube::Error> {
    let held: Vec<String> = finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let content = (!remaining.is_empty()).then(|| format!("Some resources are remaining: {}", remaining.join(", ")));
    let held = (!held.is_empty()).then(|| format!("Some content in the namespace has finalizers remaining: {}", held.join(", ")));
    // Per condition: what is said when it holds, and the reason and text when it does not.
    let wanted: Vec<(&str, bool, &str, String)> = [
        ("DeletionDiscoveryFailure", "DiscoveryFailed", unknown, "ResourcesDiscovered", "All resources successfully discovered"),
        ("DeletionGroupVersionParsingFailure", "", None, "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        (
            "DeletionContentFailure",
            "ContentDeletionFailed",
            failure,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("ContentRemaining", "SomeResourcesRemain", content, "ContentRemoved", "All content successfully removed"),
        ("FinalizersRemaining", "SomeFinalizersRemain", held, "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    ]
    .into_iter()
    .map(|(ty, yes, said, no, otherwise)| match said {
        Some(text) => (ty, true, yes, text),
        None => (ty, false, no, otherwise.to_string()),
    })
    .collect();
    let there = namespace.status.iter().flat_map(|s| s.conditions.iter().flatten()).collect::<Vec<_>>();
    let same = |ty: &str, status: &str, text: &str| {
        there.iter().any(|c| c.type_.strip_prefix("Namespace") == Some(ty) && c.status == status && c.message.as_deref() == Some(text))
    };
    let word = |on: bool| if on { "True" } else { "False" };
    if wanted.iter().all(|(ty, on, _, text)| same(ty, word(*on), text)) {
        return Ok(());
    }
    let now = meta::time::now();
    let conditions: Vec<Value> = wanted
        .iter()
        .map(
            |(ty, on, reason, text)| json!({"type": format!("Namespace{ty}"), "status": word(*on), "reason": reason, "message": text, "lastTransitionTime": now}),
        )
        .collect();
    let patch = kube::api::Patch::Strategic(json!({"status": {"conditions": conditions}}));
    let api: Api<Namespace> = context.all();
    crate::context::if_there(api.patch_status(&namespace.name_any(), &Default::default(), &patch).await).map(drop)
}

/// Deletes all there is, and answers what has not gone at once.
async fn empty(api: &Api<DynamicObject>) -> Result<Vec<DynamicObject>, kube::Error> {
    let found = api.list(&ListParams::default()).await?.items;
    if found.iter().any(|o| o.metadata.deletion_timestamp.is_none()) {
        let options = DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
        match api.delete_collection(&options, &ListParams::default()).await {
            Err(error) if code(&error) == 405 => {}
            other => drop(other?),
        }
    } else {
        return Ok(found);
    }
    Ok(api.list(&ListParams::default()).await?.items)
}

fn is_pods(resource: &ApiResource) -> bool {
    resource.group.is_empty() && resource.plural == "pods"
}

fn group_resource(resource: &ApiResource) -> String {
    if resource.group.is_empty() { format!("{}.", resource.plural) } else { format!("{}.{}", resource.plural, resource.group) }
}

/// Every namespaced resource that can be listed and deleted, one version each; what could not be asked.
async fn namespaced(context: &Context) -> (Vec<ApiResource>, Option<String>) {
    match kube::discovery::Discovery::new(context.client()).run_aggregated().await {
        Ok(discovery) => {
            let resources = discovery.groups().flat_map(|g| g.recommended_resources());
            let wanted = resources.filter(|(_, c)| {
                c.scope == kube::discovery::Scope::Namespaced && c.supports_operation("list") && c.supports_operation("delete")
            });
            (wanted.map(|(r, _)| r).collect(), None)
        }
        Err(error) => {
            let pods = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
            (vec![pods], Some(format!("discovery failed: {}", crate::context::said(&error))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_stays_is_looked_at_less_often() {
        assert_eq!(again(0), AGAIN);
        assert_eq!(again(-5), AGAIN);
        assert_eq!(again(15), Duration::from_secs(5));
        assert_eq!(again(3600), SELDOM);
    }
}
