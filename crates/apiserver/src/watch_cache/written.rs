//! What a write of this very server lends to the cache, so that the feed does not decode and encode again
//! what has just been encoded here.

use super::{Cache, encode};
use crate::objects::{Header, Object};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;
use store::{KeyValue, Revision};

const METADATA: &str = "metadata";
const VERSION: &str = "resourceVersion";

/// An object's JSON as it is stored: without its resource version, but with the place where that belongs.
pub struct Encoded {
    pub bytes: Bytes,
    gap: Option<usize>,
}

impl Encoded {
    pub fn of(object: &Value) -> Self {
        let mut out = Vec::with_capacity(1024);
        let mut gap = None;
        match object {
            Value::Object(fields) => write_map(&mut out, fields, |out, key, value| match value {
                Value::Object(metadata) if key == METADATA => gap = write_metadata(out, metadata),
                value => write(out, value),
            }),
            other => write(&mut out, other),
        }
        Self { bytes: out.into(), gap }
    }

    /// With the resource version.
    fn at(&self, revision: Revision) -> Option<Bytes> {
        let (before, after) = self.bytes.split_at(self.gap?);
        let mut digits = [0; 20];
        let digits = decimal(revision, &mut digits);
        Some([before, b"\"", VERSION.as_bytes(), b"\":\"", digits, b"\",", after].concat().into())
    }
}

fn write<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // A tree of JSON values always serializes, and into memory.
    let _ = serde_json::to_writer(out, value);
}

fn write_map(out: &mut Vec<u8>, map: &Map<String, Value>, mut entry: impl FnMut(&mut Vec<u8>, &str, &Value)) {
    out.push(b'{');
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, key.as_str());
        out.push(b':');
        entry(out, key, value);
    }
    out.push(b'}');
}

/// Where the version belongs: before the first key that follows it. There is one in whatever has a uid.
fn write_metadata(out: &mut Vec<u8>, metadata: &Map<String, Value>) -> Option<usize> {
    let mut gap = None;
    out.push(b'{');
    let mut first = true;
    for (key, value) in metadata.iter().filter(|(key, _)| *key != VERSION) {
        if !first {
            out.push(b',');
        }
        first = false;
        if gap.is_none() && key.as_str() > VERSION {
            gap = Some(out.len());
        }
        write(out, key.as_str());
        out.push(b':');
        write(out, value);
    }
    out.push(b'}');
    gap
}

fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// An object that is about to be written, with what will be stored of it.
pub(super) struct Written {
    stored: Bytes,
    object: Encoded,
    header: Header,
}

impl Written {
    /// The object that the store holds now, if it is the one that was written.
    pub fn object(self, kv: &KeyValue, previous: Option<&Object>) -> Option<Object> {
        if self.stored != kv.value {
            return None;
        }
        let bytes = self.object.at(kv.mod_revision)?;
        let header = match previous {
            Some(previous) if *previous.header == self.header => previous.header.clone(),
            _ => Arc::new(self.header),
        };
        Some(Object { bytes, revision: kv.mod_revision, header })
    }
}

/// Takes back what was lent once the write is over, however it ends.
pub struct Lent<'a> {
    cache: &'a Cache,
    key: String,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.cache.written(&self.key);
    }
}

impl Cache {
    /// Lends `value`, encoded as `object` and to be stored as `stored`, until the answer is dropped.
    pub fn lend(&self, namespace: &str, name: &str, value: &Value, object: Encoded, stored: Bytes) -> Lent<'_> {
        let key = super::cache::key(namespace, name);
        let header = encode::header(&*self.kind(), value);
        self.lent.lock().insert(key.clone(), Written { stored, object, header });
        Lent { cache: self, key }
    }

    pub(super) fn written(&self, key: &str) -> Option<Written> {
        self.lent.lock().remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_lent_is_what_would_have_been_decoded() {
        for metadata in [
            json!({"name": "a", "uid": "u", "resourceVersion": "4", "labels": {"resourceVersion": "x"}}),
            json!({"uid": "u"}),
            json!({"managedFields": [{"manager": "\"q\""}], "selfLink": "", "resourceVersion": ""}),
        ] {
            let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"metadata": "ä\n"}});
            let encoded = Encoded::of(&object);
            let got: Value = serde_json::from_slice(&encoded.at(u64::MAX).unwrap()).unwrap();
            let stored: Value = serde_json::from_slice(&encoded.bytes).unwrap();
            object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
            assert_eq!(stored, object);
            object["metadata"]["resourceVersion"] = u64::MAX.to_string().into();
            assert_eq!(encoded.at(u64::MAX).unwrap(), object.to_string());
            assert_eq!(got, object);
        }
        let nowhere = Encoded::of(&json!({"metadata": {"name": "a"}}));
        assert!(nowhere.at(1).is_none() && nowhere.bytes == r#"{"metadata":{"name":"a"}}"#);
        assert_eq!(decimal(0, &mut [0; 20]), b"0");
    }
}
