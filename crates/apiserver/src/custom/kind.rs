//! One version of a custom resource, as the machinery knows all kinds.

use super::path::Path;
use super::{defaulting, shape};
use jiff::Timestamp;
use kinds::apiextensions::validations::Rules;
use kinds::apiextensions::values;
use kinds::{Column, Kind, Names, ScalePaths, Scope, StoredAs, Subresource};
use meta::field::{FieldError, FieldErrorType};
use meta::schema::Schema;
use meta::{FieldErrors, FieldPath, value};
use parking_lot::Mutex;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// While all objects of a kind are being deleted there shall be no new ones.
const ENDING: &[&str] = &["delete", "deletecollection", "get", "list", "patch", "update", "watch"];

pub struct CustomKind {
    names: Names,
    definition: String,
    prefix: String,
    schema: Arc<Schema>,
    /// The structural schema as the definition has it.
    openapi: Value,
    rules: Option<Rules>,
    subresources: Vec<Subresource>,
    columns: Vec<Column>,
    cells: Vec<Option<Path>>,
    selectable: Vec<Cow<'static, str>>,
    stored_as: Option<StoredAs>,
    deprecation: Option<String>,
    ending: bool,
}

/// Names of versions live as long as the program, because the names of built-in ones do. Each is kept once.
fn forever(text: &str) -> &'static str {
    static NAMES: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    let mut names = NAMES.lock();
    if let Some(name) = names.get(text) {
        return name;
    }
    let name: &'static str = Box::leak(text.into());
    names.insert(name);
    name
}

/// Only the version changes between versions, and that the machinery does.
fn unchanged(_: &mut Value) {}

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_string())
}

impl CustomKind {
    /// Against the schema, and then the rules. Those over what has not the declared types would fail in ways that nobody
    /// understands.
    fn check(&self, new: &Value, old: Option<&Value>) -> FieldErrors {
        let mut errors = values::validate(&self.openapi, new, old);
        let Some(rules) = &self.rules else { return errors };
        let blocks = |error: &FieldError| {
            use FieldErrorType::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
            matches!(error.kind, NotSupported | Required | TooLong | TooMany | TypeInvalid)
        };
        if errors.0.iter().any(blocks) {
            let detail =
                "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.invalid(&FieldPath::root(), Value::Null, detail);
        } else {
            errors.extend(rules.check(new, old));
        }
        errors
    }

    /// `names` are the accepted ones.
    pub fn new(definition: &Value, names: &Value, version: &Value, storage: &str, ending: bool) -> Self {
        let group = value::text(definition, &["spec", "group"]);
        let text = |key: &str| value::text(names, &[key]);
        let words = |key: &str| value::items(names, &[key]).iter().filter_map(Value::as_str).map(owned).collect();
        let version_name = value::text(version, &["name"]);
        let scope = if value::text(definition, &["spec", "scope"]) == "Cluster" { Scope::Cluster } else { Scope::Namespaced };
        let reversed: Vec<&str> = group.rsplit('.').collect();
        let published = format!("{}.{version_name}.{}", reversed.join("."), text("kind"));
        let any = serde_json::json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let openapi = value::at(version, &["schema", "openAPIV3Schema"]).cloned().unwrap_or(any);
        let (columns, cells) = columns(version);
        let select = |field: &Value| value::text(field, &["jsonPath"]).trim_start_matches('.').to_string();
        Self {
            definition: published.clone(),
            prefix: format!("{group}/{}", text("plural")),
            schema: Arc::new(shape::build(&published, &openapi)),
            rules: Rules::new(&openapi),
            subresources: subresources(version),
            columns,
            cells,
            selectable: value::items(version, &["selectableFields"]).iter().map(|f| Cow::Owned(select(f))).collect(),
            stored_as: (version_name != storage).then(|| StoredAs {
                group: forever(group),
                version: forever(storage),
                to_stored: unchanged,
                from_stored: unchanged,
            }),
            deprecation: value::flag(version, &["deprecated"]).then(|| match value::text(version, &["deprecationWarning"]) {
                "" => format!("{group}/{version_name} {} is deprecated", text("kind")),
                warning => warning.to_string(),
            }),
            ending,
            names: Names {
                group: owned(group),
                version: owned(version_name),
                kind: owned(text("kind")),
                list_kind: owned(text("listKind")),
                plural: owned(text("plural")),
                singular: owned(text("singular")),
                short_names: words("shortNames"),
                categories: words("categories"),
                scope,
            },
            openapi,
        }
    }
}

