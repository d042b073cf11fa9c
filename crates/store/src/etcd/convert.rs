//! Between etcd's messages and the seam's.

use crate::{Error, KeyValue, Revision};
use bytes::Bytes;
use std::sync::Arc;

pub fn key_value(kv: &etcd_client::KeyValue) -> Result<KeyValue, Error> {
    Ok(KeyValue {
        key: key_text(kv)?,
        value: Bytes::copy_from_slice(kv.value()),
        create_revision: unsigned(kv.create_revision()),
        mod_revision: unsigned(kv.mod_revision()),
        version: unsigned(kv.version()),
        lease: kv.lease(),
    })
}

pub fn key_text(kv: &etcd_client::KeyValue) -> Result<Arc<str>, Error> {
    kv.key_str().map(Arc::from).map_err(|_| Error::Corrupt("etcd holds a key that is no text".into()))
}

pub fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

pub fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub fn revision_of(header: Option<&etcd_client::ResponseHeader>) -> Revision {
    header.map_or(0, |h| unsigned(h.revision()))
}
