//! The one trait through which the machinery knows a kind. Every method but [`Kind::names`] has a
//! default, so a plain kind is little more than its names; a custom resource implements it from its
//! definition at run time.

use meta::schema::Schema;
use meta::{ApiError, FieldErrors, GroupKind, GroupResource, GroupVersion};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

#[derive(Clone, Debug)]
pub struct Names {
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    pub list_kind: Cow<'static, str>,
    pub plural: Cow<'static, str>,
    pub singular: Cow<'static, str>,
    pub short_names: Vec<Cow<'static, str>>,
    pub categories: Vec<Cow<'static, str>>,
    pub scope: Scope,
}

impl Names {
    /// Names whose list kind and singular follow from the kind.
    pub fn new(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str, scope: Scope) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            list_kind: format!("{kind}List").into(),
            plural: plural.into(),
            singular: kind.to_lowercase().into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            scope,
        }
    }

    pub fn short(mut self, names: &[&'static str]) -> Self {
        self.short_names = names.iter().map(|n| Cow::Borrowed(*n)).collect();
        self
    }

    pub fn categories(mut self, names: &[&'static str]) -> Self {
        self.categories = names.iter().map(|n| Cow::Borrowed(*n)).collect();
        self
    }

    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(&*self.group, &*self.kind)
    }

    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(&*self.group, &*self.plural)
    }

    pub fn group_version(&self) -> GroupVersion {
        GroupVersion::new(&*self.group, &*self.version)
    }

    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }
}

/// A column of the server-side table (`kubectl get`).
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub ty: Cow<'static, str>,
    /// `name` on the first column, else usually empty.
    pub format: Cow<'static, str>,
    pub description: Cow<'static, str>,
    /// 0 is always shown; higher only with `-o wide`.
    pub priority: i32,
}

impl Column {
    pub fn new(name: &'static str, ty: &'static str) -> Self {
        Self { name: name.into(), ty: ty.into(), format: "".into(), description: "".into(), priority: 0 }
    }

    pub fn wide(name: &'static str, ty: &'static str) -> Self {
        Self { priority: 1, ..Self::new(name, ty) }
    }

    /// The `Name` column.
    pub fn name() -> Self {
        Self { format: "name".into(), ..Self::new("Name", "string") }
    }

    /// The `Age` column.
    pub fn age() -> Self {
        Self::new("Age", "string")
    }
}

/// Where a scalable kind keeps what `Scale` shows.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalePaths {
    pub spec_replicas: Vec<String>,
    pub status_replicas: Vec<String>,
    /// A path to a label selector (an object), or to its text form in custom resources.
    pub selector: Vec<String>,
}

/// Applies a subresource's request body to the stored object: `(object, body) -> answer body`.
pub type Mutation = fn(&mut Value, &Value) -> Result<Value, ApiError>;

/// What can be addressed below an object.
#[derive(Clone)]
pub enum Subresource {
    /// `/status`: get, update and patch through the `status_*` methods.
    Status,
    /// `/scale`.
    Scale(ScalePaths),
    /// A create that changes the object (`pods/binding`).
    Create { name: &'static str, kind: (&'static str, &'static str, &'static str), mutate: Mutation },
    /// A get, update and patch of the whole object that may change only what `prepare` lets through
    /// (`pods/ephemeralcontainers`, `pods/resize`, `certificatesigningrequests/approval`). `prepare` gets
    /// the new and the old object.
    Update {
        name: &'static str,
        verbs: &'static [&'static str],
        prepare: fn(&mut Value, &Value),
        validate: fn(&Value, &Value) -> FieldErrors,
    },
    /// Answered by a handler of the server registered for this resource and name
    /// (`pods/log`, `pods/exec`, `pods/eviction`, `serviceaccounts/token`, `nodes/proxy`).
    /// `kind` is (group, version, kind) as discovery shows it; `verbs` likewise.
    Connect { name: &'static str, kind: (&'static str, &'static str, &'static str), verbs: &'static [&'static str] },
}

impl Subresource {
    pub fn name(&self) -> &str {
        match self {
            Self::Status => "status",
            Self::Scale(_) => "scale",
            Self::Create { name, .. } | Self::Update { name, .. } | Self::Connect { name, .. } => name,
        }
    }
}

