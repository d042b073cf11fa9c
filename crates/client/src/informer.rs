//! Shared informers: one watch and one cache per kind (and selector) in a process, however many loops
//! look at it. Objects are parsed once and shared.

use crate::Key;
use futures::StreamExt;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Every top-level kind of the typed API.
pub trait Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}
impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static> Object for K {}

/// One change of one object. `old` is what the cache held before.
#[derive(Debug)]
pub struct Change<K> {
    pub old: Option<Arc<K>>,
    /// `None` when it is gone.
    pub new: Option<Arc<K>>,
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        Self { old: self.old.clone(), new: self.new.clone() }
    }
}

impl<K> Change<K> {
    /// The newest state there is of the object.
    pub fn object(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

type Selection = (TypeId, Option<String>, Option<String>);

/// The informers of a process (or of one identity in it).
#[derive(Clone)]
pub struct Informers {
    client: Client,
    started: Arc<Mutex<HashMap<Selection, Arc<dyn Any + Send + Sync>>>>,
}

impl Informers {
    pub fn new(client: Client) -> Self {
        Self { client, started: Arc::default() }
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The informer of all objects of a kind; the first call starts its watch.
    pub fn of<K: Object>(&self) -> Informer<K> {
        self.selected(None, None)
    }

    /// The informer of the objects that selectors choose; its own watch per distinct pair.
    pub fn selected<K: Object>(&self, labels: Option<&str>, fields: Option<&str>) -> Informer<K> {
        let selection = (TypeId::of::<K>(), labels.map(str::to_string), fields.map(str::to_string));
        let mut started = self.started.lock();
        let entry = started.entry(selection).or_insert_with(|| {
            let shared = Arc::new(Shared::<K>::new());
            let (label_selector, field_selector) = (labels.map(str::to_string), fields.map(str::to_string));
            let config = watcher::Config { label_selector, field_selector, ..watcher::Config::default() };
            tokio::spawn(follow(Api::all(self.client.clone()), config, shared.clone()));
            shared
        });
        let shared = entry.clone().downcast::<Shared<K>>().expect("the key holds the type's id");
        Informer { shared }
    }
}

struct Shared<K> {
    state: RwLock<State<K>>,
    synced: watch::Sender<bool>,
}

struct State<K> {
    objects: HashMap<Key, Arc<K>>,
    by_uid: HashMap<String, Key>,
    by_owner: HashMap<String, HashSet<Key>>,
    subscribers: Vec<mpsc::UnboundedSender<Change<K>>>,
}

impl<K: Object> Shared<K> {
    fn new() -> Self {
        let state = State { objects: HashMap::new(), by_uid: HashMap::new(), by_owner: HashMap::new(), subscribers: Vec::new() };
        Self { state: RwLock::new(state), synced: watch::Sender::new(false) }
    }
}

impl<K: Object> State<K> {
    fn put(&mut self, object: K) {
        let key = Key::of(&object);
        let new = Arc::new(object);
        let old = self.objects.insert(key.clone(), new.clone());
        if let Some(old) = &old {
            if old.meta().resource_version.is_some() && old.meta().resource_version == new.meta().resource_version {
                return;
            }
            self.unindex(&key, old);
        }
        if let Some(uid) = new.uid() {
            self.by_uid.insert(uid, key.clone());
        }
        if let Some(owner) = controller_uid(&*new) {
            self.by_owner.entry(owner.to_string()).or_default().insert(key);
        }
        self.tell(Change { old, new: Some(new) });
    }

    fn remove(&mut self, key: &Key, last: Option<K>) {
        let Some(old) = self.objects.remove(key) else { return };
        self.unindex(key, &old);
        // The deletion carries the last state, which may be newer than the cached one.
        self.tell(Change { old: Some(last.map_or(old, Arc::new)), new: None });
    }

    fn unindex(&mut self, key: &Key, old: &Arc<K>) {
        if let Some(uid) = old.uid() {
            self.by_uid.remove(&uid);
        }
        if let Some(owner) = controller_uid(&**old)
            && let Some(keys) = self.by_owner.get_mut(owner)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(owner);
            }
        }
    }

    fn tell(&mut self, change: Change<K>) {
        self.subscribers.retain(|s| s.send(change.clone()).is_ok());
    }
}

fn controller_uid<K: Resource>(object: &K) -> Option<&str> {
    let owners = object.meta().owner_references.as_deref()?;
    owners.iter().find(|o| o.controller == Some(true)).map(|o| o.uid.as_str())
}

/// Keeps the cache in line with the server until the process ends; a broken watch is resumed, or
/// relisted with the difference told as changes.
async fn follow<K: Object>(api: Api<K>, config: watcher::Config, shared: Arc<Shared<K>>) {
    let mut stream = watcher(api, config).boxed();
    let mut listed: HashSet<Key> = HashSet::new();
    let mut failures = 0u32;
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(mut object)) => {
                object.meta_mut().managed_fields = None;
                listed.insert(Key::of(&object));
                shared.state.write().put(object);
            }
            Ok(watcher::Event::InitDone) => {
                failures = 0;
                let mut state = shared.state.write();
                let gone: Vec<Key> = state.objects.keys().filter(|k| !listed.contains(*k)).cloned().collect();
                for key in gone {
                    state.remove(&key, None);
                }
                drop(state);
                listed = HashSet::new();
                shared.synced.send_replace(true);
            }
            Ok(watcher::Event::Apply(mut object)) => {
                failures = 0;
                object.meta_mut().managed_fields = None;
                shared.state.write().put(object);
            }
            Ok(watcher::Event::Delete(mut object)) => {
                object.meta_mut().managed_fields = None;
                shared.state.write().remove(&Key::of(&object), Some(object));
            }
            Err(error) => {
                failures += 1;
                if failures > 3 {
                    tracing::warn!(kind = %K::kind(&()), %error, "watch interrupted");
                } else {
                    tracing::debug!(kind = %K::kind(&()), %error, "watch interrupted");
                }
                tokio::time::sleep(Duration::from_millis(50 << failures.min(8))).await;
            }
        }
    }
}

/// A view of the shared cache of one kind.
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Object> Informer<K> {
    /// Returns after the first complete list.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives as long as `shared`, which this borrow holds.
        let _ = synced.wait_for(|done| *done).await;
    }

    /// `namespace` is empty for cluster-scoped kinds.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.shared.state.read().objects.get(&Key::new(namespace, name)).cloned()
    }

    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.state.read().objects.values().cloned().collect()
    }

    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.shared.state.read();
        state.objects.iter().filter(|(k, _)| k.namespace == namespace).map(|(_, o)| o.clone()).collect()
    }

    /// Objects whose controller owner reference has this uid.
    pub fn owned_by(&self, owner_uid: &str) -> Vec<Arc<K>> {
        let state = self.shared.state.read();
        let keys = state.by_owner.get(owner_uid);
        keys.into_iter().flatten().filter_map(|k| state.objects.get(k).cloned()).collect()
    }

    pub fn by_uid(&self, uid: &str) -> Option<Arc<K>> {
        let state = self.shared.state.read();
        state.by_uid.get(uid).and_then(|k| state.objects.get(k)).cloned()
    }

    /// One change per object now cached, then every change there is.
    pub fn changes(&self) -> mpsc::UnboundedReceiver<Change<K>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.shared.state.write();
        for object in state.objects.values() {
            // The receiver is in our hands, so this cannot fail.
            let _ = sender.send(Change { old: None, new: Some(object.clone()) });
        }
        state.subscribers.push(sender);
        receiver
    }
}

#[cfg(test)]
mod tests;
