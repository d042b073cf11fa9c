//! JSON, with an eye on fields that come twice.

use super::Path;
use crate::ApiError;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Number, Value};
use std::fmt;

/// Not JSON, or nested too deeply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(pub String);

impl From<JsonError> for ApiError {
    fn from(e: JsonError) -> Self {
        Self::bad_request(e.0)
    }
}

/// The tree, and a message for each field that came twice (the last one counts).
pub fn parse_json(bytes: &[u8]) -> Result<(Value, Vec<String>), JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = tree(&mut reader, usize::MAX).and_then(|parsed| reader.end().map(|()| parsed));
    parsed.map_err(|e| JsonError(explain(&e, bytes)))
}

/// What any self-describing format holds, with a message for each field that came twice. The one after `allowed` of them
/// is an error where its key stands, so that a format that knows the places of its errors tells them.
pub fn tree<'de, D: Deserializer<'de>>(deserializer: D, allowed: usize) -> Result<(Value, Vec<String>), D::Error> {
    let mut duplicates = Vec::new();
    let value = Tree { path: Path::ROOT, found: &mut Found { duplicates: &mut duplicates, allowed } }.deserialize(deserializer)?;
    Ok((value, duplicates))
}

/// In the words of Go's decoder where it has them.
fn explain(e: &serde_json::Error, bytes: &[u8]) -> String {
    let text = e.to_string();
    if text.starts_with("recursion limit exceeded") {
        return "exceeded max depth".into();
    }
    if e.classify() == Category::Eof {
        return "unexpected end of JSON input".into();
    }
    let line = bytes.split(|b| *b == b'\n').nth(e.line().saturating_sub(1)).unwrap_or_default();
    let at = line.get(e.column().saturating_sub(1)..).unwrap_or_default();
    match String::from_utf8_lossy(at.get(..at.len().min(4)).unwrap_or_default()).chars().next() {
        Some(c) => format!("invalid character {c:?}: {text}"),
        None => text,
    }
}

struct Found<'a> {
    duplicates: &'a mut Vec<String>,
    allowed: usize,
}

struct Tree<'a, 'f> {
    path: Path<'a>,
    found: &'a mut Found<'f>,
}

/// A key of a map of which `seen` is there already.
struct Key<'a, 'f> {
    seen: &'a Map<String, Value>,
    path: Path<'a>,
    found: &'a mut Found<'f>,
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_string(self)
    }
}

impl<'de> Visitor<'de> for Key<'_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        if self.seen.contains_key(key) {
            if self.found.duplicates.len() >= self.found.allowed {
                return Err(E::custom(key));
            }
            self.found.duplicates.push(format!("duplicate field \"{}\"", self.path.key(key).text()));
        }
        Ok(key.into())
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Tree { path: self.path.index(items.len()), found: &mut *self.found })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key_seed(Key { seen: &map, path: self.path, found: &mut *self.found })? {
            let value = access.next_value_seed(Tree { path: self.path.key(&key), found: &mut *self.found })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn fields_that_come_twice_are_named_by_path_and_the_last_counts() {
        let (value, duplicates) = parse_json(br#"{"spec":{"c":[{},{"n":1,"n":2}],"a":1},"kind":"X","kind":"Y"}"#).unwrap();
        assert_eq!(value, json!({"spec": {"c": [{}, {"n": 2}], "a": 1}, "kind": "Y"}));
        assert_eq!(duplicates, ["duplicate field \"spec.c[1].n\"", "duplicate field \"kind\""]);
    }

    #[test]
    fn what_is_not_json_is_an_error_and_depth_is_bounded() {
        assert_eq!(parse_json(b"{\"a\":").unwrap_err().0, "unexpected end of JSON input");
        assert!(parse_json(b"{a: 1}").unwrap_err().0.starts_with("invalid character 'a'"));
        assert!(parse_json(b"{} x").is_err());
        let deep = "[".repeat(100_000);
        assert_eq!(parse_json(deep.as_bytes()).unwrap_err().0, "exceeded max depth");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse_json(&bytes);
        }
    }
}
