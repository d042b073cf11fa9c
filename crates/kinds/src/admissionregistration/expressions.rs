//! The expressions of webhooks and policies: what they may name, what they have to evaluate to, and how they are
//! compiled, which is the same when they are written and when they are used.

use cel::{Environment, FieldType, ObjectType, Program, Type};
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;
use std::sync::Arc;

/// What an expression has to come out as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Bool,
    Text,
    TextOrNull,
    Anything,
    /// `Object{...}`
    Configuration,
    /// A list of `JSONPatch{...}`.
    Patches,
}

/// Compiles the expressions of one object, in which later ones may use the variables declared before.
#[derive(Debug, Default)]
pub struct Compiler {
    params: bool,
    /// What is known of the object and of the parameters, where it is.
    types: Option<(Type, Type)>,
    variables: Option<Vec<(String, Type)>>,
}

impl Compiler {
    /// Of a webhook's conditions.
    pub fn plain() -> Self {
        Self::default()
    }

    /// Of a policy; `params` says whether it has a kind of parameters.
    pub fn policy(params: bool) -> Self {
        Self { params, types: None, variables: Some(Vec::new()) }
    }

    /// The same for objects and parameters of one type each, to find what cannot be right about them.
    pub fn typed(params: bool, object: Type, of_params: Type) -> Self {
        Self { types: Some((object, of_params)), ..Self::policy(params) }
    }

    /// Declares `variables.<name>`. One that is wrong can still be named, so that not everything else is wrong too.
    pub fn variable(&mut self, name: &str, source: &str) -> Result<Program, String> {
        let program = self.compile(source, Wanted::Anything);
        let ty = program.as_ref().map_or(Type::Dyn, |p| p.ty().clone());
        if let Some(variables) = &mut self.variables {
            variables.retain(|(known, _)| known != name);
            variables.push((name.to_string(), ty));
        }
        program
    }

    pub fn compile(&self, source: &str, wanted: Wanted) -> Result<Program, String> {
        let (about, params) = self.types.clone().unwrap_or((Type::Dyn, Type::Dyn));
        let mut environment = Environment::new()
            .with_variable("object", about.clone())
            .with_variable("oldObject", about)
            .with_variable("namespaceObject", namespace())
            .with_variable("request", request());
        if self.params {
            environment.declare("params", params);
        }
        // Messages and notes are made of what is known, without asking anybody.
        if wanted != Wanted::Text {
            environment.declare("authorizer", cel::authorizer::authorizer_type());
            environment.declare("authorizer.requestResource", cel::authorizer::request_resource_type());
        }
        if let Some(variables) = &self.variables {
            environment.declare("variables", object("kubernetes.variables", variables.iter().cloned()));
        }
        if matches!(wanted, Wanted::Configuration | Wanted::Patches) {
            environment = environment.with_open_object("Object").with_object(json_patch());
        }
        let program = environment.compile(source).map_err(|e| format!("compilation failed: {e}"))?;
        let found = program.ty();
        let is = |name: &str| matches!(found, Type::Object(object) if object.name == name);
        let (fits, names) = match wanted {
            Wanted::Anything => (true, ""),
            Wanted::Bool => (*found == Type::Bool, "bool"),
            Wanted::Text => (*found == Type::String, "string"),
            Wanted::TextOrNull => (matches!(found, Type::String | Type::Null), "one of [string null_type]"),
            Wanted::Configuration => (is("Object"), "Object"),
            Wanted::Patches => {
                (matches!(found, Type::List(list) if matches!(&list.element, Type::Object(o) if o.name == "JSONPatch")), "list(JSONPatch)")
            }
        };
        if fits { Ok(program) } else { Err(format!("must evaluate to {names} but got {found}")) }
    }

    /// Says in `errors` what is wrong with the expression in a field of `of`.
    pub fn check(&self, of: &Value, field: &str, wanted: Wanted, at: &FieldPath, errors: &mut FieldErrors) {
        let source = value::text(of, &[field]);
        if source.trim().is_empty() {
            return;
        }
        if let Err(why) = self.compile(source, wanted) {
            errors.invalid(&at.child(field), source, &why);
        }
    }
}

/// Fields go by their own names here, `namespace` included, which a schema's fields of that name do not.
fn object(name: &str, fields: impl IntoIterator<Item = (String, Type)>) -> Type {
    let fields = fields.into_iter().map(|(name, ty)| (name.clone(), FieldType { name, ty }));
    Type::Object(Arc::new(ObjectType { name: name.into(), fields: fields.collect() }))
}

