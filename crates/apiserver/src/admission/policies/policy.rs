//! Policies and their bindings, compiled once and kept.

use super::super::expressions::{Conditions, Expression};
use super::super::matching::{Criteria, texts};
use crate::objects::Object;
use crate::server::ApiServer;
use kinds::admissionregistration::expressions::{Compiler, Wanted};
use meta::labels::Selector;
use meta::{GroupResource, value};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;

pub struct Policy {
    pub name: String,
    pub criteria: Criteria,
    /// `apiVersion` and `kind`.
    pub param_kind: Option<(String, String)>,
    pub ignores_failure: bool,
    pub conditions: Conditions,
    pub variables: Vec<(String, Expression)>,
    pub validations: Vec<Validation>,
    /// The key and the value.
    pub annotations: Vec<(String, Expression)>,
    pub mutations: Vec<Mutation>,
    pub reinvocable: bool,
}

pub struct Validation {
    pub expression: Expression,
    pub message: String,
    pub message_expression: Option<Expression>,
    pub reason: String,
}

pub enum Mutation {
    Configuration(Expression),
    Patches(Expression),
}

pub struct Binding {
    pub name: String,
    pub policy: String,
    pub criteria: Criteria,
    pub param: Option<ParamRef>,
    pub actions: Vec<String>,
}

pub struct ParamRef {
    pub name: String,
    pub namespace: String,
    pub selector: Option<Selector>,
    pub denies_if_missing: bool,
}

impl Policy {
    fn parse(object: &Object) -> Self {
        let tree = object.value();
        let null = Value::Null;
        let spec = tree.get("spec").unwrap_or(&null);
        let param_kind = spec.get("paramKind").filter(|k| k.is_object());
        let mut compiler = Compiler::policy(param_kind.is_some());
        let conditions = Conditions::parse(spec, &compiler);
        let variables = value::items(spec, &["variables"]).iter().map(|v| {
            let (name, source) = (value::text(v, &["name"]), value::text(v, &["expression"]));
            (name.to_string(), Expression { source: source.to_string(), program: compiler.variable(name, source) })
        });
        let variables = variables.collect();
        let compile = |of: &Value, field: &str, wanted| Expression::new(&compiler, value::text(of, &[field]), wanted);
        let validation = |v: &Value| Validation {
            expression: compile(v, "expression", Wanted::Bool),
            message: value::text(v, &["message"]).trim().to_string(),
            message_expression: v.get("messageExpression").map(|_| compile(v, "messageExpression", Wanted::Text)),
            reason: value::text(v, &["reason"]).to_string(),
        };
        let annotation = |a: &Value| (value::text(a, &["key"]).to_string(), compile(a, "valueExpression", Wanted::TextOrNull));
        let mutation = |m: &Value| match value::text(m, &["patchType"]) {
            "JSONPatch" => Mutation::Patches(compile(&m["jsonPatch"], "expression", Wanted::Patches)),
            _ => Mutation::Configuration(compile(&m["applyConfiguration"], "expression", Wanted::Configuration)),
        };
        Self {
            name: object.name().to_string(),
            criteria: Criteria::parse(spec.get("matchConstraints").unwrap_or(&null), "resourceRules", "excludeResourceRules"),
            param_kind: param_kind.map(|k| (value::text(k, &["apiVersion"]).into(), value::text(k, &["kind"]).into())),
            ignores_failure: value::text(spec, &["failurePolicy"]) == "Ignore",
            conditions,
            validations: value::items(spec, &["validations"]).iter().map(validation).collect(),
            annotations: value::items(spec, &["auditAnnotations"]).iter().map(annotation).collect(),
            mutations: value::items(spec, &["mutations"]).iter().map(mutation).collect(),
            reinvocable: value::text(spec, &["reinvocationPolicy"]) == "IfNeeded",
            variables,
        }
    }
}

impl Binding {
    fn parse(object: &Object) -> Self {
        let tree = object.value();
        let null = Value::Null;
        let spec = tree.get("spec").unwrap_or(&null);
        let mut criteria = Criteria::parse(spec.get("matchResources").unwrap_or(&null), "resourceRules", "excludeResourceRules");
        // Without rules it is about whatever its policy is about.
        criteria.open = true;
        let param = spec.get("paramRef").filter(|p| p.is_object()).map(|p| ParamRef {
            name: value::text(p, &["name"]).into(),
            namespace: value::text(p, &["namespace"]).into(),
            selector: p.get("selector").map(|s| Selector::from_value(s).unwrap_or_else(|_| Selector::nothing())),
            denies_if_missing: value::text(p, &["parameterNotFoundAction"]) == "Deny",
        });
        Self {
            name: object.name().to_string(),
            policy: value::text(spec, &["policyName"]).into(),
            criteria,
            param,
            actions: texts(spec, "validationActions"),
        }
    }
}

/// What was made of objects, made anew only for those that changed.
struct Kept<T> {
    resource: GroupResource,
    known: Vec<(Arc<Object>, Arc<T>)>,
}

impl<T> Kept<T> {
    fn new(resource: &str) -> Self {
        Self { resource: GroupResource::new("admissionregistration.k8s.io", resource), known: Vec::new() }
    }

    /// Whether anything has changed.
    fn refresh(&mut self, server: &ApiServer, parse: fn(&Object) -> T) -> bool {
        let now = server.objects().list(&self.resource, None);
        if self.known.len() == now.len() && self.known.iter().zip(&now).all(|((k, _), n)| Arc::ptr_eq(k, n)) {
            return false;
        }
        let old = std::mem::take(&mut self.known);
        let parsed = now.into_iter().map(|object| {
            let known = old.iter().find(|(k, _)| Arc::ptr_eq(k, &object)).map(|(_, p)| p.clone());
            let parsed = known.unwrap_or_else(|| Arc::new(parse(&object)));
            (object, parsed)
        });
        self.known = parsed.collect();
        true
    }
}

pub type Bound = Vec<(Arc<Policy>, Vec<Arc<Binding>>)>;

/// All policies of one kind with their bindings, by name.
pub struct Policies(Mutex<(Kept<Policy>, Kept<Binding>, Arc<Bound>)>);

impl Policies {
    pub fn new(policies: &str, bindings: &str) -> Self {
        Self(Mutex::new((Kept::new(policies), Kept::new(bindings), Arc::default())))
    }

    pub fn current(&self, server: &ApiServer) -> Arc<Bound> {
        let mut kept = self.0.lock();
        let (policies, bindings, bound) = &mut *kept;
        let changed = policies.refresh(server, Policy::parse);
        if bindings.refresh(server, Binding::parse) || changed {
            let of = |policy: &Policy| bindings.known.iter().map(|(_, b)| b.clone()).filter(|b| b.policy == policy.name).collect();
            *bound = Arc::new(policies.known.iter().map(|(_, p)| (p.clone(), of(p))).collect());
        }
        bound.clone()
    }
}
