//! The one watch on the store that keeps all caches.

use super::Cache;
use crate::encryption::{ConfigError, Encryption};
use futures::StreamExt;
use kinds::Kind;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Error, KeyValue, Range, Revision, Store, WatchBatch, WatchEvent, WatchRequest};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

const ROOT: &str = "/registry/";
/// Keys read at a time when everything is read.
const PAGE: usize = 2000;
const RETRY: Duration = Duration::from_millis(200);

/// By prefix below `/registry`.
type Caches = HashMap<String, Arc<Cache>>;

pub struct Feed {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    _stop: DropGuard,
}

struct Shared {
    store: Arc<dyn Store>,
    caches: RwLock<Arc<Caches>>,
    progress: watch::Sender<Revision>,
    encryption: Arc<Encryption>,
}

/// Replaces the kinds that definitions add.
struct Command {
    kinds: Vec<Arc<dyn Kind>>,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Feed {
    /// Reads everything, and follows the store until the feed is dropped.
    pub async fn start(store: Arc<dyn Store>, kinds: &[Arc<dyn Kind>], encryption: Arc<Encryption>) -> Result<Arc<Self>, Error> {
        let progress = watch::Sender::new(0);
        let mut caches = Caches::new();
        // The version that stores decides how objects are kept.
        let (storing, views): (Vec<_>, Vec<_>) = kinds.iter().filter(|k| k.stored()).partition(|k| k.stored_as().is_none());
        for kind in storing.into_iter().chain(views) {
            let cache = || Arc::new(Cache::new(kind.clone(), encryption.transformer(&kind.names().group_resource()), progress.subscribe()));
            caches.entry(kind.storage_prefix()).or_insert_with(cache);
        }
        let shared = Arc::new(Shared { store, caches: RwLock::new(Arc::new(caches)), progress, encryption });
        let revision = shared.read_all().await?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let follow = Follower { shared: shared.clone(), inbox, built_in: shared.caches.read().keys().cloned().collect(), revision };
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = follow.run() => {}
            }
        });
        Ok(Arc::new(Self { shared, commands, _stop: stop.drop_guard() }))
    }

    pub fn cache(&self, prefix: &str) -> Option<Arc<Cache>> {
        self.shared.caches.read().get(prefix).cloned()
    }

    /// Replaces the kinds that definitions add, one per storage prefix. Resolves once they are filled.
    pub async fn set_custom(&self, kinds: Vec<Arc<dyn Kind>>) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let gone = || Error::Unavailable("the watch cache has stopped".into());
        self.commands.send(Command { kinds, done }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Waits until the caches have everything up to `revision`; false if they do not get there in time.
    pub async fn reached(&self, revision: Revision, patience: Duration) -> bool {
        let mut progress = self.shared.progress.subscribe();
        if *progress.borrow() >= revision {
            return true;
        }
        tokio::time::timeout(patience, progress.wait_for(|p| *p >= revision)).await.is_ok_and(|r| r.is_ok())
    }

    /// Reads the encryption configuration again, and with its keys what could not be read; true where it has changed.
    pub fn reload_encryption(&self) -> Result<bool, ConfigError> {
        let encryption = &self.shared.encryption;
        let changed = encryption.reload()?;
        if changed {
            for cache in self.shared.caches.read().values() {
                cache.set_transformer(encryption.transformer(&cache.kind().names().group_resource()));
            }
        }
        Ok(changed)
    }

    pub fn encryption(&self) -> &Encryption {
        &self.shared.encryption
    }

    /// The revision that the caches have come to.
    pub fn revision(&self) -> Revision {
        *self.shared.progress.borrow()
    }
}

impl Shared {
    fn find(&self, key: &str) -> Option<(Arc<Cache>, usize)> {
        find(&self.caches.read(), key)
    }

    /// Fills all caches from one moment of the store.
    async fn read_all(&self) -> Result<Revision, Error> {
        let mut found: HashMap<String, Vec<KeyValue>> = HashMap::new();
        let caches = self.caches.read().clone();
        let revision = pages(&*self.store, Range::prefix(ROOT), |kv| {
            if let Some((prefix, _)) = split(&caches, &kv.key) {
                found.entry(prefix.to_string()).or_default().push(kv);
            }
        })
        .await?;
        for (prefix, cache) in caches.iter() {
            cache.load(found.remove(prefix).unwrap_or_default().into_iter(), revision);
        }
        self.progress.send_replace(revision);
        Ok(revision)
    }
}

/// Which cache a key belongs to: its prefix (one or two segments), and where the object's own key begins.
fn split<'k>(caches: &Caches, key: &'k str) -> Option<(&'k str, &'k str)> {
    let below = key.strip_prefix(ROOT)?;
    let (first, rest) = below.split_once('/')?;
    if let Some((second, rest)) = rest.split_once('/') {
        let two = &below[..first.len() + 1 + second.len()];
        if caches.contains_key(two) {
            return Some((two, rest));
        }
    }
    caches.contains_key(first).then_some((first, rest))
}

fn find(caches: &Caches, key: &str) -> Option<(Arc<Cache>, usize)> {
    let (prefix, rest) = split(caches, key)?;
    Some((caches.get(prefix)?.clone(), key.len() - rest.len()))
}

/// Reads a range page by page, all at the revision of the first.
async fn pages(store: &dyn Store, mut range: Range, mut take: impl FnMut(KeyValue)) -> Result<Revision, Error> {
    range.limit = PAGE;
    loop {
        let page = store.range(range.clone()).await?;
        if range.revision == 0 {
            range.revision = page.revision;
        }
        let last = page.kvs.last().map(|kv| kv.key.clone());
        page.kvs.into_iter().for_each(&mut take);
        match last {
            Some(last) if page.more => range.start = format!("{last}\0"),
            _ => return Ok(range.revision),
        }
    }
}

