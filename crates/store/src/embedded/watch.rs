//! Watches: history first, then what is committed, without a gap and without a repetition. A watcher
//! that falls behind the live feed reads history again, so it costs no memory however slow it is.

use super::Shared;
use super::committer::Published;
use super::index::Found;
use super::tables;
use crate::{Error, Revision, WatchBatch, WatchEvent, WatchRequest, WatchStream};
use futures::StreamExt;
use redb::ReadableDatabase;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Revisions replayed at a time.
const REPLAY: usize = 256;

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
        let history = tables::guarded(|| self.history()).map_err(|text| tables::damaged_file(&self.shared.path, text)).flatten();
        let batch = match history {
            Ok((events, revision)) => {
                self.next = revision + 1;
                Ok(if events.is_empty() { WatchBatch::Progress(revision) } else { WatchBatch::Events { events, revision } })
            }
            Err(error) => {
                // Rows that are missing because a compaction has passed by are not damage.
                let compacted = self.shared.index.read().compacted;
                Err(if self.next <= compacted { Error::Compacted { requested: self.next, oldest: compacted + 1 } } else { error })
            }
        };
        self.ready.push_back(batch);
    }

    fn history(&self) -> Result<(Vec<WatchEvent>, Revision), Error> {
        let compacted = self.shared.index.read().compacted;
        if self.next <= compacted {
            return Err(Error::Compacted { requested: self.next, oldest: compacted + 1 });
        }
        let database = self.shared.database.read().clone();
        let transaction = database.begin_read().map_err(|e| tables::failed(&e))?;
        let log = transaction.open_table(tables::LOG).map_err(|e| tables::failed(&e))?;
        let history = transaction.open_table(tables::HISTORY).map_err(|e| tables::failed(&e))?;
        let mut events = Vec::new();
        let mut last = self.next - 1;
        let rows = log.range(self.next..=self.replay_to).map_err(|e| tables::failed(&e))?;
        for (taken, row) in rows.enumerate() {
            let (revision, keys) = row.map_err(|e| tables::failed(&e))?;
            let revision = revision.value();
            if taken == REPLAY {
                return Ok((events, last));
            }
            last = revision;
            for key in tables::keys(keys.value())? {
                if !self.wants(&key) {
                    continue;
                }
                let (deleted, previous) = {
                    let index = self.shared.index.read();
                    let before = index.before(&key, revision).map(|e| Found { key: key.clone(), revision: e.revision });
                    (index.before(&key, revision + 1).is_none(), before)
                };
                let previous = match previous {
                    Some(found) if self.request.previous => self.shared.read(&[found])?.pop(),
                    _ => None,
                };
                events.push(if deleted {
                    WatchEvent::Delete { key, revision, previous }
                } else {
                    let row = history.get(tables::key(&key, revision).as_slice()).map_err(|e| tables::failed(&e))?;
                    let row = row.ok_or_else(|| Error::Corrupt(format!("revision {revision} of {key} is missing")))?;
                    WatchEvent::Put { kv: tables::decode(&key, revision, row.value())?, previous }
                });
            }
        }
        Ok((events, self.replay_to))
    }
}
