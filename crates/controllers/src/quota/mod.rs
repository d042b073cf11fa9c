//! ResourceQuotas: what is used, counted anew whenever something that counts comes or goes. The API
//! server charges what is created; what is given back only this loop notices.

mod usage;

use crate::Context;
use crate::context::{if_there, itself};
use crate::pods;
use client::{Change, Informer, Key, Object, Queue};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, ReplicationController, ResourceQuota, Secret, Service};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use meta::quantity::Quantity;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use usage::Amounts;

/// What no change tells of is put right at the latest then.
const RESYNC: Duration = Duration::from_secs(300);

macro_rules! counted {
    ($($field:ident: $kind:ty = $($name:literal),+;)*) => {
        #[derive(Clone)]
        struct Counted {
            $($field: Informer<$kind>,)*
        }

        impl Counted {
            async fn start(context: &Context, queue: &Queue<Key>, quotas: &Informer<ResourceQuota>) -> Self {
                let counted = Self { $($field: context.informers.of::<$kind>(),)* };
                $(counted.$field.synced().await;)*
                $(context.feed(&counted.$field, queue, concerned(quotas, |_, _| false));)*
                counted
            }

            /// How many there are of a resource that is only counted.
            fn count(&self, namespace: &str, resource: &str) -> Option<usize> {
                $(if [$($name),+].contains(&resource) {
                    return Some(self.$field.list_in(namespace).len());
                })*
                None
            }
        }
    };
}

counted! {
    config_maps: PartialObjectMeta<ConfigMap> = "configmaps", "count/configmaps";
    secrets: PartialObjectMeta<Secret> = "secrets", "count/secrets";
    controllers: ReplicationController = "replicationcontrollers", "count/replicationcontrollers";
    deployments: Deployment = "count/deployments.apps";
    sets: ReplicaSet = "count/replicasets.apps";
    stateful: StatefulSet = "count/statefulsets.apps";
    daemons: DaemonSet = "count/daemonsets.apps";
    jobs: Job = "count/jobs.batch";
    crons: CronJob = "count/cronjobs.batch";
    quotas: ResourceQuota = "resourcequotas", "count/resourcequotas";
}

/// The quotas of the namespace in which something came, went, or changed what it uses.
fn concerned<K: Object>(
    quotas: &Informer<ResourceQuota>,
    differs: impl Fn(&K, &K) -> bool + Send + 'static,
) -> impl Fn(&Change<K>) -> Vec<Key> + Send + 'static {
    let quotas = quotas.clone();
    move |change| {
        // What is new has been counted before it was stored.
        let due = match (&change.old, &change.new) {
            (Some(old), Some(new)) => differs(old, new),
            (old, _) => old.is_some(),
        };
        if !due {
            return Vec::new();
        }
        let namespace = change.object().and_then(|o| o.meta().namespace.clone()).unwrap_or_default();
        quotas.list_in(&namespace).iter().map(|q| Key::of(&**q)).collect()
    }
}

/// A quota is new, asks for something else, or its status speaks of something else than it asks for.
fn is_due(change: &Change<ResourceQuota>) -> bool {
    let asked = |quota: &ResourceQuota| quota.spec.as_ref().and_then(|s| s.hard.clone()).unwrap_or_default();
    let told = |quota: &ResourceQuota| quota.status.as_ref().and_then(|s| s.hard.clone()).unwrap_or_default();
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => old.spec != new.spec || asked(new) != told(new),
        (_, new) => new.is_some(),
    }
}

#[derive(Clone)]
struct Quotas {
    context: Context,
    quotas: Informer<ResourceQuota>,
    pods: Informer<Pod>,
    services: Informer<Service>,
    claims: Informer<PersistentVolumeClaim>,
    counted: Counted,
}

