//! Server-side apply.

use super::entries::{self, Entry};
use super::set::Set;
use super::shape::Types;
use super::{Operation, Writer, compare, update};
use crate::error::{ApiError, Cause, Details};
use crate::schema::Schema;
use crate::value;
use serde_json::{Map, Value};

/// Who owns what an object had before its first apply, where nobody kept track.
const BEFORE: &str = "before-first-apply";
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: [&str; 3] = ["metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"];

/// A field that somebody else owns with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As error texts name it: `"x" with subresource "status" using apps/v1`.
    pub manager: String,
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApplyError {
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    /// A request that no object would make right: 400.
    #[error("{0}")]
    BadRequest(String),
    /// What is applied does not fit the schema; upstream lets the bare error through: 500.
    #[error("{0}")]
    Unfit(String),
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", only.manager, only.path);
    }
    let mut lines = Vec::new();
    let mut manager = "";
    for conflict in conflicts {
        if conflict.manager != manager {
            manager = &conflict.manager;
            lines.push(format!("conflicts with {manager}:"));
        }
        lines.push(format!("- {}", conflict.path));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

impl From<ApplyError> for ApiError {
    fn from(e: ApplyError) -> Self {
        let message = e.to_string();
        match e {
            ApplyError::Conflicts(conflicts) => {
                let cause = |c: Conflict| Cause {
                    reason: "FieldManagerConflict".into(),
                    message: format!("conflict with {}", c.manager),
                    field: c.path,
                };
                let causes = conflicts.into_iter().map(cause).collect();
                let mut e = Self::new(409, "Conflict", message);
                e.details = Some(Box::new(Details { causes, ..Details::default() }));
                e
            }
            ApplyError::BadRequest(_) => Self::bad_request(message),
            ApplyError::Unfit(_) => Self::new(500, "", message),
        }
    }
}

/// What `live` becomes when `writer` applies `applied`. `live` is null or `{}` where there is no object yet.
pub fn apply(schema: &Schema, live: &Value, applied: &Value, force: bool, writer: Writer<'_>) -> Result<Value, ApplyError> {
    if value::at(applied, &["metadata", "managedFields"]).is_some_and(|v| !v.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".into()));
    }
    fits(schema, applied)?;
    let empty = Value::Object(Map::new());
    let live = if live.is_null() { &empty } else { live };
    let managers = managers_of(schema, live, writer);
    let one = Apply { schema, live, applied, managers: &managers, writer };
    let mut result = match one.run(force) {
        // kubectl takes over what its own client-side apply had set, and nobody changed since.
        Err(conflicts) if writer.manager == KUBECTL => match one.run_past(&conflicts) {
            Ok(result) => result,
            Err(conflicts) => return Err(ApplyError::Conflicts(conflicts)),
        },
        Err(conflicts) => return Err(ApplyError::Conflicts(named(&conflicts))),
        Ok(result) => result,
    };
    if writer.manager == KUBECTL && !value::text(&result, &LAST_APPLIED).is_empty() {
        let mut plain = applied.clone();
        value::remove(&mut plain, &LAST_APPLIED);
        value::set(&mut result, &LAST_APPLIED, format!("{plain}\n"));
    }
    Ok(result)
}

/// Whether the schema has a place for everything that is applied.
pub fn fits(schema: &Schema, applied: &Value) -> Result<(), ApplyError> {
    let types = Types(schema);
    let unfit = |why: String| ApplyError::Unfit(format!("failed to create typed patch object ({}): {why}", about(applied)));
    types.check(types.root(), applied, "").map_err(unfit)
}

fn about(object: &Value) -> String {
    let text = |path: &[&str]| value::text(object, path).to_string();
    let (namespace, name) = (text(&["metadata", "namespace"]), text(&["metadata", "name"]));
    format!("{namespace}/{name}; {}, Kind={}", text(&["apiVersion"]), text(&["kind"]))
}

fn managers_of(schema: &Schema, live: &Value, writer: Writer<'_>) -> Vec<Entry> {
    let mut managers = entries::read(live).unwrap_or_default();
    if managers.is_empty() && live.as_object().is_some_and(|live| !live.is_empty()) {
        update::record(schema, &mut managers, None, live, Writer { manager: BEFORE, subresource: "", ..writer });
    }
    managers
}

/// What a manager would lose, before it is put in words.
type Conflicts = Vec<(Entry, Set)>;

fn named(conflicts: &Conflicts) -> Vec<Conflict> {
    let mut all: Vec<Conflict> = Vec::new();
    for (entry, set) in conflicts {
        let mut manager = format!("{:?}", entry.manager);
        if !entry.subresource.is_empty() {
            manager += &format!(" with subresource {:?}", entry.subresource);
        }
        if entry.operation == Operation::Update {
            manager += &format!(" using {}", entry.api_version);
        }
        all.extend(set.paths().into_iter().map(|path| Conflict { manager: manager.clone(), path }));
    }
    all.sort_by(|a, b| a.manager.cmp(&b.manager));
    all
}

struct Apply<'a> {
    schema: &'a Schema,
    live: &'a Value,
    applied: &'a Value,
    managers: &'a [Entry],
    writer: Writer<'a>,
}

