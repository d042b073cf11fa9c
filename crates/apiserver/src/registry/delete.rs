//! Deleting: at once, after a grace period, or once the finalizers have done their work.

use super::options::dry_run;
use super::storage::{self, Outcome};
use super::{Task, cache};
use crate::admission::{AsOptions, Operation};
use crate::allocate;
use crate::conversion;
use crate::negotiate;
use crate::query::Query;
use crate::verbs::view;
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use meta::{ApiError, FieldErrors, FieldPath, GroupKind, time, value};
use serde_json::{Value, json};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const TRIES: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub grace: Option<i64>,
    /// `Orphan`, `Background` or `Foreground`.
    pub propagation: Option<String>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
}

impl DeleteOptions {
    /// From the body, or where there is none from the query.
    pub fn parse(query: &Query, content_type: Option<&HeaderValue>, body: &[u8]) -> Result<Self, ApiError> {
        let mut errors = FieldErrors::new();
        let tree = if body.is_empty() { Value::Null } else { negotiate::decode(content_type, body)?.0 };
        let mut options = if tree.is_null() { Self::of_query(query, &mut errors)? } else { Self::of_body(&tree, &mut errors)? };
        options.dry_run |= dry_run(query.all("dryRun"), &mut errors);
        let known = |policy: &str| matches!(policy, "Orphan" | "Background" | "Foreground");
        if let Some(policy) = options.propagation.as_deref().filter(|p| !known(p)) {
            errors.not_supported(&FieldPath::new("propagationPolicy"), policy, &["Foreground", "Background", "Orphan", "nil"]);
        }
        if errors.is_empty() { Ok(options) } else { Err(ApiError::invalid(&GroupKind::new("meta.k8s.io", "DeleteOptions"), "", &errors)) }
    }

    fn of_query(query: &Query, errors: &mut FieldErrors) -> Result<Self, ApiError> {
        let mut options = Self::default();
        if let Some(text) = query.get("gracePeriodSeconds").filter(|t| !t.is_empty()) {
            match text.parse() {
                Ok(seconds) => options.grace = Some(seconds),
                Err(_) => errors.invalid(&FieldPath::new("gracePeriodSeconds"), text, "must be a number of seconds"),
            }
        }
        options.propagation = query.get("propagationPolicy").filter(|p| !p.is_empty()).map(str::to_string);
        if options.propagation.is_none() && query.get("orphanDependents").is_some() {
            options.propagation = Some(policy_of(query.flag("orphanDependents")).into());
        }
        Ok(options)
    }

    fn of_body(tree: &Value, errors: &mut FieldErrors) -> Result<Self, ApiError> {
        let kind = value::text(tree, &["kind"]);
        if !tree.is_object() || !matches!(kind, "" | "DeleteOptions") {
            return Err(ApiError::bad_request(format!("the body of a delete must be DeleteOptions, not {kind:?}")));
        }
        let text = |path: &[&str]| Some(value::text(tree, path).to_string()).filter(|t| !t.is_empty());
        let mut propagation = text(&["propagationPolicy"]);
        if let Some(orphan) = value::at(tree, &["orphanDependents"]).and_then(Value::as_bool) {
            if propagation.is_some() {
                let path = FieldPath::new("propagationPolicy");
                errors.invalid(&path, propagation.clone(), "orphanDependents and deletionPropagation cannot be both set");
            }
            propagation = propagation.or_else(|| Some(policy_of(orphan).into()));
        }
        let values = value::items(tree, &["dryRun"]).iter().filter_map(Value::as_str);
        Ok(Self {
            grace: value::int(tree, &["gracePeriodSeconds"]),
            propagation,
            uid: text(&["preconditions", "uid"]),
            resource_version: text(&["preconditions", "resourceVersion"]),
            dry_run: dry_run(values, errors),
        })
    }
}

impl AsOptions for DeleteOptions {
    fn options(&self, _: Operation) -> Value {
        let mut told = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
        if let Some(grace) = self.grace {
            told["gracePeriodSeconds"] = grace.into();
        }
        for (path, text) in [
            (&["propagationPolicy"][..], &self.propagation),
            (&["preconditions", "uid"], &self.uid),
            (&["preconditions", "resourceVersion"], &self.resource_version),
        ] {
            if let Some(text) = text {
                value::set(&mut told, path, text.as_str());
            }
        }
        if self.dry_run {
            told["dryRun"] = json!(["All"]);
        }
        told
    }
}

fn policy_of(orphan: bool) -> &'static str {
    if orphan { "Orphan" } else { "Background" }
}

pub struct Deleted {
    /// Its last state, or the one that waits for its end.
    pub object: Value,
    /// It is no longer there.
    pub gone: bool,
}

/// What becomes of an object.
enum Step {
    /// It is as it has to be already.
    Nothing,
    Mark,
    Remove,
}

pub async fn delete(task: &Task<'_>, name: &str, options: &DeleteOptions) -> Result<Deleted, ApiError> {
    let cache = cache(task.resource)?;
    for _ in 0..TRIES {
        task.server.settle(None).await?;
        cache.readable(task.namespace, name)?;
        let current = cache.get(task.namespace, name).ok_or_else(|| task.not_found(name))?;
        let current = conversion::read_one(task.resource, current).await?;
        let mut object = view::served(task.resource, &current.bytes);
        check(task, name, &object, options)?;
        if task.admit {
            let mut request = task.request(Operation::Delete, name);
            request.options = Some(options);
            let admission = &task.server.inner.admission;
            let mut shown = object.clone();
            admission.mutate(&request, &mut shown, Some(&object)).await?;
            admission.validate(&request, &object, Some(&object)).await?;
            admission.take(&request, &mut shown, Some(&object)).await?;
        }
        let step = decide(task, &mut object, options);
        let gone = matches!(step, Step::Remove);
        if options.dry_run {
            return Ok(Deleted { object, gone });
        }
        let outcome = match step {
            Step::Nothing => return Ok(Deleted { object, gone: false }),
            Step::Mark => storage::put(task, name, &object, current.revision).await?,
            Step::Remove => storage::remove(task, name, current.revision).await?,
        };
        if let Outcome::Done(revision) = outcome {
            value::set(&mut object, &["metadata", "resourceVersion"], revision.to_string());
            if gone {
                allocate::freed(task.server, &task.resource.group_resource, &object).await;
            }
            return Ok(Deleted { object, gone });
        }
    }
    Err(ApiError::modified(&task.resource.group_resource, name))
}

