//! Every key's revisions, in memory: which there were, what the newest is, and where each lies.

use super::files::{Files, Place};
use crate::{Error, LeaseId, Range, Revision};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    pub revision: Revision,
    pub deleted: bool,
    pub create_revision: Revision,
    pub version: u64,
    pub lease: LeaseId,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub key: Arc<str>,
    pub revision: Revision,
    pub place: Place,
}

impl Found {
    pub fn of(key: &Arc<str>, entry: &Entry) -> Self {
        Self { key: key.clone(), revision: entry.revision, place: entry.place }
    }
}

#[derive(Default)]
pub struct Index {
    pub revision: Revision,
    pub compacted: Revision,
    /// Bytes of records that only readers of the past can see.
    pub past_bytes: u64,
    /// Bytes of the records that are the state of now.
    pub live_bytes: u64,
    /// What the places in here are places in.
    pub files: Arc<Files>,
    /// Rising revisions; never empty.
    keys: BTreeMap<Arc<str>, Vec<Entry>>,
    /// Which key each revision since the last compaction changed; one that ended a lease may have changed several.
    changes: VecDeque<(Revision, Arc<str>)>,
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

    /// The newest entry of a key that exists, and the key as the index holds it, to share.
    pub fn newest(&self, key: &str) -> Option<(&Arc<str>, &Entry)> {
        let (key, entries) = self.keys.get_key_value(key)?;
        Some((key, entries.last().filter(|e| !e.deleted)?))
    }

    /// The key as the index holds it, to share.
    pub fn shared_key(&self, key: &str) -> Arc<str> {
        self.keys.get_key_value(key).map_or_else(|| key.into(), |(key, _)| key.clone())
    }

    /// The entry of a key at exactly this revision, and the one right before it unless that is a deletion.
    pub fn at(&self, key: &str, revision: Revision) -> (Option<Entry>, Option<Entry>) {
        let Some(entries) = self.keys.get(key) else { return (None, None) };
        let end = entries.partition_point(|e| e.revision < revision);
        let before = entries[..end].last().filter(|e| !e.deleted).copied();
        (entries.get(end).filter(|e| e.revision == revision).copied(), before)
    }

    pub fn push(&mut self, key: &Arc<str>, entry: Entry) {
        let entries = self.keys.entry(key.clone()).or_default();
        if let Some(before) = entries.last().filter(|e| !e.deleted) {
            self.live_bytes -= u64::from(before.place.length);
            self.past_bytes += u64::from(before.place.length);
        }
        let bytes = if entry.deleted { &mut self.past_bytes } else { &mut self.live_bytes };
        *bytes += u64::from(entry.place.length);
        entries.push(entry);
        self.changes.push_back((entry.revision, key.clone()));
    }

    /// What was changed from one revision to another, both included, in order.
    pub fn changes(&self, from: Revision, to: Revision) -> impl Iterator<Item = (Revision, &Arc<str>)> {
        let start = self.changes.partition_point(|(revision, _)| *revision < from);
        self.changes.range(start..).take_while(move |(revision, _)| *revision <= to).map(|(revision, key)| (*revision, key))
    }

    /// After everything was read in the order of files: what was changed in the order of revisions, and no revision since the last
    /// compaction missing. Otherwise the first that is.
    pub fn settle(&mut self) -> Result<(), Revision> {
        let first = self.compacted + 1;
        self.changes.retain(|(revision, _)| *revision >= first);
        self.changes.make_contiguous().sort_by_key(|(revision, _)| *revision);
        self.changes.shrink_to_fit();
        // A store begins at revision 1, which changes nothing.
        let mut expected = first.max(2);
        for (revision, _) in &self.changes {
            match *revision {
                revision if revision == expected => expected += 1,
                revision if revision + 1 == expected => {}
                _ => return Err(expected),
            }
        }
        if expected <= self.revision { Err(expected) } else { Ok(()) }
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
                found.push(Found::of(key, entry));
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

    /// Forgets what no read at `revision` or later can see, among `most` keys from `start` on. Answers where to go on;
    /// `None` is the end.
    pub fn compact(&mut self, revision: Revision, start: &str, most: usize) -> Option<Arc<str>> {
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
                self.past_bytes -= u64::from(entry.place.length);
            }
            if entries.is_empty() {
                emptied.push(key.clone());
            }
        }
        for key in emptied {
            self.keys.remove(&key);
        }
        next
    }

    /// Forgets what was changed up to `revision`, at most so much at a time. Answers whether there is more.
    pub fn forget_changes(&mut self, revision: Revision, most: usize) -> bool {
        let old = self.changes.iter().take(most).take_while(|(changed, _)| *changed <= revision).count();
        self.changes.drain(..old);
        old == most
    }

    /// What there is to know of `most` keys from `start` on up to a revision, and where to go on.
    pub fn slice(&self, start: &str, most: usize, revision: Revision) -> (Vec<Found>, Option<Arc<str>>) {
        let mut found = Vec::new();
        for (i, (key, entries)) in self.keys.range::<str, _>((Bound::Included(start), Bound::Unbounded)).enumerate() {
            if i == most {
                return (found, Some(key.clone()));
            }
            found.extend(entries.iter().take_while(|e| e.revision <= revision).map(|entry| Found::of(key, entry)));
        }
        (found, None)
    }

    /// A record has been copied to another place.
    pub fn relocate(&mut self, to: &Found) {
        let Some(entries) = self.keys.get_mut(&to.key) else { return };
        if let Ok(i) = entries.binary_search_by_key(&to.revision, |e| e.revision) {
            entries[i].place = to.place;
        }
    }

    /// Newest entries that a lease holds.
    pub fn leased(&self) -> impl Iterator<Item = (&Arc<str>, LeaseId)> {
        self.keys.iter().filter_map(|(key, entries)| {
            let newest = entries.last().filter(|e| !e.deleted && e.lease != 0)?;
            Some((key, newest.lease))
        })
    }
}
