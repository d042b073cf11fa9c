//! Writes that are not applies: the writer comes to own what it changed, and nobody else keeps that.

use super::entries::{self, Entry};
use super::set::{self, Set};
use super::{Operation, Writer, compare};
use crate::schema::Schema;
use serde_json::Value;

/// Keeps `metadata.managedFields` of `new` right after a create (`old` is none) or an update, of which `new` is what
/// will be stored as far as the writer decides. Entries that the client changed itself are honoured.
pub fn track_update(schema: &Schema, new: &mut Value, old: Option<&Value>, writer: Writer<'_>) {
    let mut managers = entries::for_update(new, old);
    record(schema, &mut managers, old, new, writer);
    entries::cap(&mut managers);
    entries::write(new, managers);
}

pub(super) fn record(schema: &Schema, managers: &mut Vec<Entry>, old: Option<&Value>, new: &Value, writer: Writer<'_>) {
    let comparison = compare::objects(schema, old, new, writer.reset);
    if comparison.is_same() {
        return;
    }
    let own = |e: &Entry| e.is_of(writer, Operation::Update);
    let mut gone = Set::default();
    if managers.iter().any(|e| !own(e)) {
        gone = comparison.removed.clone();
        gone.union(&comparison.changed);
    }
    for entry in managers.iter_mut() {
        let what: &Set = if own(entry) { &comparison.removed } else { &gone };
        set::subtract(&mut entry.fields, what);
    }
    if comparison.changed.is_empty() {
        return;
    }
    let entry = match managers.iter().position(own) {
        Some(at) => &mut managers[at],
        None => {
            managers.push(Entry::new(writer, Operation::Update));
            let last = managers.len() - 1;
            &mut managers[last]
        }
    };
    if entry.fields.is_empty() {
        entry.fields = comparison.changed.into_map();
    } else {
        set::insert(&mut entry.fields, &comparison.changed);
    }
    entry.time = Some(writer.time.into());
}