fn text(name: &str) -> (String, Type) {
    (name.into(), Type::String)
}

fn named(name: &str, ty: Type) -> (String, Type) {
    (name.into(), ty)
}

/// An operation of a JSON patch, as expressions make it.
fn json_patch() -> Arc<ObjectType> {
    Arc::new(ObjectType::new("JSONPatch", [text("op"), text("path"), text("from"), named("value", Type::Dyn)]))
}

/// Of `namespaceObject`.
fn namespace() -> Type {
    let texts = || Type::map(Type::String, Type::String);
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        [
            text("name"),
            text("generateName"),
            text("namespace"),
            named("labels", texts()),
            named("annotations", texts()),
            text("uid"),
            text("resourceVersion"),
            named("generation", Type::Int),
            named("creationTimestamp", Type::Timestamp),
            named("deletionTimestamp", Type::Timestamp),
            named("deletionGracePeriodSeconds", Type::Int),
            named("finalizers", Type::list(Type::String)),
        ],
    );
    let spec = object("kubernetes.NamespaceSpec", [named("finalizers", Type::list(Type::String))]);
    let status = object("kubernetes.NamespaceStatus", [text("phase"), named("conditions", Type::list(Type::Dyn))]);
    object("kubernetes.Namespace", [named("metadata", metadata), named("spec", spec), named("status", status)])
}

/// Of `request`.
fn request() -> Type {
    let kind = || object("kubernetes.GroupVersionKind", [text("group"), text("version"), text("kind")]);
    let resource = || object("kubernetes.GroupVersionResource", [text("group"), text("version"), text("resource")]);
    let extra = Type::map(Type::String, Type::list(Type::String));
    let user = [text("username"), text("uid"), named("groups", Type::list(Type::String)), named("extra", extra)];
    object(
        "kubernetes.AdmissionRequest",
        [
            named("kind", kind()),
            named("resource", resource()),
            text("subResource"),
            named("requestKind", kind()),
            named("requestResource", resource()),
            text("requestSubResource"),
            text("name"),
            text("namespace"),
            text("operation"),
            named("userInfo", object("kubernetes.UserInfo", user)),
            named("dryRun", Type::Bool),
            named("options", Type::Dyn),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_have_to_compile_and_to_be_of_their_type() {
        let compiler = Compiler::policy(true);
        let ok = |source: &str, wanted| compiler.compile(source, wanted).map(drop);
        assert_eq!(ok("object.spec.replicas <= params.max", Wanted::Bool), Ok(()));
        assert_eq!(ok("request.userInfo.username.startsWith('system:')", Wanted::Bool), Ok(()));
        assert_eq!(ok("authorizer.requestResource.check('create').allowed()", Wanted::Bool), Ok(()));
        assert_eq!(ok("1 + 1", Wanted::Bool), Err("must evaluate to bool but got int".into()));
        assert_eq!(ok("1", Wanted::TextOrNull), Err("must evaluate to one of [string null_type] but got int".into()));
        assert!(ok("object.", Wanted::Bool).unwrap_err().starts_with("compilation failed: ERROR: <input>:1:"));
        assert!(ok("request.nothing == ''", Wanted::Bool).unwrap_err().contains("undefined field 'nothing'"));
        assert!(Compiler::plain().compile("params.x == 1", Wanted::Bool).is_err());
    }

    #[test]
    fn variables_are_known_to_what_follows() {
        let mut compiler = Compiler::policy(false);
        compiler.variable("count", "1 + 1").unwrap();
        compiler.variable("more", "variables.count + 1").unwrap();
        assert!(compiler.compile("variables.more > 2", Wanted::Bool).is_ok());
        assert!(compiler.compile("variables.other > 2", Wanted::Bool).is_err());
    }

    #[test]
    fn mutations_make_objects_and_patches() {
        let compiler = Compiler::policy(false);
        let ok = |source: &str, wanted| compiler.compile(source, wanted).map(drop);
        assert_eq!(ok("Object{spec: Object.spec{replicas: 3}}", Wanted::Configuration), Ok(()));
        assert_eq!(ok("[JSONPatch{op: 'add', path: '/a', value: 1}]", Wanted::Patches), Ok(()));
        assert_eq!(ok("object.x == 1 ? [JSONPatch{op: 'remove', path: '/a'}] : []", Wanted::Patches), Ok(()));
        assert!(ok("[JSONPatch{op: 1}]", Wanted::Patches).is_err());
        assert_eq!(ok("1", Wanted::Configuration), Err("must evaluate to Object but got int".into()));
    }
}
