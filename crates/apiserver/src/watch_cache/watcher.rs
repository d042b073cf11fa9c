//! One watch: where it stands in a cache's events. One that begins before the cache's events do reads the store's
//! history up to them first.

use super::cache::Since;
use super::{Cache, Event};
use crate::objects::Object;
use futures::StreamExt;
use meta::ApiError;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use store::{Error, KeyValue, Revision, Store, WatchBatch, WatchEvent, WatchStream};
use tokio::sync::watch;

/// What a watcher is told, in order.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object that was there when the watch began.
    Initial(Arc<Object>),
    Event(Arc<Event>),
}

/// What the store still has to tell before the cache's events go on.
struct History {
    /// Never locked: it lets a watch be shared between threads, which the stream alone cannot be.
    stream: Mutex<WatchStream>,
    /// The cache's events from the watch's position on are those after this revision.
    until: Revision,
}

pub struct Watcher {
    cache: Arc<Cache>,
    history: Option<History>,
    changed: watch::Receiver<u64>,
    progress: watch::Receiver<Revision>,
    ready: VecDeque<Change>,
    /// The first event that is not in `ready` yet.
    position: u64,
    /// Everything up to this revision has been handed out.
    given: Revision,
    /// The client has seen these already, perhaps from a server whose cache was ahead of this one.
    seen: Revision,
}

impl Watcher {
    /// Goes on after `revision`, as long as the cache or the store remembers it.
    pub async fn resume(cache: Arc<Cache>, store: &dyn Store, revision: Revision) -> Result<Self, ApiError> {
        let (position, history) = match cache.position(revision) {
            Ok(position) => (position, None),
            Err(_) => {
                let (position, until) = cache.end().await;
                let request = cache.history(revision + 1);
                let stream = store.watch(request).await.map_err(|error| match error {
                    Error::Compacted { oldest, .. } => too_old(revision, oldest),
                    other => crate::registry::store_error(other),
                })?;
                (position, Some(History { stream: Mutex::new(stream), until }))
            }
        };
        Ok(Self { seen: revision, history, ..Self::new(cache, Vec::new(), revision, position) })
    }

    /// Starts with the objects that are there now.
    pub fn begin(cache: Arc<Cache>, namespace: Option<&str>) -> Self {
        let (snapshot, position) = cache.begin(namespace);
        Self::new(cache, snapshot.objects, snapshot.revision, position)
    }

    fn new(cache: Arc<Cache>, initial: Vec<Arc<Object>>, revision: Revision, position: u64) -> Self {
        let ready = initial.into_iter().map(Change::Initial).collect();
        Self { changed: cache.subscribe(), progress: cache.progress(), cache, history: None, ready, position, given: revision, seen: 0 }
    }

    /// Where the watch stands: after everything handed out.
    pub fn revision(&self) -> Revision {
        self.given
    }

    /// How many changes wait to be handed out; at the beginning, the initial objects.
    pub fn pending(&self) -> usize {
        self.ready.len()
    }

    /// The initial objects, out of what is to be handed out; [`Self::put_initial`] puts them back.
    pub fn take_initial(&mut self) -> Vec<Arc<Object>> {
        let objects = self.ready.drain(..).filter_map(|change| match change {
            Change::Initial(object) => Some(object),
            Change::Event(_) => None,
        });
        objects.collect()
    }

    pub fn put_initial(&mut self, objects: Vec<Arc<Object>>) {
        self.ready = objects.into_iter().map(Change::Initial).collect();
    }

    /// The next change, if there is one at hand.
    pub fn ready(&mut self) -> Option<Change> {
        let change = self.ready.pop_front()?;
        if let Change::Event(event) = &change {
            self.given = event.revision;
        }
        Some(change)
    }

    /// `Ok(None)`: the cache was closed. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Change>, ApiError> {
        loop {
            if let Some(change) = self.ready() {
                return Ok(Some(change));
            }
            if self.history.is_some() {
                self.read_history().await?;
                continue;
            }
            self.changed.borrow_and_update();
            if self.fetch()? {
                return Ok(None);
            }
            if self.ready.is_empty() && self.changed.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Takes the next stretch of history. What cannot be told in full ends the watch, so that the client lists.
    async fn read_history(&mut self) -> Result<(), ApiError> {
        let Some(history) = &mut self.history else { return Ok(()) };
        let (events, revision) = match history.stream.get_mut().next().await {
            Some(Ok(WatchBatch::Events { events, revision })) => (events, revision),
            Some(Ok(WatchBatch::Progress(revision))) => (Vec::new(), revision),
            Some(Err(_)) | None => return Err(too_old(self.given, history.until)),
        };
        for event in events {
            let (revision, old, new) = match event {
                WatchEvent::Put { kv, previous } => (kv.mod_revision, previous, Some(kv)),
                // The last state of what was deleted is what its watchers are shown.
                WatchEvent::Delete { previous: None, .. } => return Err(too_old(self.given, history.until)),
                WatchEvent::Delete { revision, previous, .. } => (revision, previous, None),
            };
            if revision > history.until {
                break;
            }
            let read = |kv: Option<KeyValue>| kv.map(|kv| self.cache.past(&kv).map(Arc::new)).transpose();
            let (old, new) = (read(old).map_err(ApiError::internal)?, read(new).map_err(ApiError::internal)?);
            self.ready.push_back(Change::Event(Arc::new(Event::new(revision, old, new))));
        }
        if revision >= history.until {
            self.history = None;
        }
        Ok(())
    }

    /// Takes what there is from the ring; true at the end.
    fn fetch(&mut self) -> Result<bool, ApiError> {
        // Read first: no event up to here can be missing from what `since` answers.
        let progress = *self.progress.borrow();
        match self.cache.since(self.position) {
            Since::Closed => return Ok(true),
            Since::Gone(oldest) => return Err(too_old(self.given, oldest)),
            Since::Events(events) if events.is_empty() => self.given = self.given.max(progress),
            Since::Events(events) => {
                self.position += events.len() as u64;
                let seen = self.seen;
                self.ready.extend(events.into_iter().filter(|e| e.revision > seen).map(Change::Event));
            }
        }
        Ok(false)
    }

    /// Moves on over what did not concern this kind, for a bookmark.
    pub fn advance(&mut self) -> Revision {
        if self.ready.is_empty() && self.history.is_none() {
            // An error comes again at the next `next`.
            let _ = self.fetch();
        }
        self.given
    }
}

pub fn too_old(requested: Revision, oldest: Revision) -> ApiError {
    ApiError::expired(format!("too old resource version: {requested} ({oldest})"))
}