struct Follower {
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedReceiver<Command>,
    built_in: std::collections::HashSet<String>,
    /// Everything up to here has been applied.
    revision: Revision,
}

impl Follower {
    async fn run(mut self) {
        loop {
            match self.follow().await {
                Ok(()) => return,
                Err(Error::Compacted { .. }) => {
                    tracing::warn!(revision = self.revision, "the store has forgotten what the watch cache needs; reading it all again");
                    if let Err(error) = self.resync().await {
                        tracing::warn!(%error, "the watch cache cannot be read from the store");
                        tokio::time::sleep(RETRY).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the watch on the store ended; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// One watch, until it ends; `Ok` is the end of the feed.
    async fn follow(&mut self) -> Result<(), Error> {
        // Whatever has a revision is waited for, so every key is watched and not the objects alone.
        let request = WatchRequest { start: "\0".into(), end: "\u{10ffff}".into(), from: self.revision + 1, previous: false };
        let mut stream = self.shared.store.watch(request).await?;
        loop {
            tokio::select! {
                batch = stream.next() => match batch {
                    Some(batch) => self.take(batch?),
                    None => return Err(Error::Unavailable("the watch ended".into())),
                },
                command = self.inbox.recv() => match command {
                    Some(command) => {
                        let result = self.set_custom(command.kinds).await;
                        // Who asked may have gone.
                        let _ = command.done.send(result);
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    fn take(&mut self, batch: WatchBatch) {
        let revision = match batch {
            WatchBatch::Progress(revision) => revision,
            WatchBatch::Events { events, revision } => {
                self.apply(events);
                revision
            }
        };
        if revision > self.revision {
            self.revision = revision;
            self.shared.progress.send_replace(revision);
        }
    }

    /// Takes in what belongs together, then wakes those who watch it.
    fn apply(&self, events: impl IntoIterator<Item = WatchEvent>) {
        let mut touched: Vec<Arc<Cache>> = Vec::new();
        for event in events {
            let (key, revision, kv) = match event {
                WatchEvent::Put { kv, .. } => (kv.key.clone(), kv.mod_revision, Some(kv)),
                WatchEvent::Delete { key, revision, .. } => (key, revision, None),
            };
            let Some((cache, from)) = self.shared.find(&key) else { continue };
            cache.apply(&key[from..], revision, kv);
            if !touched.iter().any(|t| Arc::ptr_eq(t, &cache)) {
                touched.push(cache);
            }
        }
        touched.iter().for_each(|cache| cache.announce());
    }

    /// Reads everything again and applies the differences, so that watchers see how it came out.
    async fn resync(&mut self) -> Result<(), Error> {
        let caches = self.shared.caches.read().clone();
        let mut found = Vec::new();
        let revision = pages(&*self.shared.store, Range::prefix(ROOT), |kv| found.push(kv)).await?;
        let mut gone: HashMap<String, Arc<str>> = HashMap::new();
        let mut known: HashMap<String, Revision> = HashMap::new();
        for (prefix, cache) in caches.iter() {
            for (key, at) in cache.keys() {
                gone.insert(format!("{ROOT}{prefix}/{key}"), key.clone());
                known.insert(format!("{ROOT}{prefix}/{key}"), at);
            }
        }
        for kv in &found {
            gone.remove(&*kv.key);
        }
        found.retain(|kv| known.get(&*kv.key) != Some(&kv.mod_revision));
        found.sort_by_key(|kv| kv.mod_revision);
        self.apply(found.into_iter().map(|kv| WatchEvent::Put { kv, previous: None }));
        self.apply(gone.into_keys().map(|key| WatchEvent::Delete { key: key.into(), revision, previous: None }));
        self.revision = revision;
        self.shared.progress.send_replace(revision);
        Ok(())
    }

    async fn set_custom(&mut self, kinds: Vec<Arc<dyn Kind>>) -> Result<(), Error> {
        let mut caches: Caches = (**self.shared.caches.read()).clone();
        let wanted: HashMap<String, Arc<dyn Kind>> = kinds.into_iter().map(|k| (k.storage_prefix(), k)).collect();
        let outdated: Vec<String> = caches.keys().filter(|p| !self.built_in.contains(*p) && !wanted.contains_key(*p)).cloned().collect();
        let mut closed = Vec::new();
        for prefix in outdated {
            closed.extend(caches.remove(&prefix));
        }
        for (prefix, kind) in wanted {
            if self.built_in.contains(&prefix) {
                continue;
            }
            if let Some(cache) = caches.get(&prefix) {
                if !Arc::ptr_eq(&cache.kind(), &kind) {
                    cache.set_kind(kind);
                }
                continue;
            }
            let transformer = self.shared.encryption.transformer(&kind.names().group_resource());
            let cache = Arc::new(Cache::new(kind, transformer, self.shared.progress.subscribe()));
            let mut found = Vec::new();
            // Read at a revision that the feed may not have reached; the cache skips what it has already.
            let revision = pages(&*self.shared.store, Range::prefix(&cache.storage_prefix(None)), |kv| found.push(kv)).await?;
            cache.load(found.into_iter(), revision);
            caches.insert(prefix, cache);
        }
        *self.shared.caches.write() = Arc::new(caches);
        closed.iter().for_each(|c| c.close());
        Ok(())
    }
}
