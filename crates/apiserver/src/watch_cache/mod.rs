//! The objects as readers get them: read once from the store, kept up by one watch, encoded once.
//!
//! `Feed` follows the store and hands each change to the `Cache` of its kind; a cache answers gets and
//! lists, and keeps the last events for watches that resume. Nobody reads something older than they may
//! expect: `Feed::fresh` waits until the caches have come as far as the store.

mod cache;
mod encode;
mod feed;
mod watcher;
mod written;

pub use cache::{Cache, Snapshot};
pub use feed::Feed;
pub use watcher::{Change, Watcher};
pub use written::Encoded;

use crate::objects::Object;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use store::Revision;

/// A change as the ring keeps it.
#[derive(Debug)]
pub struct Event {
    pub revision: Revision,
    /// None for a creation.
    pub old: Option<Arc<Object>>,
    /// None for a deletion.
    pub new: Option<Arc<Object>>,
    /// The old object with this event's revision, made when the first watcher needs it.
    last: OnceLock<Option<Arc<Object>>>,
    /// What is new in protobuf, made when the first watcher needs it.
    wire: OnceLock<Bytes>,
}

impl Event {
    fn new(revision: Revision, old: Option<Arc<Object>>, new: Option<Arc<Object>>) -> Self {
        Self { revision, old, new, last: OnceLock::new(), wire: OnceLock::new() }
    }

    /// What a watcher that loses the object is shown: its last state, at the revision of the loss.
    pub fn last_state(&self) -> Option<Arc<Object>> {
        let last = || self.old.as_ref().map(|old| Arc::new(encode::at_revision(old, self.revision)));
        self.last.get_or_init(last).clone()
    }

    /// The new object as `encode` writes it, once for all watchers. It is kept no longer than the event.
    pub fn new_on_the_wire(&self, encode: impl FnOnce() -> Bytes) -> Bytes {
        self.wire.get_or_init(encode).clone()
    }
}