fn check(task: &Task<'_>, name: &str, object: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let refuse = |what: &str, wanted: &str, found: &str| {
        let why = format!("Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}");
        Err(ApiError::conflict(&task.resource.group_resource, name, &why))
    };
    let uid = value::text(object, &["metadata", "uid"]);
    if let Some(wanted) = options.uid.as_deref().filter(|w| *w != uid) {
        return refuse("UID", wanted, uid);
    }
    let version = value::text(object, &["metadata", "resourceVersion"]);
    if let Some(wanted) = options.resource_version.as_deref().filter(|w| *w != version) {
        return refuse("ResourceVersion", wanted, version);
    }
    Ok(())
}

/// Upstream's `BeforeDelete` and `updateForGracefulDeletionAndFinalizers` in one.
fn decide(task: &Task<'_>, object: &mut Value, options: &DeleteOptions) -> Step {
    let kind = &task.resource.kind;
    let requested = options.grace.map(|g| if g < 0 { 1 } else { g });
    let already = value::text(object, &["metadata", "deletionTimestamp"]).to_string();
    let granted = value::int(object, &["metadata", "deletionGracePeriodSeconds"]);
    let graceful = kind.grace_period(object, requested);
    let mut changed = false;
    if let (false, Some(_), Some(granted)) = (already.is_empty(), graceful, granted) {
        let bare = value::items(object, &["metadata", "finalizers"]).is_empty() && !kind.held(object);
        // The time that is left may only become shorter.
        let Some(shorter) = requested.filter(|r| *r < granted) else {
            return if granted == 0 && bare { Step::Remove } else { Step::Nothing };
        };
        if let Ok(end) = time::parse(&already) {
            set_deletion(object, end.saturating_sub(SignedDuration::from_secs(granted - shorter)), shorter);
        }
        return if shorter == 0 && bare { Step::Remove } else { Step::Mark };
    }
    changed |= set_finalizers(task, object, options);
    let held = !value::items(object, &["metadata", "finalizers"]).is_empty() || kind.held(object);
    let grace = if already.is_empty() { graceful.unwrap_or(0).max(0) } else { 0 };
    if grace == 0 && !held {
        return Step::Remove;
    }
    if already.is_empty() || granted.is_some_and(|g| g != 0) {
        set_deletion(object, Timestamp::now().saturating_add(SignedDuration::from_secs(grace)), grace);
        changed = true;
        if let Some(generation) = value::int(object, &["metadata", "generation"]).filter(|g| *g > 0) {
            value::set(object, &["metadata", "generation"], generation + 1);
        }
        kind.mark_deleted(object);
    }
    if changed { Step::Mark } else { Step::Nothing }
}

fn set_deletion(object: &mut Value, at: impl IntoTimestamp, grace: i64) {
    value::set(object, &["metadata", "deletionTimestamp"], time::format(at.into_timestamp()));
    value::set(object, &["metadata", "deletionGracePeriodSeconds"], grace);
}

/// jiff's saturating arithmetic answers a result although it cannot fail for plain durations.
trait IntoTimestamp {
    fn into_timestamp(self) -> Timestamp;
}

impl IntoTimestamp for Timestamp {
    fn into_timestamp(self) -> Timestamp {
        self
    }
}

impl<E> IntoTimestamp for Result<Timestamp, E> {
    fn into_timestamp(self) -> Timestamp {
        self.unwrap_or_else(|_| Timestamp::now())
    }
}

/// The finalizers by which the garbage collector knows what is to become of dependents.
fn set_finalizers(task: &Task<'_>, object: &mut Value, options: &DeleteOptions) -> bool {
    let before: Vec<String> =
        value::items(object, &["metadata", "finalizers"]).iter().filter_map(|f| f.as_str().map(str::to_string)).collect();
    let has = |name: &str| before.iter().any(|f| f == name);
    let wanted = match options.propagation.as_deref() {
        Some("Orphan") => Some(ORPHAN),
        Some("Foreground") => Some(FOREGROUND),
        Some(_) => None,
        None if has(ORPHAN) => Some(ORPHAN),
        None if has(FOREGROUND) => Some(FOREGROUND),
        None if task.resource.kind.default_propagation() == "Orphan" => Some(ORPHAN),
        None => None,
    };
    let mut after: Vec<String> = before.iter().filter(|f| *f != ORPHAN && *f != FOREGROUND).cloned().collect();
    match wanted {
        // In its old place where it was there already, so that nothing changes.
        Some(name) if has(name) => after = before.iter().filter(|f| *f == name || (*f != ORPHAN && *f != FOREGROUND)).cloned().collect(),
        Some(name) => after.push(name.into()),
        None => {}
    }
    if after == before {
        return false;
    }
    if after.is_empty() {
        value::remove(object, &["metadata", "finalizers"]);
    } else {
        value::set(object, &["metadata", "finalizers"], after);
    }
    true
}