pub trait Kind: Send + Sync + 'static {
    fn names(&self) -> &Names;

    /// The shape, shared and built once.
    fn schema(&self) -> Arc<Schema>;

    /// The published OpenAPI definition name (`io.k8s.api.core.v1.Pod`).
    fn definition(&self) -> &str {
        ""
    }

    /// Of a custom resource, its structural schema; [`crate::openapi`] has no definition of that name.
    fn openapi(&self) -> Option<&Value> {
        None
    }

    /// Below `/registry`, without slashes: the plural, and for some kinds what upstream uses instead
    /// (`services/specs`, `minions`, `controllers`, `ingress`).
    fn storage_prefix(&self) -> String {
        let names = self.names();
        names.plural.to_string()
    }

    /// What everybody who asks for it is told, where it should not be used any more.
    fn deprecated(&self) -> &str {
        ""
    }

    /// False for kinds that are answered and never kept (reviews).
    fn stored(&self) -> bool {
        true
    }

    /// How long an object is kept after it was last written, for kinds that nobody deletes.
    fn time_to_live(&self) -> Option<std::time::Duration> {
        None
    }

    /// The verbs of the main resource, as discovery lists them.
    fn verbs(&self) -> &'static [&'static str] {
        &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    }

    /// Whether `metadata.generation` counts changes of the spec.
    fn has_generation(&self) -> bool {
        false
    }

    /// Whether this update counts as a new generation: by default any change outside of metadata and status.
    fn bumps_generation(&self, new: &Value, old: &Value) -> bool {
        differs(new, old, &["metadata", "status", "apiVersion", "kind"])
    }

    /// Checks a name (or the prefix of a generated one); the default is a DNS subdomain.
    fn check_name(&self, name: &str, is_prefix: bool) -> Vec<String> {
        let _ = is_prefix;
        meta::validate::dns_subdomain(name, is_prefix)
    }

    /// Fills what the manifest left out. Idempotent; run on every decode and on stored objects.
    fn default(&self, object: &mut Value) {
        let _ = object;
    }

    /// Before validation of a create: drops what a client may not set (the status).
    fn prepare_create(&self, object: &mut Value) {
        if self.subresources().iter().any(|s| matches!(s, Subresource::Status)) {
            meta::value::remove(object, &["status"]);
        }
    }

    /// After [`Kind::prepare_create`]: writes who asks into the object, where it carries that. `user` has
    /// `username`, `uid`, `groups` and `extra`, as in a `TokenReview`.
    fn stamp_requester(&self, object: &mut Value, user: &Value) {
        let _ = (object, user);
    }

    /// Object metadata is checked by the machinery; this checks the rest.
    fn validate(&self, object: &Value) -> FieldErrors {
        let _ = object;
        FieldErrors::new()
    }

    /// What is checked of a new object only, beyond [`Kind::validate`].
    fn validate_create(&self, object: &Value) -> FieldErrors {
        let _ = object;
        FieldErrors::new()
    }

    /// Before validation of an update: restores what this verb may not change (the status).
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        if self.subresources().iter().any(|s| matches!(s, Subresource::Status)) {
            meta::value::carry(new, old, &["status"]);
        }
    }

    /// The rules of a change beyond those of [`Kind::validate`], which is called besides.
    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let _ = (new, old);
        FieldErrors::new()
    }

    /// Before validation of a status update: restores everything but the status.
    fn prepare_status(&self, new: &mut Value, old: &Value) {
        let status = new.get("status").cloned();
        let managed = meta::value::at(new, &["metadata", "managedFields"]).cloned();
        *new = old.clone();
        match status {
            Some(status) => meta::value::set(new, &["status"], status),
            None => {
                meta::value::remove(new, &["status"]);
            }
        }
        if let Some(managed) = managed {
            meta::value::set(new, &["metadata", "managedFields"], managed);
        }
    }

    fn validate_status(&self, new: &Value, old: &Value) -> FieldErrors {
        let _ = (new, old);
        FieldErrors::new()
    }

    /// What the client should be told though the write succeeds (the `Warning` header).
    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let _ = (object, old);
        Vec::new()
    }

    /// Fields beyond `metadata.name` and `metadata.namespace` that a field selector may name.
    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        Vec::new()
    }

    /// The value of one of [`Kind::selectable_fields`].
    fn selectable(&self, object: &Value, field: &str) -> String {
        let path: Vec<&str> = field.split('.').collect();
        match meta::value::at(object, &path) {
            Some(Value::String(s)) => s.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        }
    }

    /// The table's columns; the default is name and age.
    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::age()]
    }

    /// One row, a cell per column. `now` is what ages are counted to.
    fn row(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        vec![meta::value::text(object, &["metadata", "name"]).into(), crate::table::age(object, now).into()]
    }

    fn subresources(&self) -> Vec<Subresource> {
        Vec::new()
    }

    /// Seconds of grace for a delete that names none; `None` deletes at once. Pods answer from their spec.
    /// `requested` is what the client asked for.
    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let _ = (object, requested);
        None
    }

    /// Propagation where a delete names none: `Background` or `Orphan`.
    fn default_propagation(&self) -> &'static str {
        "Background"
    }

    /// Whether something besides `metadata.finalizers` keeps an object that is being deleted
    /// (`spec.finalizers` of namespaces).
    fn held(&self, object: &Value) -> bool {
        let _ = object;
        false
    }

    /// What an object shows once it is being deleted but still there (a namespace's phase).
    fn mark_deleted(&self, object: &mut Value) {
        let _ = object;
    }

    /// Whether an update to an object that does not exist creates it (leases, endpoints, ...).
    fn create_on_update(&self) -> bool {
        false
    }

    /// Whether an update may come without a resource version.
    fn allow_unconditional_update(&self) -> bool {
        true
    }

    /// The group and version it is stored in, where that is another than the served one
    /// (`events.k8s.io/v1` is stored as core `v1`), with the two conversions.
    fn stored_as(&self) -> Option<StoredAs> {
        None
    }
}

/// A second view of a kind that another version stores.
#[derive(Clone, Copy)]
pub struct StoredAs {
    pub group: &'static str,
    pub version: &'static str,
    pub to_stored: fn(&mut Value),
    pub from_stored: fn(&mut Value),
}

/// Whether two objects differ in a top-level field that is not one of `apart_from`.
pub fn differs(new: &Value, old: &Value, apart_from: &[&str]) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return new != old };
    new.keys().chain(old.keys()).any(|key| !apart_from.contains(&key.as_str()) && new.get(key) != old.get(key))
}

/// The three methods that every built-in kind answers alike.
macro_rules! built_in {
    ($definition:literal, $names:expr) => {
        fn names(&self) -> &$crate::Names {
            static NAMES: std::sync::LazyLock<$crate::Names> = std::sync::LazyLock::new(|| $names);
            &NAMES
        }

        fn schema(&self) -> std::sync::Arc<meta::schema::Schema> {
            static SCHEMA: std::sync::LazyLock<std::sync::Arc<meta::schema::Schema>> =
                std::sync::LazyLock::new(|| $crate::schema::of($definition));
            SCHEMA.clone()
        }

        fn definition(&self) -> &str {
            $definition
        }
    };
}
pub(crate) use built_in;
