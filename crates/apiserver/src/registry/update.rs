//! Changing an object that is there, whatever part of it.

use super::storage::{self, Outcome};
use super::{Task, cache, create, generation, owners};
use crate::admission::Operation;
use crate::conversion;
use crate::objects::Object;
use crate::verbs::view;
use meta::validate::{object_meta, object_meta_update};
use meta::{ApiError, FieldErrors, FieldPath, GroupVersionKind, value};
use serde_json::Value;

/// How often a change that names no revision is tried against the newest state.
const TRIES: usize = 32;

/// What may change.
#[derive(Clone, Copy)]
pub enum Part {
    Main,
    Status,
    /// The whole, by a subresource that has decided itself what changes; it is looked at like any other change.
    Decided,
    /// What no client may change, by a subresource that is about just that and has looked itself (`pods/binding`).
    Bound,
    Update {
        prepare: fn(&mut Value, &Value),
        validate: fn(&Value, &Value) -> FieldErrors,
    },
}

/// What a change makes of an object.
pub struct Changed {
    pub object: Value,
    /// The field owners are in the object already.
    pub owned: bool,
    pub shown: Option<Shown>,
}

impl Changed {
    pub fn new(object: Value) -> Self {
        Self { object, owned: false, shown: None }
    }
}

/// Writes what came out of admission into the object that is stored.
pub type Put = Box<dyn Fn(&Value, &mut Value) -> Result<(), ApiError> + Send + Sync>;

/// What admission sees of a change through a subresource with an object of its own (`Scale`, `Binding`).
pub struct Shown {
    pub operation: Operation,
    pub kind: GroupVersionKind,
    pub object: Value,
    pub old: Option<Value>,
    pub put: Put,
}

/// Makes the new object from what is there, as often as it takes. None is there only where `create` is set;
/// what it makes of nothing is created.
pub type Change<'c> = dyn FnMut(Option<&Value>) -> Result<Changed, ApiError> + Send + 'c;

/// The object as it came out, and whether it was created.
pub async fn update(task: &Task<'_>, name: &str, part: Part, may_create: bool, change: &mut Change<'_>) -> Result<(Value, bool), ApiError> {
    let cache = cache(task.resource)?;
    for _ in 0..TRIES {
        task.server.settle(None).await?;
        cache.readable(task.namespace, name)?;
        let Some(current) = cache.get(task.namespace, name) else {
            if !may_create {
                return Err(task.not_found(name));
            }
            let changed = change(None)?;
            return match Box::pin(create(task, changed.object, changed.owned)).await {
                Ok(object) => Ok((object, true)),
                // Somebody else has created it meanwhile.
                Err(error) if error.reason == "AlreadyExists" => continue,
                Err(error) => Err(error),
            };
        };
        let stale = conversion::is_stale(task.resource, &current);
        let current = conversion::read_one(task.resource, current).await?;
        let old = view::served(task.resource, &current.bytes);
        let changed = change(Some(&old))?;
        match once(task, name, part, &current, old, changed, stale).await? {
            Some(object) => return Ok((object, false)),
            None => continue,
        }
    }
    Err(ApiError::modified(&task.resource.group_resource, name))
}

/// None: somebody else was faster, and it may be tried again.
async fn once(
    task: &Task<'_>,
    name: &str,
    part: Part,
    current: &Object,
    old: Value,
    changed: Changed,
    stale: bool,
) -> Result<Option<Value>, ApiError> {
    let resource = task.resource;
    let kind = &resource.kind;
    let Changed { object: mut new, owned, mut shown } = changed;
    let mut request = task.request(Operation::Update, name);
    let admission = &task.server.inner.admission;
    if let Some(shown) = &mut shown {
        request = task.request(shown.operation, name);
        request.kind = shown.kind.clone();
        if task.admit {
            admission.mutate(&request, &mut shown.object, shown.old.as_ref()).await?;
        }
        (shown.put)(&shown.object, &mut new)?;
    }
    let conditional = check_identity(task, name, &mut new, &old)?;
    generation::keep(&mut new, &old);
    if new.pointer("/metadata/managedFields").is_none() {
        value::carry(&mut new, &old, &["metadata", "managedFields"]);
    }
    let decided = matches!(part, Part::Decided);
    if !owned && !decided {
        // The client owns what it sent, and nobody what admission or the kind make of it.
        owners::track(task, Some(&old), &mut new);
    }
    if task.admit && shown.is_none() {
        admission.mutate(&request, &mut new, Some(&old)).await?;
        admission.take(&request, &mut new, Some(&old)).await?;
    }
    match part {
        Part::Main => kind.prepare_update(&mut new, &old),
        Part::Status => prepare_status(task, &mut new, &old),
        Part::Update { prepare, .. } => prepare(&mut new, &old),
        Part::Decided | Part::Bound => {}
    }
    generation::keep(&mut new, &old);
    kind.default(&mut new);
    generation::count(resource, &mut new, &old);
    if !owned && decided {
        owners::track(task, Some(&old), &mut new);
    }
    validate(task, name, part, &new, &old)?;
    if matches!(part, Part::Main) {
        task.warnings.extend(kind.warnings(&new, Some(&old)));
    }
    if task.admit {
        match &shown {
            Some(shown) => admission.validate(&request, &shown.object, shown.old.as_ref()).await?,
            None => admission.validate(&request, &new, Some(&old)).await?,
        }
    }
    // What comes out the same is not written, so that nobody is woken for nothing; unless it would be stored
    // in another version or with another key.
    if new == old && !stale && !cache(task.resource)?.stale(task.namespace, name) {
        return Ok(Some(new));
    }
    let gone = is_finished(task, &new, &old);
    if task.options.dry_run {
        return Ok(Some(new));
    }
    let outcome =
        if gone { storage::remove(task, name, current.revision).await? } else { storage::put(task, name, &new, current.revision).await? };
    match outcome {
        Outcome::Done(revision) => {
            value::set(&mut new, &["metadata", "resourceVersion"], revision.to_string());
            Ok(Some(new))
        }
        Outcome::Conflict if conditional => Err(ApiError::modified(&resource.group_resource, name)),
        Outcome::Conflict => Ok(None),
    }
}

