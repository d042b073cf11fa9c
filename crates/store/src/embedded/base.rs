//! A base: one file that holds all that is kept at one moment, and so stands for every file before it.
//!
//! The store writes one beside its log when the log is mostly of the past; a snapshot is one; a store that is restored or
//! taken over begins with one. Writers go on meanwhile: what they write comes after the moment.

use super::disk::{self, DiskFile};
use super::files::Place;
use super::index::{Found, Index};
use super::record::{FileKind, Frame, HEAD, Head, Kind, Record};
use crate::{Error, LeaseId, Revision};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes of a frame.
const FRAME: usize = 256 << 10;
/// Bytes that are synced at a time. Writers share the disk, and would wait for all that is not on it yet.
const SYNC: u64 = 4 << 20;
/// Keys that are looked up under one lock.
const SLICE: usize = 1000;

/// Writes the records of a base.
pub struct BaseWriter {
    file: Arc<dyn DiskFile>,
    head: Head,
    at: u64,
    synced: u64,
    frame: Frame,
    frames: u64,
    records: u64,
}

impl BaseWriter {
    /// `first` is the number of the log's first frame that is not in it.
    pub fn new(file: Arc<dyn DiskFile>, number: u32, first: u64, revision: Revision, compacted: Revision) -> Result<Self, Error> {
        let head = Head::new(FileKind::Base, number, first);
        file.write_at(0, &head.encode()).map_err(|e| disk::failed(file.path(), &e))?;
        let (at, frame) = (HEAD as u64, Frame::default());
        let mut writer = Self { file, head, at, synced: 0, frame, frames: 0, records: 0 };
        writer.push(&Record { revision, create_revision: compacted, ..Record::plain(Kind::State) })?;
        Ok(writer)
    }

    pub fn lease(&mut self, lease: LeaseId, millis: u64) -> Result<(), Error> {
        self.push(&Record { lease, version: millis, ..Record::plain(Kind::Grant) }).map(drop)
    }

    /// Adds a record. Answers where it is going to lie.
    pub fn push(&mut self, record: &Record) -> Result<Place, Error> {
        let (offset, length) = self.frame.push(record);
        let place = Place { at: self.at + offset, file: self.head.number, length };
        self.records += 1;
        if self.frame.len() >= FRAME {
            self.flush()?;
        }
        Ok(place)
    }

    fn flush(&mut self) -> Result<(), Error> {
        let failed = |e| disk::failed(self.file.path(), &e);
        let bytes = self.frame.finish(self.frames, self.head.salt);
        self.file.write_at(self.at, bytes).map_err(failed)?;
        self.at += bytes.len() as u64;
        self.frames += 1;
        self.frame.clear();
        if self.at - self.synced >= SYNC {
            self.file.sync().map_err(failed)?;
            self.synced = self.at;
        }
        Ok(())
    }

    /// Makes it whole, and durable.
    pub fn finish(mut self) -> Result<(), Error> {
        self.frame.push(&Record { version: self.records, ..Record::plain(Kind::End) });
        self.flush()?;
        self.file.sync().map_err(|e| disk::failed(self.file.path(), &e))
    }
}

/// While one is held, nothing is forgotten that was there when it was made.
#[must_use]
pub struct Pin(Arc<AtomicUsize>);

impl Pin {
    pub fn new(pins: &Arc<AtomicUsize>) -> Self {
        pins.fetch_add(1, Ordering::AcqRel);
        Self(pins.clone())
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One moment of the store, to be written down.
pub struct Moment {
    pub revision: Revision,
    pub compacted: Revision,
    /// With their time to live in milliseconds.
    pub leases: Vec<(LeaseId, u64)>,
    /// The number of the log's first frame that is not part of it.
    pub first: u64,
    /// The store's own base goes without: its log says what was forgotten meanwhile.
    pub _pin: Option<Pin>,
}

/// Writes what the store holds at that moment, and calls `each` with where every record went. Ends early, with an error, once `stop`
/// is set.
pub fn write(
    index: &RwLock<Index>,
    moment: &Moment,
    file: Arc<dyn DiskFile>,
    number: u32,
    stop: &AtomicBool,
    mut each: impl FnMut(Found),
) -> Result<(), Error> {
    let mut writer = BaseWriter::new(file, number, moment.first, moment.revision, moment.compacted)?;
    for (lease, millis) in &moment.leases {
        writer.lease(*lease, *millis)?;
    }
    let mut buffer = Vec::new();
    let mut start = Some(Arc::from(""));
    while let Some(from) = start {
        if stop.load(Ordering::Acquire) {
            return Err(Error::Unavailable("the store is being closed".into()));
        }
        let (found, files) = {
            let index = index.read();
            let (found, next) = index.slice(&from, SLICE, moment.revision);
            start = next;
            (found, index.files.clone())
        };
        for found in found {
            let place = writer.push(&files.record(&found, &mut buffer)?)?;
            each(Found { place, ..found });
        }
    }
    writer.finish()
}