impl Apply<'_> {
    fn run(&self, force: bool) -> Result<Value, Conflicts> {
        let types = Types(self.schema);
        let mut managers = self.managers.to_vec();
        let own = |e: &Entry| e.is_of(self.writer, Operation::Apply);
        let mut wanted = types.fields(types.root(), self.applied);
        compare::strip(&mut wanted, self.writer.reset);
        let mut last = Set::default();
        let entry = match managers.iter().position(own) {
            Some(at) => {
                last = Set::from_map(&managers[at].fields).unwrap_or_default();
                &mut managers[at]
            }
            None => {
                managers.push(Entry { time: None, ..Entry::new(self.writer, Operation::Apply) });
                let end = managers.len() - 1;
                &mut managers[end]
            }
        };
        entry.fields = wanted.to_map();
        entry.api_version = self.writer.api_version.into();
        let is_new = entry.time.is_none();
        let mut merged = types.merge(types.root(), self.live, self.applied);
        value::remove(&mut merged, &["metadata", "managedFields"]);
        // Whoever still wants all that they wanted takes nothing out.
        let wants_less = !last.difference(&wanted).is_empty();
        let pruned = if wants_less { types.prune(merged, &last, &managers) } else { merged };
        let comparison = compare::objects(self.schema, Some(self.live), &pruned, self.writer.reset);
        let mut conflicts = Vec::new();
        for entry in managers.iter_mut().filter(|e| !own(e)) {
            let lost = super::set::common(&entry.fields, &comparison.changed);
            if !lost.is_empty() && !force {
                conflicts.push((entry.clone(), lost));
                continue;
            }
            super::set::subtract(&mut entry.fields, &lost);
            super::set::subtract(&mut entry.fields, &comparison.removed);
        }
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        // Applying the same again changes nothing, not even the time.
        if is_new || !comparison.is_same() || wanted != last {
            managers.iter_mut().filter(|e| own(e)).for_each(|e| e.time = Some(self.writer.time.into()));
        }
        let mut result = pruned;
        entries::cap(&mut managers);
        entries::write(&mut result, managers);
        Ok(result)
    }

    /// Forces the apply if the last-applied annotation accounts for all conflicts; else says which are left.
    fn run_past(&self, conflicts: &Conflicts) -> Result<Value, Vec<Conflict>> {
        let allowed = self.set_by_client().unwrap_or_default();
        let left: Conflicts =
            conflicts.iter().map(|(entry, set)| (entry.clone(), set.difference(&allowed))).filter(|(_, s)| !s.is_empty()).collect();
        if !left.is_empty() {
            return Err(named(&left));
        }
        self.run(true).map_err(|conflicts| named(&conflicts))
    }

    /// What the last client-side apply set and is still so.
    fn set_by_client(&self) -> Option<Set> {
        let annotation: Value = serde_json::from_str(value::text(self.live, &LAST_APPLIED)).ok()?;
        let same = |key: &str| annotation.get(key) == self.applied.get(key);
        if !same("apiVersion") || !same("kind") {
            return None;
        }
        let types = Types(self.schema);
        types.check(types.root(), &annotation, "").ok()?;
        let set = types.fields(types.root(), &annotation);
        let since = compare::objects(self.schema, Some(&annotation), self.live, &[]);
        Some(set.difference(&since.changed).difference(&since.removed))
    }
}