/// Whether the new object is about the old one; true if it demands a revision.
fn check_identity(task: &Task<'_>, name: &str, new: &mut Value, old: &Value) -> Result<bool, ApiError> {
    let resource = task.resource;
    let uid = value::text(new, &["metadata", "uid"]);
    let current = value::text(old, &["metadata", "uid"]);
    if !uid.is_empty() && uid != current {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {current}");
        return Err(ApiError::conflict(&resource.group_resource, name, &why));
    }
    let version = value::text(new, &["metadata", "resourceVersion"]);
    let conditional = !matches!(version, "" | "0");
    if conditional && version != value::text(old, &["metadata", "resourceVersion"]) {
        if version.parse::<u64>().is_err() {
            let mut errors = FieldErrors::new();
            errors.invalid(&FieldPath::new("metadata.resourceVersion"), version, "must be an unsigned integer");
            return Err(task.invalid(name, &errors));
        }
        return Err(ApiError::modified(&resource.group_resource, name));
    }
    // Custom resources have never had unconditional updates, nor have some built-in kinds. A patch has the revision of what it patches.
    let demanded = resource.custom || !resource.kind.allow_unconditional_update();
    // The server's own changes are made from the newest state anyway.
    if !conditional && demanded && task.admit && task.attributes.verb == "update" {
        let mut errors = FieldErrors::new();
        errors.invalid(&FieldPath::new("metadata.resourceVersion"), 0, "must be specified for an update");
        return Err(task.invalid(name, &errors));
    }
    value::carry(new, old, &["metadata", "resourceVersion"]);
    // The revision of a patch is the one it was made from, not one that the client demands.
    Ok(conditional && task.attributes.verb == "update")
}

/// Labels and annotations of built-in kinds can be changed with the status; custom resources keep all of
/// their metadata.
fn prepare_status(task: &Task<'_>, new: &mut Value, old: &Value) {
    let asked = if task.resource.custom { None } else { new.get("metadata").cloned() };
    task.resource.kind.prepare_status(new, old);
    if let (Some(asked), Some(metadata)) = (asked, new.get_mut("metadata")) {
        for field in ["labels", "annotations"] {
            value::carry(metadata, &asked, &[field]);
        }
    }
}

fn validate(task: &Task<'_>, name: &str, part: Part, new: &Value, old: &Value) -> Result<(), ApiError> {
    let kind = &task.resource.kind;
    let null = Value::Null;
    let (meta, before) = (new.get("metadata").unwrap_or(&null), old.get("metadata").unwrap_or(&null));
    let path = FieldPath::new("metadata");
    let mut errors = object_meta_update(meta, before, &path);
    match part {
        Part::Main => {
            if meta.get("finalizers") != before.get("finalizers") {
                let check = |name: &str, prefix: bool| kind.check_name(name, prefix);
                let all = object_meta(meta, &path, task.resource.namespaced(), &check);
                errors.0.extend(all.0.into_iter().filter(|e| e.path.as_str().starts_with("metadata.finalizers")));
                errors.extend(super::finalizers(task, meta));
            }
            errors.extend(kind.validate(new));
            errors.extend(kind.validate_update(new, old));
        }
        Part::Status => errors.extend(kind.validate_status(new, old)),
        Part::Update { validate, .. } => errors.extend(validate(new, old)),
        Part::Decided => {
            errors.extend(kind.validate(new));
            errors.extend(kind.validate_update(new, old));
        }
        Part::Bound => {}
    }
    if errors.is_empty() { Ok(()) } else { Err(task.invalid(name, &errors)) }
}

/// The last that held back a deletion has let go.
fn is_finished(task: &Task<'_>, new: &Value, old: &Value) -> bool {
    let grace = value::int(old, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0);
    !value::text(old, &["metadata", "deletionTimestamp"]).is_empty()
        && grace == 0
        && value::items(new, &["metadata", "finalizers"]).is_empty()
        && !task.resource.kind.held(new)
}

/// An update's body: it has to be about the object that the path names.
pub fn check_name(task: &Task<'_>, name: &str, object: &mut Value) -> Result<(), ApiError> {
    let given = value::text(object, &["metadata", "name"]);
    if given != name {
        return Err(ApiError::bad_request(format!("the name of the object ({given}) does not match the name on the URL ({name})")));
    }
    let namespace = value::text(object, &["metadata", "namespace"]);
    if task.resource.namespaced() && !namespace.is_empty() && namespace != task.namespace {
        let on = task.namespace;
        return Err(ApiError::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({on})"
        )));
    }
    create::place(task, object)
}
