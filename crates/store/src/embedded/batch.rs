//! What one commit changes: writes are decided in order, each against the state that includes those before it.

use super::index::{Entry, Found, Index};
use super::leases::Leases;
use super::record::{Frame, Kind, Record};
use super::{Place, Shared};
use crate::{Error, KeyValue, LeaseId, Op, Revision, WatchEvent, Write, WriteResult};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// One record in the making. Its place is within the frame until that is written.
struct Row {
    key: Arc<str>,
    entry: Entry,
    /// The lease that the key hangs on no more.
    left: LeaseId,
}

#[derive(Default)]
pub struct Batch {
    pub revision: Revision,
    /// Newest state of the keys it touched; none: deleted.
    state: HashMap<Arc<str>, Option<KeyValue>>,
    rows: Vec<Row>,
    pub events: Vec<WatchEvent>,
    pub ended: Vec<LeaseId>,
}

impl Batch {
    pub fn of(revision: Revision) -> Self {
        Self { revision, ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.ended.is_empty()
    }

    /// The newest state of a key, this batch included.
    fn newest(&self, shared: &Shared, key: &str) -> Result<Option<KeyValue>, Error> {
        if let Some(state) = self.state.get(key) {
            return Ok(state.clone());
        }
        let (found, files) = {
            let index = shared.index.read();
            let Some((key, entry)) = index.newest(key) else { return Ok(None) };
            (Found::of(key, entry), index.files.clone())
        };
        Ok(files.read(&[found])?.pop())
    }

    /// Decides a write, and adds it to the frame if it is to be.
    pub fn decide(&mut self, shared: &Shared, leases: &Leases, frame: &mut Frame, write: Write) -> Result<WriteResult, Error> {
        let current = self.newest(shared, &write.key)?;
        let current_revision = current.as_ref().map_or(0, |kv| kv.mod_revision);
        if write.expected.is_some_and(|expected| expected != current_revision) {
            return Ok(WriteResult::Conflict { revision: self.revision, current });
        }
        let (value, lease, deleted) = match write.op {
            Op::Put { value, lease } => (value, lease, false),
            Op::Delete => (Bytes::new(), 0, true),
        };
        if lease != 0 && !leases.exists(lease) {
            return Err(Error::LeaseNotFound(lease));
        }
        if write.key.len() > usize::from(u16::MAX) || u32::try_from(value.len()).is_err() {
            return Err(Error::Other("a key or a value is larger than the store takes".into()));
        }
        // Deleting what is not there changes nothing and takes no revision, as in etcd.
        if deleted && current.is_none() {
            return Ok(WriteResult::Done { revision: self.revision, previous: None });
        }
        self.revision += 1;
        let key = current.as_ref().map_or_else(|| Arc::from(write.key), |kv| kv.key.clone());
        self.record(frame, key, current.clone(), (!deleted).then_some((value, lease)));
        Ok(WriteResult::Done { revision: self.revision, previous: current })
    }

    /// Adds a change at the batch's revision; nothing instead of a value and its lease is a deletion.
    fn record(&mut self, frame: &mut Frame, key: Arc<str>, previous: Option<KeyValue>, put: Option<(Bytes, LeaseId)>) {
        let revision = self.revision;
        let left = previous.as_ref().map_or(0, |kv| kv.lease);
        let now = put.map(|(value, lease)| {
            let (create_revision, version) = previous.as_ref().map_or((revision, 1), |kv| (kv.create_revision, kv.version + 1));
            KeyValue { key: key.clone(), value, create_revision, mod_revision: revision, version, lease }
        });
        let record = Record {
            kind: if now.is_some() { Kind::Put } else { Kind::Delete },
            key: &key,
            value: now.as_ref().map_or(&[], |kv| &kv.value),
            revision,
            create_revision: now.as_ref().map_or(0, |kv| kv.create_revision),
            version: now.as_ref().map_or(0, |kv| kv.version),
            lease: now.as_ref().map_or(0, |kv| kv.lease),
        };
        let (at, length) = frame.push(&record);
        let Record { create_revision, version, lease, .. } = record;
        let entry = Entry { revision, deleted: now.is_none(), create_revision, version, lease, place: Place { at, file: 0, length } };
        self.events.push(match &now {
            None => WatchEvent::Delete { key: key.clone(), revision, previous },
            Some(kv) => WatchEvent::Put { kv: kv.clone(), previous },
        });
        self.state.insert(key.clone(), now);
        self.rows.push(Row { key, entry, left });
    }

    /// Deletes what hangs on a lease, as one revision.
    pub fn end_lease(&mut self, shared: &Shared, leases: &Leases, frame: &mut Frame, lease: LeaseId) {
        let mut kvs = Vec::new();
        for key in leases.keys(lease) {
            match self.newest(shared, &key) {
                Ok(Some(kv)) if kv.lease == lease => kvs.push(kv),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, %key, "an expired key could not be read; it will be tried again");
                    return;
                }
            }
        }
        if !kvs.is_empty() {
            self.revision += 1;
            for kv in kvs {
                self.record(frame, kv.key.clone(), Some(kv), None);
            }
        }
        frame.push(&Record { lease, ..Record::plain(Kind::Ended) });
        self.ended.push(lease);
    }

    /// Enters what was written, at `at` in a file, into the index.
    pub fn enter(&mut self, index: &mut Index, leases: &mut Leases, file: u32, at: u64) {
        for lease in self.ended.drain(..) {
            leases.remove(lease);
        }
        for Row { key, mut entry, left } in self.rows.drain(..) {
            if left != 0 && left != entry.lease {
                leases.detach(left, &key);
            }
            if entry.lease != 0 {
                leases.attach(entry.lease, &key);
            }
            entry.place = Place { at: at + entry.place.at, file, ..entry.place };
            index.push(&key, entry);
        }
        index.revision = self.revision;
    }
}
