//! The objects of one kind, in key order, and its latest events.

use super::written::Written;
use super::{Event, encode};
use crate::encryption::Transformer;
use crate::objects::{Object, ObjectChange};
use kinds::Kind;
use meta::ApiError;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{KeyValue, Revision, WatchRequest};
use tokio::sync::{mpsc, watch};

/// Events are kept for this long, so that a client that lost its connection can go on.
const KEEP: Duration = Duration::from_secs(120);
/// Some are kept whatever their age.
const KEEP_LEAST: usize = 256;
const KEEP_MOST: usize = 16 * 1024;
const KEEP_BYTES: usize = 24 << 20;

pub struct Cache {
    /// Below `/registry`.
    prefix: String,
    kind: RwLock<Arc<dyn Kind>>,
    /// Between what is stored and what is read.
    transformer: RwLock<Arc<Transformer>>,
    state: RwLock<State>,
    /// What is being written by this server, by the key of the object.
    pub(super) lent: Mutex<HashMap<String, Written>>,
    /// How far the feed has come, over all kinds.
    progress: watch::Receiver<Revision>,
    /// Raised with every event, and once when the cache is closed.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// By `namespace/name`, or `name`.
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    /// What is stored and cannot be read: it is no object here, and not nothing either.
    unreadable: BTreeMap<Arc<str>, Unreadable>,
    /// How the encrypted objects are stored: by which provider and key.
    sealed: HashMap<Arc<str>, Arc<str>>,
    /// Of the last event here, or of the reading that filled the cache.
    revision: Revision,
    /// Events up to this revision are in the objects already and are skipped.
    loaded: Revision,
    ring: VecDeque<(Instant, Arc<Event>)>,
    ring_bytes: usize,
    /// Every event after this revision is in the ring.
    ring_after: Revision,
    /// How many events there have been; the ring holds the last of them.
    count: u64,
    taps: Vec<mpsc::UnboundedSender<ObjectChange>>,
    closed: bool,
}

struct Unreadable {
    why: String,
    stored: KeyValue,
}

/// An object as it was stored: read, with how it was stored, or why it cannot be.
pub(super) type Decoded = Result<(Object, Arc<str>), String>;

/// What a list is made of: the objects of one moment.
pub struct Snapshot {
    pub objects: Vec<Arc<Object>>,
    pub revision: Revision,
    /// More objects follow the last one.
    pub more: bool,
    /// How many, if they were counted.
    pub remaining: usize,
}

/// What the ring has for a watcher. Watchers count events rather than revisions, because one revision
/// can change several objects.
pub(super) enum Since {
    Events(Vec<Arc<Event>>),
    /// The ring begins later; its start.
    Gone(Revision),
    Closed,
}

pub(super) fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_string() } else { format!("{namespace}/{name}") }
}

impl Cache {
    pub(super) fn new(kind: Arc<dyn Kind>, transformer: Arc<Transformer>, progress: watch::Receiver<Revision>) -> Self {
        let prefix = kind.storage_prefix();
        let (kind, transformer) = (RwLock::new(kind), RwLock::new(transformer));
        Self { prefix, kind, transformer, state: RwLock::default(), lent: Mutex::default(), progress, changed: watch::Sender::new(0) }
    }

    pub fn transformer(&self) -> Arc<Transformer> {
        self.transformer.read().clone()
    }

    /// An error where there is something of this name that cannot be read.
    pub fn readable(&self, namespace: &str, name: &str) -> Result<(), ApiError> {
        match self.state.read().unreadable.get(key(namespace, name).as_str()) {
            Some(found) => Err(found.error()),
            None => Ok(()),
        }
    }

