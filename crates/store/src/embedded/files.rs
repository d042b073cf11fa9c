//! The files that values are read from.

use super::disk::{self, DiskFile};
use super::index::Found;
use super::record::{Kind, Record};
use crate::{Error, KeyValue};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub at: u64,
    pub file: u32,
    pub length: u32,
}

/// Open files by their number. Whoever took a copy along with places can read all of them, whatever is removed meanwhile.
#[derive(Clone, Default)]
pub struct Files(pub BTreeMap<u32, Arc<dyn DiskFile>>);

impl Files {
    fn file(&self, place: Place) -> Result<&Arc<dyn DiskFile>, Error> {
        self.0.get(&place.file).ok_or_else(|| Error::Corrupt(format!("file {:x} of the store is not open", place.file)))
    }

    /// Reads the record of an index entry into `buffer`, and verifies it.
    pub fn record<'a>(&self, found: &Found, buffer: &'a mut Vec<u8>) -> Result<Record<'a>, Error> {
        let place = found.place;
        let file = self.file(place)?;
        // Only grows: what is read over it does not matter.
        let length = place.length as usize;
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let bytes = &mut buffer[..length];
        file.read_at(place.at, bytes).map_err(|e| disk::failed(file.path(), &e))?;
        let damaged =
            |what: &str| disk::damaged(file.path(), format!("{what}, at byte {} (revision {} of {})", place.at, found.revision, found.key));
        let (record, _) = Record::decode(bytes).map_err(damaged)?;
        if record.revision != found.revision || record.key != &*found.key || !matches!(record.kind, Kind::Put | Kind::Delete) {
            return Err(damaged("another record is there"));
        }
        Ok(record)
    }

    pub fn read(&self, entries: &[Found]) -> Result<Vec<KeyValue>, Error> {
        let mut buffer = Vec::new();
        entries.iter().map(|found| Ok(key_value(found, &self.record(found, &mut buffer)?))).collect()
    }

    pub fn size(&self) -> u64 {
        self.0.values().map(|file| file.size().unwrap_or(0)).sum()
    }
}

fn key_value(found: &Found, record: &Record) -> KeyValue {
    KeyValue {
        key: found.key.clone(),
        value: Bytes::copy_from_slice(record.value),
        create_revision: record.create_revision,
        mod_revision: record.revision,
        version: record.version,
        lease: record.lease,
    }
}
