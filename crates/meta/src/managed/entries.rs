//! `metadata.managedFields`, read and written.

use super::set::{self, FieldsError, Set};
use super::{Operation, Writer};
use crate::value;
use serde_json::{Map, Value};
use std::cmp::Ordering;

const MANAGED_FIELDS: [&str; 2] = ["metadata", "managedFields"];
/// How many managers that only update keep an entry of their own.
const MAX_UPDATERS: usize = 10;
/// Who the rest are put together under.
const ANCIENT: &str = "ancient-changes";

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub manager: String,
    pub operation: Operation,
    pub api_version: String,
    pub subresource: String,
    pub time: Option<String>,
    /// `fieldsV1`, in the one spelling that [`Set`] writes.
    pub fields: Map<String, Value>,
}

impl Entry {
    pub fn new(writer: Writer<'_>, operation: Operation) -> Self {
        Self {
            manager: writer.manager.into(),
            operation,
            api_version: writer.api_version.into(),
            subresource: writer.subresource.into(),
            time: Some(writer.time.into()),
            fields: Map::new(),
        }
    }

    /// Appliers are one manager in all versions; updaters are told apart by version.
    pub fn is_of(&self, writer: Writer<'_>, operation: Operation) -> bool {
        self.manager == writer.manager
            && self.operation == operation
            && self.subresource == writer.subresource
            && (operation == Operation::Apply || self.api_version == writer.api_version)
    }

    fn from_json(index: usize, mut entry: Value) -> Result<Self, FieldsError> {
        let fields = value::remove(&mut entry, &["fieldsV1"]).unwrap_or_default();
        let text = |key: &str| value::text(&entry, &[key]).to_string();
        let operation = match value::text(&entry, &["operation"]) {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(FieldsError("operation must be `Apply` or `Update`".into())),
        };
        if text("apiVersion").is_empty() {
            return Err(FieldsError("apiVersion must not be empty".into()));
        }
        match value::text(&entry, &["fieldsType"]) {
            "FieldsV1" => {}
            "" => return Err(FieldsError(format!("missing fieldsType in managed fields entry {index}"))),
            other => return Err(FieldsError(format!("invalid fieldsType {other:?} in managed fields entry {index}"))),
        }
        Ok(Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: entry.get("time").and_then(Value::as_str).map(Into::into),
            fields: set::normalized(fields)?,
        })
    }

    fn into_json(self) -> Value {
        let operation = match self.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut entry = Map::new();
        let mut put = |key: &str, value: Value| entry.insert(key.into(), value);
        put("manager", self.manager.into());
        put("operation", operation.into());
        put("apiVersion", self.api_version.into());
        put("fieldsType", "FieldsV1".into());
        put("fieldsV1", self.fields.into());
        if let Some(time) = self.time {
            put("time", time.into());
        }
        if !self.subresource.is_empty() {
            put("subresource", self.subresource.into());
        }
        Value::Object(entry)
    }

    fn order(&self, other: &Self) -> Ordering {
        let by = |e: &Self| (e.operation, e.seconds());
        by(self)
            .cmp(&by(other))
            .then_with(|| self.manager.cmp(&other.manager))
            .then_with(|| self.api_version.cmp(&other.api_version))
            .then_with(|| self.subresource.cmp(&other.subresource))
    }

    fn seconds(&self) -> i64 {
        self.time.as_deref().and_then(|t| crate::time::parse(t).ok()).map_or(0, |t| t.as_second())
    }
}

fn list(object: &Value) -> &[Value] {
    value::items(object, &MANAGED_FIELDS)
}

pub(super) fn read(object: &Value) -> Result<Vec<Entry>, FieldsError> {
    entries(list(object).to_vec())
}

fn entries(list: Vec<Value>) -> Result<Vec<Entry>, FieldsError> {
    list.into_iter().enumerate().map(|(i, entry)| Entry::from_json(i, entry)).collect()
}

/// The entries that an update starts from, taken out of the object: the client's where it sends sound ones, since it may
/// edit them, else those that are there, so that clients that do not know them lose nothing. `[{}]` resets.
pub(super) fn for_update(new: &mut Value, old: Option<&Value>) -> Vec<Entry> {
    let sent = match value::remove(new, &MANAGED_FIELDS) {
        Some(Value::Array(sent)) => sent,
        _ => Vec::new(),
    };
    if let [Value::Object(only)] = &sent[..]
        && only.is_empty()
    {
        return Vec::new();
    }
    match entries(sent) {
        Ok(entries) if !entries.is_empty() => entries,
        _ => old.and_then(|old| read(old).ok()).unwrap_or_default(),
    }
}

/// Puts the entries into the object, in upstream's order and without those that own nothing.
pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|e| !e.fields.is_empty());
    entries.sort_by(Entry::order);
    if entries.is_empty() {
        value::remove(object, &MANAGED_FIELDS);
    } else {
        let entries: Value = entries.into_iter().map(Entry::into_json).collect();
        value::object(object, &["metadata"]).insert("managedFields".into(), entries);
    }
}

/// Puts the oldest updaters of a version together until few enough are left.
pub(super) fn cap(entries: &mut Vec<Entry>) {
    let updates = |e: &Entry| e.operation == Operation::Update;
    if entries.iter().filter(|e| updates(e)).count() <= MAX_UPDATERS {
        return;
    }
    let mut updaters: Vec<Entry> = entries.extract_if(.., |e| updates(e)).collect();
    // What was put together before takes in the rest.
    updaters.sort_by(|a, b| (a.manager != ANCIENT).cmp(&(b.manager != ANCIENT)).then_with(|| a.order(b)));
    let mut at = 0;
    while updaters.len() > MAX_UPDATERS && at < updaters.len() {
        let version = &updaters[at].api_version;
        let Some(first) = updaters[..at].iter().position(|e| e.api_version == *version) else {
            at += 1;
            continue;
        };
        let entry = updaters.remove(at);
        let bucket = &mut updaters[first];
        bucket.manager = ANCIENT.into();
        bucket.subresource = String::new();
        absorb(bucket, &entry);
        if entry.seconds() > bucket.seconds() {
            bucket.time = entry.time;
        }
    }
    entries.extend(updaters);
}

fn absorb(bucket: &mut Entry, entry: &Entry) {
    if let Ok(fields) = Set::from_map(&entry.fields) {
        set::insert(&mut bucket.fields, &fields);
    }
}
