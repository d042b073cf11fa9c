//! `authorizer`: whether somebody may do something, as the caller knows it.

use super::Opaque;
use crate::error::EvalError;
use crate::functions::{Function, T, function, on};
use crate::value::{Text, Value};
use std::fmt::Debug;
use std::sync::Arc;

pub const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
const PATH: &str = "kubernetes.authorization.PathCheck";
const GROUP: &str = "kubernetes.authorization.GroupCheck";
/// The type of `authorizer.requestResource`.
pub const RESOURCE: &str = "kubernetes.authorization.ResourceCheck";
const DECISION: &str = "kubernetes.authorization.Decision";

/// Decides for who asks, or for the service account that the check names.
pub trait Authorizer: Debug + Send + Sync {
    fn authorize(&self, check: &Check) -> Decision;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    pub verb: String,
    /// Namespace and name.
    pub service_account: Option<(String, String)>,
    pub target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Path(String),
    Resource(Resource),
}

impl Default for Target {
    fn default() -> Self {
        Self::Path(String::new())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: String,
    pub label_selector: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    pub error: Option<String>,
}

/// A check that an expression is putting together.
#[derive(Clone, Debug)]
pub struct Builder<'a> {
    authorizer: Arc<dyn Authorizer + 'a>,
    stage: Stage,
    check: Check,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
}

impl<'a> Builder<'a> {
    pub fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => AUTHORIZER,
            Stage::Path => PATH,
            Stage::Group => GROUP,
            Stage::Resource => RESOURCE,
        }
    }

    fn with(&self, stage: Stage, target: Target) -> Value<'a> {
        let check = Check { target, ..self.check.clone() };
        Value::Opaque(Opaque::Check(Arc::new(Self { authorizer: self.authorizer.clone(), stage, check })))
    }
}

pub fn equal(a: &Builder, b: &Builder) -> bool {
    a.stage == b.stage && a.check == b.check
}

/// The value of the variable `authorizer`.
pub fn authorizer<'a>(authorizer: Arc<dyn Authorizer + 'a>) -> Value<'a> {
    Value::Opaque(Opaque::Check(Arc::new(Builder { authorizer, stage: Stage::Authorizer, check: Check::default() })))
}

/// The value of the variable `authorizer.requestResource`.
pub fn request_resource<'a>(authorizer: Arc<dyn Authorizer + 'a>, resource: Resource) -> Value<'a> {
    let check = Check { target: Target::Resource(resource), ..Check::default() };
    Value::Opaque(Opaque::Check(Arc::new(Builder { authorizer, stage: Stage::Resource, check })))
}

const TEXT: T = T::String;
const A: T = T::Opaque(AUTHORIZER);
const G: T = T::Opaque(GROUP);
const P: T = T::Opaque(PATH);
const R: T = T::Opaque(RESOURCE);
const D: T = T::Opaque(DECISION);

pub const FUNCTIONS: &[Function] = &[
    function("path", &[on(&[A, TEXT], P)], |args| {
        build(args, Stage::Authorizer, |b, text| {
            if text.is_empty() {
                return Err(EvalError::failed("path must not be empty"));
            }
            Ok(b.with(Stage::Path, Target::Path(text.into())))
        })
    }),
    function("group", &[on(&[A, TEXT], G)], |args| {
        build(args, Stage::Authorizer, |b, text| {
            Ok(b.with(Stage::Group, Target::Resource(Resource { group: text.into(), ..Resource::default() })))
        })
    }),
    function("serviceAccount", &[on(&[A, TEXT, TEXT], A)], service_account),
    function("resource", &[on(&[G, TEXT], R)], |args| {
        build(args, Stage::Group, |b, text| match &b.check.target {
            Target::Resource(of) => Ok(b.with(Stage::Resource, Target::Resource(Resource { resource: text.into(), ..of.clone() }))),
            Target::Path(_) => Err(EvalError::overload()),
        })
    }),
    function("subresource", &[on(&[R, TEXT], R)], |args| refine(args, |r, text| r.subresource = text)),
    function("namespace", &[on(&[R, TEXT], R)], |args| refine(args, |r, text| r.namespace = text)),
    function("name", &[on(&[R, TEXT], R)], |args| refine(args, |r, text| r.name = text)),
    function("fieldSelector", &[on(&[R, TEXT], R)], |args| refine(args, |r, text| r.field_selector = text)),
    function("labelSelector", &[on(&[R, TEXT], R)], |args| refine(args, |r, text| r.label_selector = text)),
    function("check", &[on(&[P, TEXT], D), on(&[R, TEXT], D)], check),
    function("allowed", &[on(&[D], T::Bool)], |args| decided(args, |d| Value::Bool(d.allowed))),
    function("reason", &[on(&[D], TEXT)], |args| decided(args, |d| Value::from(d.reason.clone()))),
    function("errored", &[on(&[D], T::Bool)], |args| decided(args, |d| Value::Bool(d.error.is_some()))),
    function("error", &[on(&[D], TEXT)], |args| decided(args, |d| Value::from(d.error.clone().unwrap_or_default()))),
];