pub async fn run(context: Context) {
    let of = &context.informers;
    let (quotas, all_pods) = (of.of::<ResourceQuota>(), of.of::<Pod>());
    let (services, claims) = (of.of::<Service>(), of.of::<PersistentVolumeClaim>());
    tokio::join!(quotas.synced(), all_pods.synced(), services.synced(), claims.synced());
    let queue: Queue<Key> = Queue::new();
    let counted = Counted::start(&context, &queue, &quotas).await;
    // What admission has counted is newer than the caches here; counting after it would take it back.
    context.feed(&quotas, &queue, |change: &Change<ResourceQuota>| if is_due(change) { itself(change) } else { Vec::new() });
    let scope = |p: &Pod| p.spec.as_ref().and_then(|s| s.active_deadline_seconds);
    let resized = |a: &Pod, b: &Pod| a.metadata.generation != b.metadata.generation;
    context.feed(
        &all_pods,
        &queue,
        concerned(&quotas, move |a, b| pods::finished(a) != pods::finished(b) || scope(a) != scope(b) || resized(a, b)),
    );
    context.feed(&services, &queue, concerned(&quotas, |a: &Service, b: &Service| a.spec != b.spec));
    context.feed(&claims, &queue, concerned(&quotas, |a: &PersistentVolumeClaim, b: &PersistentVolumeClaim| a.spec != b.spec));
    let stop = context.stop.clone();
    let all = Quotas { context, quotas, pods: all_pods, services, claims, counted };
    tokio::spawn(resync(all.quotas.clone(), queue.clone(), stop.clone()));
    client::run("resourcequota", queue, 2, stop, move |key: Key| {
        let all = all.clone();
        async move {
            match all.quotas.get(&key.namespace, &key.name) {
                Some(quota) if quota.metadata.deletion_timestamp.is_none() => all.recount(&quota).await,
                _ => Ok(None),
            }
        }
    })
    .await;
}

async fn resync(quotas: Informer<ResourceQuota>, queue: Queue<Key>, stop: tokio_util::sync::CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(RESYNC)).await.is_some() {
        quotas.list().iter().for_each(|q| queue.add(Key::of(&**q)));
    }
}

impl Quotas {
    async fn recount(&self, quota: &ResourceQuota) -> Result<Option<Duration>, kube::Error> {
        let namespace = quota.namespace().unwrap_or_default();
        let hard: BTreeMap<String, Text> = quota.spec.as_ref().and_then(|s| s.hard.clone()).unwrap_or_default();
        let old = quota.status.clone().unwrap_or_default();
        let mut total = Amounts::new();
        for pod in self.pods.list_in(&namespace).iter().filter(|p| !pods::finished(p) && usage::covers(quota, p)) {
            usage::pod(&json!(**pod), &mut total);
        }
        if !usage::scoped(quota) {
            self.services.list_in(&namespace).iter().for_each(|s| usage::service(&json!(**s), &mut total));
            self.claims.list_in(&namespace).iter().for_each(|c| usage::claim(&json!(**c), &mut total));
        }
        let mut used: BTreeMap<String, Text> = BTreeMap::new();
        for name in hard.keys() {
            let value = match self.counted.count(&namespace, name) {
                Some(count) => Quantity::new(i64::try_from(count).unwrap_or(i64::MAX)).to_string(),
                None => match total.get(name) {
                    Some(amount) => amount.to_string(),
                    // Of a kind not watched here only the API server's charges are known.
                    None if name.starts_with("count/") => {
                        old.used.as_ref().and_then(|u| u.get(name)).map_or_else(|| "0".into(), |q| q.0.clone())
                    }
                    None => "0".into(),
                },
            };
            used.insert(name.clone(), Text(value));
        }
        if old.hard.unwrap_or_default() == hard && same(&old.used.clone().unwrap_or_default(), &used) {
            return Ok(None);
        }
        let mut status = json!({"hard": hard, "used": used});
        // What the quota limits no more is taken out of both.
        for (part, known) in [("hard", quota.status.as_ref().and_then(|s| s.hard.as_ref())), ("used", old.used.as_ref())] {
            for name in known.into_iter().flat_map(BTreeMap::keys).filter(|n| !hard.contains_key(*n)) {
                status[part][name] = Value::Null;
            }
        }
        // On the revision it was counted on: a charge made meanwhile is counted next time.
        let patch = json!({"metadata": {"resourceVersion": quota.resource_version()}, "status": status});
        let api = self.context.api::<ResourceQuota>(&namespace);
        if_there(api.patch_status(&quota.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await)?;
        Ok(None)
    }
}

fn same(a: &BTreeMap<String, Text>, b: &BTreeMap<String, Text>) -> bool {
    let value = |t: &Text| Quantity::parse(&t.0).ok();
    a.len() == b.len() && a.iter().all(|(name, amount)| b.get(name).is_some_and(|other| value(other) == value(amount)))
}