fn subresources(version: &Value) -> Vec<Subresource> {
    let mut all = Vec::new();
    if let Some(scale) = value::at(version, &["subresources", "scale"]).filter(|s| s.is_object()) {
        // The path of no field at all, where there is none: an empty one would lead to the object itself.
        let path = |key: &str| {
            let steps = Path::parse(value::text(scale, &[key])).and_then(|p| p.fields()).unwrap_or_default();
            if steps.is_empty() { vec![String::new()] } else { steps }
        };
        all.push(Subresource::Scale(ScalePaths {
            spec_replicas: path("specReplicasPath"),
            status_replicas: path("statusReplicasPath"),
            selector: path("labelSelectorPath"),
        }));
    }
    if value::at(version, &["subresources", "status"]).is_some() {
        all.push(Subresource::Status);
    }
    all
}

/// The columns after the name, and where their cells come from.
fn columns(version: &Value) -> (Vec<Column>, Vec<Option<Path>>) {
    let given = value::items(version, &["additionalPrinterColumns"]);
    if given.is_empty() {
        let age = Column { ty: "date".into(), ..Column::age() };
        return (vec![Column::name(), age], vec![Path::parse(".metadata.creationTimestamp")]);
    }
    let mut columns = vec![Column::name()];
    let mut cells = Vec::new();
    for column in given {
        let text = |key: &str| value::text(column, &[key]);
        let description = match text("description") {
            "" => format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath")),
            given => given.to_string(),
        };
        columns.push(Column {
            name: owned(text("name")),
            ty: owned(text("type")),
            format: owned(text("format")),
            description: Cow::Owned(description),
            priority: value::int(column, &["priority"]).and_then(|p| i32::try_from(p).ok()).unwrap_or(0),
        });
        cells.push(Path::parse(text("jsonPath")));
    }
    (columns, cells)
}

fn cell(ty: &str, found: Option<&Value>, now: Timestamp) -> Value {
    let Some(found) = found else { return Value::Null };
    match (ty, found) {
        ("integer", Value::Number(n)) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)).map_or(Value::Null, Value::from),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) | ("string", Value::String(_)) => found.clone(),
        ("date", Value::String(text)) => match meta::time::parse(text) {
            Ok(_) => kinds::table::since_text(text, now).into(),
            Err(_) => "<invalid>".into(),
        },
        ("string", other) => other.to_string().into(),
        _ => Value::Null,
    }
}

impl Kind for CustomKind {
    fn names(&self) -> &Names {
        &self.names
    }

    fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }

    fn definition(&self) -> &str {
        &self.definition
    }

    fn openapi(&self) -> Option<&Value> {
        Some(&self.openapi)
    }

    fn storage_prefix(&self) -> String {
        self.prefix.clone()
    }

    fn verbs(&self) -> &'static [&'static str] {
        if self.ending { ENDING } else { VERBS }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        defaulting::prune_nulls(&self.openapi, object);
        defaulting::apply(&self.openapi, object);
    }

    fn validate_create(&self, object: &Value) -> FieldErrors {
        self.check(object, None)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        self.check(new, Some(old))
    }

    fn validate_status(&self, new: &Value, old: &Value) -> FieldErrors {
        self.check(new, Some(old))
    }

    fn deprecated(&self) -> &str {
        self.deprecation.as_deref().unwrap_or_default()
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        self.selectable.clone()
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let cells = self.cells.iter().zip(self.columns.iter().skip(1));
        let cells = cells.map(|(path, column)| cell(&column.ty, path.as_ref().and_then(|p| p.first(object)), now));
        std::iter::once(kinds::table::name(object)).chain(cells).collect()
    }

    fn subresources(&self) -> Vec<Subresource> {
        self.subresources.clone()
    }

    fn stored_as(&self) -> Option<StoredAs> {
        self.stored_as
    }
}
