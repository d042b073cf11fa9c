//! Every key's revisions, in memory: which there were, and what the newest is.

use crate::{Error, LeaseId, Range, Revision};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    pub revision: Revision,
    pub deleted: bool,
    pub create_revision: Revision,
    pub version: u64,
    pub lease: LeaseId,
    /// Bytes of its row in the file.
    pub size: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub key: Arc<str>,
    pub revision: Revision,
}

#[derive(Default)]
pub struct Index {
    pub revision: Revision,
    pub compacted: Revision,
    /// Bytes of rows that only readers of the past can see.
    pub past_bytes: u64,
    /// Bytes of the rows that are the state of now.
    pub live_bytes: u64,
    /// Rising revisions; never empty.
    keys: BTreeMap<Arc<str>, Vec<Entry>>,
}

impl Index {
    /// Whether history can be asked about `revision` (0 is now).
    pub fn check(&self, revision: Revision) -> Result<(), Error> {
        if revision > self.revision {
            return Err(Error::FutureRevision(revision));
        }
        if revision != 0 && revision < self.compacted {
            return Err(Error::Compacted { requested: revision, oldest: self.compacted });
        }
        Ok(())
    }

    /// The newest entry of a key that exists.
    pub fn newest(&self, key: &str) -> Option<Entry> {
        self.keys.get(key)?.last().filter(|e| !e.deleted).copied()
    }

    /// The key as the index holds it, to share.
    pub fn shared_key(&self, key: &str) -> Arc<str> {
        self.keys.get_key_value(key).map_or_else(|| key.into(), |(k, _)| k.clone())
    }

    /// The entry of a key right before `revision`.
    pub fn before(&self, key: &str, revision: Revision) -> Option<Entry> {
        let entries = self.keys.get(key)?;
        let end = entries.partition_point(|e| e.revision < revision);
        entries[..end].last().filter(|e| !e.deleted).copied()
    }

    pub fn push(&mut self, key: &Arc<str>, entry: Entry) {
        let entries = self.keys.entry(key.clone()).or_default();
        if let Some(before) = entries.last().filter(|e| !e.deleted) {
            self.live_bytes -= u64::from(before.size);
            self.past_bytes += u64::from(before.size);
        }
        let bytes = if entry.deleted { &mut self.past_bytes } else { &mut self.live_bytes };
        *bytes += u64::from(entry.size);
        entries.push(entry);
    }

    /// Whether a key has a row at exactly this revision.
    pub fn has(&self, key: &str, revision: Revision) -> bool {
        self.keys.get(key).is_some_and(|entries| entries.binary_search_by_key(&revision, |e| e.revision).is_ok())
    }

    /// Entries in range, whether the limit cut them, and how many there are without it.
    pub fn range(&self, range: &Range) -> (Vec<Found>, bool, usize) {
        let at = if range.revision == 0 { self.revision } else { range.revision };
        let mut found = Vec::new();
        let mut count = 0;
        for (key, entries) in self.within(&range.start, &range.end) {
            let end = entries.partition_point(|e| e.revision <= at);
            let Some(entry) = entries[..end].last().filter(|e| !e.deleted) else { continue };
            count += 1;
            if range.limit == 0 || found.len() < range.limit {
                found.push(Found { key: key.clone(), revision: entry.revision });
            }
        }
        let more = found.len() < count;
        (found, more, count)
    }

    fn within<'a>(&'a self, start: &str, end: &str) -> Box<dyn Iterator<Item = (&'a Arc<str>, &'a Vec<Entry>)> + 'a> {
        if end.is_empty() {
            return Box::new(self.keys.get_key_value(start).into_iter());
        }
        // BTreeMap panics at a range that ends before it starts.
        if end <= start {
            return Box::new(std::iter::empty());
        }
        Box::new(self.keys.range::<str, _>((Bound::Included(start), Bound::Excluded(end))))
    }

    /// Forgets what no read at `revision` or later can see, among `most` keys from `start` on. Answers what that
    /// was, and where to go on; `None` is the end.
    pub fn compact(&mut self, revision: Revision, start: &str, most: usize) -> (Vec<Found>, Option<Arc<str>>) {
        let mut dropped = Vec::new();
        let mut emptied = Vec::new();
        let mut next = None;
        for (i, (key, entries)) in self.keys.range_mut::<str, _>((Bound::Included(start), Bound::Unbounded)).enumerate() {
            if i == most {
                next = Some(key.clone());
                break;
            }
            let end = entries.partition_point(|e| e.revision <= revision);
            // The newest at the revision stays, unless it is a deletion.
            let keep_from = match end.checked_sub(1) {
                Some(last) if entries[last].deleted => end,
                Some(last) => last,
                None => 0,
            };
            for entry in entries.drain(..keep_from) {
                // Whatever is dropped is a deletion or has a successor.
                self.past_bytes -= u64::from(entry.size);
                dropped.push(Found { key: key.clone(), revision: entry.revision });
            }
            if entries.is_empty() {
                emptied.push(key.clone());
            }
        }
        for key in emptied {
            self.keys.remove(&key);
        }
        (dropped, next)
    }

    /// Newest entries that a lease holds.
    pub fn leased(&self) -> impl Iterator<Item = (&Arc<str>, LeaseId)> {
        self.keys.iter().filter_map(|(key, entries)| {
            let newest = entries.last().filter(|e| !e.deleted && e.lease != 0)?;
            Some((key, newest.lease))
        })
    }
}
