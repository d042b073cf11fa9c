//! Follows the APIServices and keeps the aggregator's table; a task for each server looks after it.

use super::availability::{self, Condition};
use super::remote::Remote;
use super::{Aggregator, Document, GROUP, discovery, openapi, proxy, registration};
use crate::objects::ObjectChange;
use crate::server::ApiServer;
use meta::{GroupResource, value};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Servers go away without telling.
const AGAIN: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// What a server serves is asked for anew after this long.
const REFRESH: Duration = Duration::from_secs(60);

struct Keeper {
    spec: Value,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs until `stop`.
pub async fn run(server: ApiServer, stop: CancellationToken) {
    let objects = server.objects();
    let resource = GroupResource::new(GROUP, "apiservices");
    let mut registrations = objects.changes(&resource);
    let mut services = objects.changes(&GroupResource::new("", "services"));
    let mut slices = objects.changes(&GroupResource::new("discovery.k8s.io", "endpointslices"));
    let registered = tokio::spawn(stop.clone().run_until_cancelled_owned(registration::run(server.clone())));
    let mut keepers: HashMap<String, Keeper> = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            change = registrations.recv() => {
                if change.is_none() { break }
                while registrations.try_recv().is_ok() {}
                settle(&server, &resource, &mut keepers).await;
            }
            change = services.recv() => {
                let Some(change) = change else { break };
                wake(&keepers, &change, |o| o.name().to_string());
            }
            change = slices.recv() => {
                let Some(change) = change else { break };
                wake(&keepers, &change, |o| o.label("kubernetes.io/service-name").unwrap_or_default().to_string());
            }
        }
    }
    registered.abort();
}

fn wake(keepers: &HashMap<String, Keeper>, change: &ObjectChange, service: impl Fn(&crate::objects::Object) -> String) {
    if keepers.is_empty() {
        return;
    }
    let Some(object) = change.new.as_ref().or(change.old.as_ref()) else { return };
    let name = service(object);
    let about = |k: &&Keeper| {
        let service = &k.spec["service"];
        value::text(service, &["namespace"]) == object.namespace() && value::text(service, &["name"]) == name
    };
    keepers.values().filter(about).for_each(|k| k.wake.notify_one());
}

/// Brings the table up to date and starts or ends tasks.
async fn settle(server: &ApiServer, resource: &GroupResource, keepers: &mut HashMap<String, Keeper>) {
    let aggregator = &server.inner.aggregator;
    let before = aggregator.remotes.read().clone();
    let mut remotes = Vec::new();
    let mut local = Vec::new();
    for object in server.objects().list(resource, None) {
        let old = before.iter().find(|r| r.name == object.name());
        let value = object.value();
        match Remote::of(&value, aggregator.identity.as_ref(), old.map(|r| &**r)) {
            Some(remote) => remotes.push(Arc::new(remote)),
            None => local.push(object.name().to_string()),
        }
    }
    let remotes = Arc::new(remotes);
    *aggregator.remotes.write() = remotes.clone();
    keepers.retain(|name, keeper| remotes.iter().any(|r| r.name == *name && r.spec == keeper.spec));
    aggregator.documents.write().retain(|name, _| remotes.iter().any(|r| r.name == *name));
    for remote in remotes.iter() {
        keepers.entry(remote.name.clone()).or_insert_with(|| {
            let wake = Arc::new(Notify::new());
            let task = tokio::spawn(keep(server.clone(), remote.name.clone(), wake.clone()));
            Keeper { spec: remote.spec.clone(), wake, task }
        });
    }
    for name in local {
        if let Err(error) = availability::write(server, &name, &Condition::local()).await {
            tracing::debug!(apiservice = name, %error, "a condition could not be written");
        }
    }
}

async fn keep(server: ApiServer, name: String, wake: Arc<Notify>) {
    let aggregator: &Aggregator = &server.inner.aggregator;
    let mut retry = FIRST_RETRY;
    let mut fetched: Option<Instant> = None;
    loop {
        let Some(remote) = aggregator.remotes.read().iter().find(|r| r.name == name).cloned() else { return };
        let condition = availability::check(&server, &remote).await;
        let wrote = availability::write(&server, &name, &condition).await;
        let mut good = condition.good() && wrote.is_ok();
        if condition.good() {
            if fetched.is_none_or(|t| t.elapsed() >= REFRESH) {
                let whole = learn(&server, aggregator, &remote).await;
                good &= whole;
                fetched = whole.then(Instant::now);
            }
        } else {
            fetched = None;
            remember(aggregator, &name, None);
        }
        let wait = if good { AGAIN } else { retry };
        retry = if good { FIRST_RETRY } else { (retry * 2).min(AGAIN) };
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Asks a server what it serves, and how that looks. Whether it told all of it.
async fn learn(server: &ApiServer, aggregator: &Aggregator, remote: &Remote) -> bool {
    let target = proxy::target(server, remote).ok();
    let found = match &target {
        Some(target) => discovery::fetch(target, remote).await,
        None => None,
    };
    let told = found.is_some();
    remember(aggregator, &remote.name, found);
    let Some(target) = target.filter(|_| told) else { return false };
    let known = aggregator.documents.read().get(&remote.name).and_then(|document| document.older.clone());
    let Ok(older) = openapi::fetch(&target, remote, known).await else { return false };
    if let Some(document) = aggregator.documents.write().get_mut(&remote.name) {
        document.older = older;
    }
    true
}

/// What was known stays, marked, when nothing new is.
fn remember(aggregator: &Aggregator, name: &str, found: Option<Document>) {
    let mut documents = aggregator.documents.write();
    let there = documents.entry(name.to_string()).or_default();
    match found {
        Some(document) => *there = Document { older: there.older.take(), ..document },
        None => there.stale = true,
    }
}