type Done<'a> = Result<Value<'a>, EvalError>;

fn build<'a>(args: &[Value<'a>], stage: Stage, run: impl FnOnce(&Builder<'a>, &str) -> Done<'a>) -> Done<'a> {
    match args {
        [Value::Opaque(Opaque::Check(builder)), Value::String(text)] if builder.stage == stage => run(builder, text.as_str()),
        _ => Err(EvalError::overload()),
    }
}

fn refine<'a>(args: &[Value<'a>], set: impl FnOnce(&mut Resource, String)) -> Done<'a> {
    build(args, Stage::Resource, |builder, text| match &builder.check.target {
        Target::Resource(resource) => {
            let mut resource = resource.clone();
            set(&mut resource, text.into());
            Ok(builder.with(Stage::Resource, Target::Resource(resource)))
        }
        Target::Path(_) => Err(EvalError::overload()),
    })
}

fn service_account<'a>(args: &[Value<'a>]) -> Done<'a> {
    let [target, Value::String(namespace), Value::String(name)] = args else { return Err(EvalError::overload()) };
    build(&[target.clone(), Value::String(Text::Borrowed(""))], Stage::Authorizer, |builder, _| {
        let problems = meta::validate::dns_label(namespace.as_str(), false);
        if let Some(problem) = problems.first() {
            return Err(EvalError::failed(format!("Invalid service account namespace: {problem}")));
        }
        let problems = meta::validate::dns_subdomain(name.as_str(), false);
        if let Some(problem) = problems.first() {
            return Err(EvalError::failed(format!("Invalid service account name: {problem}")));
        }
        let mut builder = builder.clone();
        builder.check.service_account = Some((namespace.as_str().into(), name.as_str().into()));
        Ok(Value::Opaque(Opaque::Check(Arc::new(builder))))
    })
}

fn check<'a>(args: &[Value<'a>]) -> Done<'a> {
    match args {
        [Value::Opaque(Opaque::Check(builder)), Value::String(verb)] if matches!(builder.stage, Stage::Path | Stage::Resource) => {
            let check = Check { verb: verb.as_str().into(), ..builder.check.clone() };
            Ok(Value::Opaque(Opaque::Decision(Arc::new(builder.authorizer.authorize(&check)))))
        }
        _ => Err(EvalError::overload()),
    }
}

fn decided<'a>(args: &[Value<'a>], read: impl FnOnce(&Decision) -> Value<'a>) -> Done<'a> {
    match args {
        [Value::Opaque(Opaque::Decision(decision))] => Ok(read(decision)),
        _ => Err(EvalError::overload()),
    }
}

pub const NAMES: &[&str] = &[AUTHORIZER, PATH, GROUP, RESOURCE, DECISION];

/// The type to declare `authorizer` with.
pub fn authorizer_type() -> crate::types::Type {
    crate::types::Type::Opaque(AUTHORIZER)
}

/// The type to declare `authorizer.requestResource` with.
pub fn request_resource_type() -> crate::types::Type {
    crate::types::Type::Opaque(RESOURCE)
}

pub(crate) fn decision_name() -> &'static str {
    DECISION
}
