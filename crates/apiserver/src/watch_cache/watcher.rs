//! One watch: where it stands in a cache's events.

use super::cache::Since;
use super::{Cache, Event};
use crate::objects::Object;
use meta::ApiError;
use std::collections::VecDeque;
use std::sync::Arc;
use store::Revision;
use tokio::sync::watch;

/// What a watcher is told, in order.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object that was there when the watch began.
    Initial(Arc<Object>),
    Event(Arc<Event>),
}

pub struct Watcher {
    cache: Arc<Cache>,
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
    /// Goes on after `revision`.
    pub fn resume(cache: Arc<Cache>, revision: Revision) -> Result<Self, ApiError> {
        let position = cache.position(revision).map_err(|oldest| too_old(revision, oldest))?;
        Ok(Self { seen: revision, ..Self::new(cache, Vec::new(), revision, position) })
    }

    /// Starts with the objects that are there now.
    pub fn begin(cache: Arc<Cache>, namespace: Option<&str>) -> Self {
        let (snapshot, position) = cache.begin(namespace);
        Self::new(cache, snapshot.objects, snapshot.revision, position)
    }

    fn new(cache: Arc<Cache>, initial: Vec<Arc<Object>>, revision: Revision, position: u64) -> Self {
        let ready = initial.into_iter().map(Change::Initial).collect();
        Self { changed: cache.subscribe(), progress: cache.progress(), cache, ready, position, given: revision, seen: 0 }
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
            self.changed.borrow_and_update();
            if self.fetch()? {
                return Ok(None);
            }
            if self.ready.is_empty() && self.changed.changed().await.is_err() {
                return Ok(None);
            }
        }
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
        if self.ready.is_empty() {
            // An error comes again at the next `next`.
            let _ = self.fetch();
        }
        self.given
    }
}

pub fn too_old(requested: Revision, oldest: Revision) -> ApiError {
    ApiError::expired(format!("too old resource version: {requested} ({oldest})"))
}
