//! Watches: history first, then what is committed, without a gap and without a repetition. A watcher
//! that falls behind the live feed reads history again, so it costs no memory however slow it is.

use super::Shared;
use super::committer::Published;
use super::index::{Entry, Found};
use crate::{Error, Revision, WatchBatch, WatchEvent, WatchRequest, WatchStream};
use futures::StreamExt;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Revisions replayed at a time.
const REPLAY: Revision = 256;

struct Watch {
    shared: Arc<Shared>,
    request: WatchRequest,
    live: broadcast::Receiver<Arc<Published>>,
    /// The next revision to deliver.
    next: Revision,
    /// History must be read up to here (inclusive) before the live feed goes on.
    replay_to: Revision,
    ready: VecDeque<Result<WatchBatch, Error>>,
    ended: bool,
}

pub fn start(shared: Arc<Shared>, request: WatchRequest) -> Result<WatchStream, Error> {
    let (live, next, replay_to) = {
        let index = shared.index.read();
        let next = if request.from == 0 { index.revision + 1 } else { request.from };
        if next <= index.compacted {
            return Err(Error::Compacted { requested: next, oldest: index.compacted + 1 });
        }
        (shared.published.subscribe(), next, index.revision)
    };
    let watch = Watch { shared, request, live, next, replay_to, ready: VecDeque::new(), ended: false };
    Ok(futures::stream::unfold(watch, |mut watch| async move { watch.step().await.map(|batch| (batch, watch)) }).boxed())
}

impl Watch {
    async fn step(&mut self) -> Option<Result<WatchBatch, Error>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.ended = batch.is_err();
                return Some(batch);
            }
            if self.ended {
                return None;
            }
            if self.next <= self.replay_to {
                self.replay();
                continue;
            }
            match self.live.recv().await {
                Ok(published) => self.deliver(&published),
                Err(RecvError::Lagged(_)) => self.replay_to = self.shared.index.read().revision,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn wants(&self, key: &str) -> bool {
        if self.request.end.is_empty() {
            key == self.request.start
        } else {
            key >= self.request.start.as_str() && key < self.request.end.as_str()
        }
    }

    fn deliver(&mut self, published: &Published) {
        if published.revision < self.next {
            return;
        }
        let mut events = Vec::new();
        for event in &published.events {
            let (key, revision) = match event {
                WatchEvent::Put { kv, .. } => (&kv.key, kv.mod_revision),
                WatchEvent::Delete { key, revision, .. } => (key, *revision),
            };
            if revision >= self.next && self.wants(key) {
                let mut event = event.clone();
                if !self.request.previous {
                    let (WatchEvent::Put { previous, .. } | WatchEvent::Delete { previous, .. }) = &mut event;
                    *previous = None;
                }
                events.push(event);
            }
        }
        self.next = published.revision + 1;
        let revision = published.revision;
        self.ready.push_back(Ok(if events.is_empty() { WatchBatch::Progress(revision) } else { WatchBatch::Events { events, revision } }));
    }

    /// Reads a stretch of history into `ready`.
    fn replay(&mut self) {
        let batch = self.history().map(|(events, revision)| {
            self.next = revision + 1;
            if events.is_empty() { WatchBatch::Progress(revision) } else { WatchBatch::Events { events, revision } }
        });
        self.ready.push_back(batch);
    }

    fn history(&self) -> Result<(Vec<WatchEvent>, Revision), Error> {
        let mut changes = Vec::new();
        let (files, last) = {
            let index = self.shared.index.read();
            if self.next <= index.compacted {
                return Err(Error::Compacted { requested: self.next, oldest: index.compacted + 1 });
            }
            let last = self.replay_to.min(self.next + REPLAY - 1);
            for (revision, key) in index.changes(self.next, last).filter(|(_, key)| self.wants(key)) {
                let (entry, before) = index.at(key, revision);
                let entry = entry.ok_or_else(|| Error::Corrupt(format!("revision {revision} of {key} is missing")))?;
                changes.push((key.clone(), entry, before.filter(|_| self.request.previous)));
            }
            (index.files.clone(), last)
        };
        let read = |key: &Arc<str>, entry: &Entry| Ok(files.read(&[Found::of(key, entry)])?.pop());
        let mut events = Vec::new();
        for (key, entry, before) in changes {
            let previous = before.and_then(|before| read(&key, &before).transpose()).transpose()?;
            let now = if entry.deleted { None } else { read(&key, &entry)? };
            events.push(match now {
                Some(kv) => WatchEvent::Put { kv, previous },
                None => WatchEvent::Delete { key, revision: entry.revision, previous },
            });
        }
        Ok((events, last))
    }
}
