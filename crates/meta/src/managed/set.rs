//! Sets of field paths, and `FieldsV1`, their JSON.
//!
//! A path element is kept as that JSON spells it: `f:name` a field, `k:{"name":"x"}` an item of a keyed
//! list, `v:"x"` an item of a set. `"."` in a node says that the node itself is in the set; a node
//! without any content is in it too.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A tree of paths. The root stands for the whole object and is never a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub(super) member: bool,
    pub(super) children: BTreeMap<String, Set>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error decoding set: {0}")]
pub struct FieldsError(pub(super) String);

impl Set {
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Reads `fieldsV1`, refusing what no server would have written.
    pub fn from_json(fields: &Value) -> Result<Self, FieldsError> {
        match fields {
            Value::Null => Ok(Self::default()),
            Value::Object(map) => Self::from_map(map),
            other => Err(FieldsError(format!("expected an object, got {other}"))),
        }
    }

    pub(super) fn from_map(map: &Map<String, Value>) -> Result<Self, FieldsError> {
        let mut set = Self::default();
        for (key, value) in map {
            let Value::Object(inner) = value else {
                return Err(FieldsError(format!("expected an object at {key}, got {value}")));
            };
            if key == "." {
                set.member = true;
                continue;
            }
            let mut child = Self::from_map(inner)?;
            child.member |= inner.is_empty();
            set.children.insert(canonical(key)?, child);
        }
        Ok(set)
    }

    pub fn to_json(&self) -> Value {
        Value::Object(self.to_map())
    }

    pub(super) fn to_map(&self) -> Map<String, Value> {
        self.children.iter().map(|(key, child)| (key.clone(), child.node())).collect()
    }

    /// The same of a set that is not needed any more.
    pub(super) fn into_map(self) -> Map<String, Value> {
        let node = |child: Self| {
            let member = child.member;
            let mut map = child.into_map();
            if member && !map.is_empty() {
                map.insert(".".into(), Value::Object(Map::new()));
            }
            Value::Object(map)
        };
        self.children.into_iter().map(|(key, child)| (key, node(child))).collect()
    }

    fn node(&self) -> Value {
        let mut map = self.to_map();
        if self.member && !map.is_empty() {
            map.insert(".".into(), Value::Object(Map::new()));
        }
        Value::Object(map)
    }

    /// Puts a child in if there is anything to it.
    pub(super) fn put(&mut self, key: impl FnOnce() -> String, child: Self) {
        if !child.is_empty() {
            self.children.insert(key(), child);
        }
    }

    pub fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (key, child) in &other.children {
            match self.children.get_mut(key) {
                Some(mine) => mine.union(child),
                None => {
                    self.children.insert(key.clone(), child.clone());
                }
            }
        }
    }

    /// Path by path: taking a parent out leaves its children.
    pub fn difference(&self, other: &Self) -> Self {
        let mut result = Self { member: self.member && !other.member, children: BTreeMap::new() };
        for (key, child) in &self.children {
            match other.children.get(key) {
                Some(theirs) => result.put(|| key.clone(), child.difference(theirs)),
                None => {
                    result.children.insert(key.clone(), child.clone());
                }
            }
        }
        result
    }

    pub fn intersection(&self, other: &Self) -> Self {
        let mut result = Self { member: self.member && other.member, children: BTreeMap::new() };
        for (key, child) in &self.children {
            if let Some(theirs) = other.children.get(key) {
                result.put(|| key.clone(), child.intersection(theirs));
            }
        }
        result
    }

    /// Takes out a dotted path of fields with all that is below it.
    pub(super) fn cut(&mut self, path: &str) {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let key = field(first);
        match (rest, self.children.get_mut(&key)) {
            (Some(rest), Some(child)) => {
                child.cut(rest);
                if child.is_empty() {
                    self.children.remove(&key);
                }
            }
            (None, Some(_)) => {
                self.children.remove(&key);
            }
            (_, None) => {}
        }
    }

    /// Each member as error texts print it: `.spec.containers[name="web"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, prefix: &str, paths: &mut Vec<String>) {
        for (key, child) in &self.children {
            let path = format!("{prefix}{}", shown(key));
            if child.member {
                paths.push(path.clone());
            }
            child.collect(&path, paths);
        }
    }
}

/// The path element of a field.
pub(super) fn field(name: &str) -> String {
    ["f:", name].concat()
}

/// `fieldsV1` as [`Set`] writes it. What a server has stored is that already, and is only looked through.
pub(super) fn normalized(fields: Value) -> Result<Map<String, Value>, FieldsError> {
    match fields {
        Value::Object(map) if is_normal(&map)? => Ok(map),
        other => Ok(Set::from_json(&other)?.into_map()),
    }
}