    /// An error where something of a namespace, or of all, cannot be read: a list without it would say that it is gone.
    pub fn all_readable(&self, namespace: Option<&str>) -> Result<(), ApiError> {
        let state = self.state.read();
        let prefix = namespace.map_or_else(String::new, |n| format!("{n}/"));
        let found = state.unreadable.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded)).next();
        match found.filter(|(key, _)| key.starts_with(&prefix)) {
            Some((_, found)) => Err(found.error()),
            None => Ok(()),
        }
    }

    /// Whether an object is stored in another way than it would be now.
    pub fn stale(&self, namespace: &str, name: &str) -> bool {
        let state = self.state.read();
        state.sealed.get(key(namespace, name).as_str()).map_or("", |s| s) != &**self.transformer.read().writes()
    }

    /// The store's key of an object.
    pub fn storage_key(&self, namespace: &str, name: &str) -> String {
        format!("/registry/{}/{}", self.prefix, key(namespace, name))
    }

    /// The store's keys of a namespace, or of all.
    pub fn storage_prefix(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) => format!("/registry/{}/{namespace}/", self.prefix),
            None => format!("/registry/{}/", self.prefix),
        }
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.state.read().objects.get(key(namespace, name).as_str()).cloned()
    }

    pub fn list(&self, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.snapshot(namespace, "", 0, |_| true).objects
    }

    pub fn count(&self) -> usize {
        self.state.read().objects.len()
    }

    /// The objects that `wanted` lets through, at most `limit` (0: all), whose key (`namespace/name`) is
    /// not before `start`.
    pub fn snapshot(&self, namespace: Option<&str>, start: &str, limit: usize, wanted: impl Fn(&Object) -> bool) -> Snapshot {
        let progress = *self.progress.borrow();
        let state = self.state.read();
        let revision = progress.max(state.revision);
        let prefix = namespace.map_or_else(String::new, |n| format!("{n}/"));
        let from = if start > prefix.as_str() { start } else { prefix.as_str() };
        let range = state.objects.range::<str, _>((Bound::Included(from), Bound::Unbounded));
        let mut matching = range.take_while(|(k, _)| k.starts_with(&prefix)).filter(|(_, o)| wanted(o)).map(|(_, o)| o);
        if limit == 0 {
            return Snapshot { objects: matching.cloned().collect(), revision, more: false, remaining: 0 };
        }
        let objects: Vec<_> = matching.by_ref().take(limit).cloned().collect();
        let remaining = matching.count();
        Snapshot { objects, revision, more: remaining > 0, remaining }
    }

    /// The newest revision that a read from here is as fresh as.
    pub fn revision(&self) -> Revision {
        let progress = *self.progress.borrow();
        progress.max(self.state.read().revision)
    }

    /// An object as the store had it at some moment. `previous` lends what has not changed.
    pub(super) fn decode(&self, kv: &KeyValue, previous: Option<&Object>) -> Decoded {
        let opened = self.transformer().open(&kv.value, &kv.key)?;
        let kind = self.kind();
        let value = encode::decode_stored(&*kind, &opened.plain, kv.mod_revision).ok_or("it is no JSON object")?;
        Ok((encode::object(&*kind, &value, kv.mod_revision, previous), opened.stored))
    }

    /// An object of the past.
    pub fn past(&self, kv: &KeyValue) -> Result<Object, store::Error> {
        self.decode(kv, None).map(|(object, _)| object).map_err(|why| store::Error::Corrupt(cannot_read(&kv.key, &why)))
    }

    /// Nothing here has changed after `revision`, and everything up to it is here.
    pub fn unchanged_since(&self, revision: Revision) -> bool {
        let progress = *self.progress.borrow();
        let state = self.state.read();
        state.revision <= revision && revision <= progress.max(state.revision)
    }

    pub fn changes(&self) -> mpsc::UnboundedReceiver<ObjectChange> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state.write();
        for object in state.objects.values() {
            // The receiver is held here, so it takes everything.
            let _ = sender.send(ObjectChange { old: None, new: Some(object.clone()) });
        }
        if !state.closed {
            state.taps.push(sender);
        }
        receiver
    }

    pub(super) fn progress(&self) -> watch::Receiver<Revision> {
        self.progress.clone()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn kind(&self) -> Arc<dyn Kind> {
        self.kind.read().clone()
    }

    /// Where in the count of events those after `revision` begin; `Err` is the revision where the ring begins.
    pub(super) fn position(&self, revision: Revision) -> Result<u64, Revision> {
        let state = self.state.read();
        if revision < state.ring_after {
            return Err(state.ring_after);
        }
        let after = state.ring.len() - state.ring.partition_point(|(_, e)| e.revision <= revision);
        Ok(state.count - after as u64)
    }

    /// The position after the last event, and a revision: the events before the position are those up to it.
    pub(super) async fn end(&self) -> (u64, Revision) {
        let mut progress = self.progress.clone();
        loop {
            let come = *progress.borrow_and_update();
            {
                let state = self.state.read();
                // Otherwise the feed is in the middle of a revision that has more events for this cache.
                if state.revision <= come {
                    return (state.count, come);
                }
            }
            if progress.changed().await.is_err() {
                let state = self.state.read();
                return (state.count, state.revision);
            }
        }
    }

    /// A watch on the store for what happened here from a revision on.
    pub(super) fn history(&self, from: Revision) -> WatchRequest {
        let start = self.storage_prefix(None);
        WatchRequest { end: store::prefix_end(&start), start, from, previous: true }
    }

    /// The objects of now, and the position after them.
    pub(super) fn begin(&self, namespace: Option<&str>) -> (Snapshot, u64) {
        let progress = *self.progress.borrow();
        let state = self.state.read();
        let prefix = namespace.map_or_else(String::new, |n| format!("{n}/"));
        let range = state.objects.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let objects = range.take_while(|(k, _)| k.starts_with(&prefix)).map(|(_, o)| o.clone()).collect();
        (Snapshot { objects, revision: progress.max(state.revision), more: false, remaining: 0 }, state.count)
    }

    /// The events from a position on.
    pub(super) fn since(&self, position: u64) -> Since {
        let state = self.state.read();
        if state.closed {
            return Since::Closed;
        }
        let behind = usize::try_from(state.count.saturating_sub(position)).unwrap_or(usize::MAX);
        let Some(first) = state.ring.len().checked_sub(behind) else {
            return Since::Gone(state.ring_after);
        };
        Since::Events(state.ring.range(first..).map(|(_, e)| e.clone()).collect())
    }

    /// Fills the empty cache.
    pub(super) fn load(&self, objects: impl Iterator<Item = KeyValue>, revision: Revision) {
        let root = self.storage_prefix(None).len();
        let mut loaded = State::default();
        for kv in objects {
            let (key, decoded) = (Arc::from(&kv.key[root..]), self.decode(&kv, None));
            loaded.take(key, decoded.map(|(object, stored)| (Arc::new(object), stored)), kv);
        }
        let mut state = self.state.write();
        state.objects = loaded.objects;
        state.unreadable = loaded.unreadable;
        state.sealed = loaded.sealed;
        state.revision = revision;
        state.loaded = revision;
        state.ring_after = revision;
    }

    /// Takes a change in; it has to be announced. `kv` is none for a deletion.
    pub(super) fn apply(&self, key: &str, revision: Revision, kv: Option<KeyValue>) {
        // Decoding happens outside of the lock; the feed is the only writer.
        let old = {
            let state = self.state.read();
            if revision <= state.loaded {
                return;
            }
            state.objects.get_key_value(key).map(|(k, o)| (k.clone(), o.clone()))
        };
        let new = kv.map(|kv| {
            let previous = old.as_ref().map(|(_, o)| &**o);
            (self.lent(key, &kv, previous).map_or_else(|| self.decode(&kv, previous), Ok), kv)
        });
        let mut state = self.state.write();
        let (key, old) = match old {
            Some((key, old)) => (key, Some(old)),
            None => (Arc::from(key), None),
        };
        state.revision = revision;
        // Watchers have to list then, which tells them what cannot be read, or that it can be again.
        let anew = state.unreadable.remove(&key).is_some() || matches!(new, Some((Err(_), _)));
        let new = match new {
            None => {
                state.objects.remove(&key);
                state.sealed.remove(&key);
                None
            }
            Some((decoded, kv)) => state.take(key, decoded.map(|(object, stored)| (Arc::new(object), stored)), kv),
        };
        if old.is_some() || new.is_some() {
            state.taps.retain(|tap| tap.send(ObjectChange { old: old.clone(), new: new.clone() }).is_ok());
        }
        if anew {
            state.forget_events(revision);
        } else if old.is_some() || new.is_some() {
            state.push(Arc::new(Event::new(revision, old, new)));
        }
    }

    /// Wakes the watchers for what was taken in; once for many changes, which they then take together.
    pub(super) fn announce(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// What this server has just written, without decoding it, if that is what the store has.
    fn lent(&self, key: &str, kv: &KeyValue, previous: Option<&Object>) -> Option<(Object, Arc<str>)> {
        let object = self.written(key)?.object(kv, previous)?;
        // With other keys than it was written with by now, it has to be looked at.
        let writes = self.transformer().writes().clone();
        (writes.is_empty() != Transformer::is_encrypted(&kv.value) && kv.value.starts_with(writes.as_bytes())).then_some((object, writes))
    }

    /// Other keys are known now: what could not be read is tried again.
    pub(super) fn set_transformer(&self, transformer: Arc<Transformer>) {
        *self.transformer.write() = transformer;
        let revision = self.revision();
        let mut state = self.state.write();
        let unreadable = std::mem::take(&mut state.unreadable);
        if unreadable.is_empty() {
            return;
        }
        for (key, found) in unreadable {
            let decoded = self.decode(&found.stored, None);
            let new = state.take(key, decoded.map(|(object, stored)| (Arc::new(object), stored)), found.stored);
            if new.is_some() {
                state.taps.retain(|tap| tap.send(ObjectChange { old: None, new: new.clone() }).is_ok());
            }
        }
        state.forget_events(revision);
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    /// The keys that are there, for a feed that has to compare.
    pub(super) fn keys(&self) -> Vec<(Arc<str>, Revision)> {
        let state = self.state.read();
        let unreadable = state.unreadable.iter().map(|(k, u)| (k.clone(), u.stored.mod_revision));
        state.objects.iter().map(|(k, o)| (k.clone(), o.revision)).chain(unreadable).collect()
    }

    /// A definition has changed: what is there is encoded anew, with the defaults and selectable fields
    /// of now. No event: nothing was written.
    pub(super) fn set_kind(&self, kind: Arc<dyn Kind>) {
        let mut state = self.state.write();
        for object in state.objects.values_mut() {
            if let Some(value) = encode::decode_stored(&*kind, &object.bytes, object.revision) {
                *object = Arc::new(encode::object(&*kind, &value, object.revision, Some(object)));
            }
        }
        *self.kind.write() = kind;
    }

    /// Ends all watches; the kind is no longer served.
    pub(super) fn close(&self) {
        let mut state = self.state.write();
        state.closed = true;
        state.taps.clear();
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }
}

impl Unreadable {
    fn error(&self) -> ApiError {
        ApiError::internal(cannot_read(&self.stored.key, &self.why))
    }
}

fn cannot_read(key: &str, why: &str) -> String {
    format!("unable to transform key {key:?}: {why}")
}

impl State {
    /// Puts what is stored under a key where it belongs; the object, if it is one.
    fn take(&mut self, key: Arc<str>, decoded: Result<(Arc<Object>, Arc<str>), String>, kv: KeyValue) -> Option<Arc<Object>> {
        match decoded {
            Ok((object, stored)) => {
                if stored.is_empty() {
                    self.sealed.remove(&key);
                } else {
                    self.sealed.insert(key.clone(), stored);
                }
                self.objects.insert(key, object.clone());
                Some(object)
            }
            Err(why) => {
                tracing::error!(key = %kv.key, revision = kv.mod_revision, why, "a stored object cannot be read");
                self.objects.remove(&key);
                self.unreadable.insert(key, Unreadable { why, stored: kv });
                None
            }
        }
    }

    /// Every watch here has to begin anew.
    fn forget_events(&mut self, revision: Revision) {
        self.ring.clear();
        self.ring_bytes = 0;
        self.ring_after = revision;
        self.count += 1;
    }

    fn push(&mut self, event: Arc<Event>) {
        self.count += 1;
        self.ring_bytes += size(&event);
        self.ring.push_back((Instant::now(), event));
        while let Some((at, oldest)) = self.ring.front() {
            let keep = self.ring.len() <= KEEP_LEAST || (at.elapsed() < KEEP && self.ring.len() <= KEEP_MOST);
            if (keep && self.ring_bytes <= KEEP_BYTES) || self.ring.len() == 1 {
                break;
            }
            self.ring_after = oldest.revision;
            self.ring_bytes -= size(oldest);
            self.ring.pop_front();
        }
    }
}

fn size(event: &Event) -> usize {
    event.new.as_ref().or(event.old.as_ref()).map_or(0, |o| o.bytes.len())
}