fn is_normal(map: &Map<String, Value>) -> Result<bool, FieldsError> {
    for (key, value) in map {
        let Value::Object(inner) = value else { return Ok(false) };
        let normal = match key.as_str() {
            "." => inner.is_empty() && map.len() > 1,
            field if field.starts_with("f:") => is_normal(inner)?,
            other => canonical(other)? == other && is_normal(inner)?,
        };
        if !normal {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The one spelling of a path element, so that elements can be compared as text.
fn canonical(key: &str) -> Result<String, FieldsError> {
    let bad = || FieldsError(format!("invalid path element {key:?}"));
    let (kind, rest) = key.split_once(':').ok_or_else(bad)?;
    let json = || serde_json::from_str::<Value>(rest).map_err(|_| bad());
    match kind {
        "f" => Ok(key.into()),
        "v" => Ok(format!("v:{}", json()?)),
        "k" => match json()? {
            fields @ Value::Object(_) => Ok(format!("k:{fields}")),
            _ => Err(bad()),
        },
        "i" => rest.parse::<i64>().map(|i| format!("i:{i}")).map_err(|_| bad()),
        _ => Err(bad()),
    }
}

pub(super) fn shown(key: &str) -> String {
    match key.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("k", fields)) => {
            let fields: Map<String, Value> = serde_json::from_str(fields).unwrap_or_default();
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", fields.join(","))
        }
        Some((_, index)) => format!("[{index}]"),
        None => key.into(),
    }
}

/// Takes the members of `set` out of stored fields, in place. Says whether anything was there.
pub(super) fn subtract(fields: &mut Map<String, Value>, set: &Set) -> bool {
    let mut touched = false;
    for (key, sub) in &set.children {
        let Some(Value::Object(node)) = fields.get_mut(key) else { continue };
        if node.is_empty() {
            if sub.member {
                fields.remove(key);
                touched = true;
            }
            continue;
        }
        touched |= sub.member && node.remove(".").is_some();
        touched |= subtract(node, sub);
        if node.is_empty() {
            fields.remove(key);
        } else if node.len() == 1 && node.contains_key(".") {
            node.clear();
        }
    }
    touched
}

/// Adds the members of `set` to stored fields, in place.
pub(super) fn insert(fields: &mut Map<String, Value>, set: &Set) {
    for (key, sub) in &set.children {
        match fields.get_mut(key) {
            Some(Value::Object(node)) => {
                let member = node.is_empty() || node.contains_key(".") || sub.member;
                insert(node, sub);
                if member && !node.is_empty() {
                    node.insert(".".into(), Value::Object(Map::new()));
                }
            }
            _ => {
                fields.insert(key.clone(), sub.node());
            }
        }
    }
}

/// What of `set` the stored fields have.
pub(super) fn common(fields: &Map<String, Value>, set: &Set) -> Set {
    let mut result = Set::default();
    for (key, sub) in &set.children {
        let Some(Value::Object(node)) = fields.get(key) else { continue };
        let mut child = common(node, sub);
        child.member = sub.member && (node.is_empty() || node.contains_key("."));
        result.put(|| key.clone(), child);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn set() -> impl Strategy<Value = Set> {
        let key = prop_oneof!["f:[a-c]", Just("k:{\"name\":\"x\"}".to_string()), Just("v:1".to_string())];
        let leaf = Just(Set { member: true, children: BTreeMap::new() });
        let node = leaf.prop_recursive(3, 16, 3, move |inner| {
            (any::<bool>(), proptest::collection::btree_map(key.clone(), inner, 1..3))
                .prop_map(|(member, children)| Set { member, children })
        });
        proptest::collection::btree_map("f:[a-c]", node, 0..3).prop_map(|children| Set { member: false, children })
    }

    proptest! {
        #[test]
        fn fields_v1_round_trips(set in set()) {
            let json = set.to_json();
            prop_assert_eq!(&normalized(json.clone()).unwrap(), json.as_object().unwrap());
            prop_assert_eq!(&set.clone().into_map(), json.as_object().unwrap());
            prop_assert_eq!(Set::from_json(&json).unwrap(), set);
        }

        #[test]
        fn operations_on_the_stored_form_are_those_on_sets(a in set(), b in set()) {
            let mut fields = a.to_map();
            prop_assert_eq!(common(&fields, &b), a.intersection(&b));
            prop_assert_eq!(subtract(&mut fields, &b), !a.intersection(&b).is_empty());
            prop_assert_eq!(Set::from_map(&fields).unwrap(), a.difference(&b));
            let mut fields = a.to_map();
            insert(&mut fields, &b);
            let mut union = a.clone();
            union.union(&b);
            prop_assert_eq!(Set::from_map(&fields).unwrap(), union);
        }
    }

    #[test]
    fn path_elements_are_brought_to_one_spelling_and_nonsense_is_refused() {
        let fields = json!({"f:ports": {"k:{ \"protocol\":\"TCP\", \"port\":80}": {".": {}, "f:name": {}}}, "f:fin": {"v:\"a\"": {}}});
        let set = Set::from_json(&fields).unwrap();
        assert_eq!(set.paths(), [".fin[=\"a\"]", ".ports[port=80,protocol=\"TCP\"]", ".ports[port=80,protocol=\"TCP\"].name"]);
        assert_eq!(normalized(fields).unwrap(), set.to_map());
        assert_eq!(normalized(json!({"f:a": {".": {}}})).unwrap(), *json!({"f:a": {}}).as_object().unwrap());
        for bad in [json!({"x": {}}), json!({"f:a": 1}), json!({"k:[]": {}}), json!({"q:a": {}}), json!([])] {
            assert!(Set::from_json(&bad).is_err(), "{bad}");
        }
    }
}
