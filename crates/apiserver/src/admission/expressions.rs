//! What the expressions of webhooks and policies see of a request, and their conditions.

use super::Request;
use super::matching::Match;
use super::webhooks::user;
use crate::attributes::Attributes;
use crate::authorizer::Decision;
use crate::server::ApiServer;
use crate::user::User;
use cel::authorizer::{self, Authorizer, Check, Target};
use cel::{Budget, EvalError, Lazy, Program, Variables};
use kinds::admissionregistration::expressions::{Compiler, Wanted};
use meta::value;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What one expression may cost, what all of a policy may, and all conditions before it.
const ONE: u64 = 1_000_000;
const ALL: u64 = 10_000_000;
const CONDITIONS: u64 = 2_500_000;

pub fn budget() -> Budget {
    Budget::with_limits(ONE, ALL)
}

/// An expression as it was written, and compiled.
#[derive(Debug)]
pub struct Expression {
    pub source: String,
    pub program: Result<Program, String>,
}

impl Expression {
    pub fn new(compiler: &Compiler, source: &str, wanted: Wanted) -> Self {
        Self { source: source.to_string(), program: compiler.compile(source, wanted) }
    }

    /// The value, or why there is none, in upstream's words.
    pub fn evaluate<'a>(&'a self, variables: &Variables<'a>, budget: &mut Budget) -> Result<cel::Value<'a>, String> {
        let program = self.program.as_ref().map_err(|why| format!("compilation error: {why}"))?;
        program.evaluate(variables, budget).map_err(|error| match error {
            EvalError::OutOfBudget => error.to_string(),
            other => format!("expression '{}' resulted in error: {other}", self.source),
        })
    }
}

/// `matchConditions`
#[derive(Debug, Default)]
pub struct Conditions(Vec<Expression>);

impl Conditions {
    pub fn parse(of: &Value, compiler: &Compiler) -> Self {
        let all = value::items(of, &["matchConditions"]).iter();
        Self(all.map(|c| Expression::new(compiler, value::text(c, &["expression"]), Wanted::Bool)).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold. One that does not decides; else errors do.
    pub fn hold<'a>(&'a self, variables: &Variables<'a>) -> Result<bool, String> {
        let mut budget = Budget::with_limits(ONE, CONDITIONS);
        let mut errors = Vec::new();
        for condition in &self.0 {
            match condition.evaluate(variables, &mut budget) {
                Ok(cel::Value::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(why) => errors.push(why),
            }
        }
        match errors.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }
}

/// Everything that expressions can name, as JSON, but for the object.
pub struct Seen {
    request: Value,
    namespace: Value,
    asker: Arc<Asker>,
    resource: authorizer::Resource,
}

impl Seen {
    pub fn new(request: &Request<'_>, found: &Match) -> Self {
        let names = found.resource.kind.names();
        let own = request.resource.kind.names();
        let kind = |k: &meta::GroupVersionKind| json!({"group": k.group, "version": k.version, "kind": k.kind});
        let resource = |n: &kinds::Names| json!({"group": n.group, "version": n.version, "resource": n.plural});
        let sub = request.attributes.subresource.as_str();
        let asked = json!({
            "kind": kind(&found.kind), "resource": resource(names), "subResource": sub,
            "requestKind": kind(&request.kind), "requestResource": resource(own), "requestSubResource": sub,
            "name": request.given_name(), "namespace": request.effective_namespace(), "operation": request.operation.as_str(),
            "userInfo": user(&request.attributes.user), "dryRun": request.dry_run, "options": request.shown_options(),
        });
        let in_namespace = !request.namespace.is_empty();
        let namespace = in_namespace.then(|| request.object("", "namespaces", "", request.namespace)).flatten();
        Self {
            request: asked,
            namespace: namespace.map_or(Value::Null, |n| n.value()),
            asker: Arc::new(Asker { server: request.server.clone(), user: request.attributes.user.clone() }),
            resource: authorizer::Resource {
                group: own.group.to_string(),
                resource: own.plural.to_string(),
                subresource: sub.to_string(),
                namespace: request.effective_namespace().to_string(),
                name: request.given_name().to_string(),
                ..authorizer::Resource::default()
            },
        }
    }

    pub fn variables<'a>(&'a self, object: Option<&'a Value>, old: Option<&'a Value>, params: Option<&'a Value>) -> Variables<'a> {
        static NULL: Value = Value::Null;
        Variables::new()
            .json("object", object.unwrap_or(&NULL))
            .json("oldObject", old.unwrap_or(&NULL))
            .json("request", &self.request)
            .json("namespaceObject", &self.namespace)
            .value("authorizer", authorizer::authorizer(self.asker.clone()))
            .value("authorizer.requestResource", authorizer::request_resource(self.asker.clone(), self.resource.clone()))
            .json("params", params.unwrap_or(&NULL))
    }
}

/// Asks the server's own authorizer.
struct Asker {
    server: ApiServer,
    user: Arc<User>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").field("user", &self.user.name).finish_non_exhaustive()
    }
}

impl Authorizer for Asker {
    fn authorize(&self, check: &Check) -> authorizer::Decision {
        let user = match &check.service_account {
            Some((namespace, name)) => {
                let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
                Arc::new(User::new(format!("system:serviceaccount:{namespace}:{name}"), &groups))
            }
            None => self.user.clone(),
        };
        let mut attributes = Attributes { user, verb: check.verb.clone(), ..Attributes::default() };
        match &check.target {
            Target::Path(path) => attributes.path.clone_from(path),
            Target::Resource(resource) => {
                attributes.is_resource = true;
                attributes.version = "*".into();
                attributes.group.clone_from(&resource.group);
                attributes.resource.clone_from(&resource.resource);
                attributes.subresource.clone_from(&resource.subresource);
                attributes.namespace.clone_from(&resource.namespace);
                attributes.name.clone_from(&resource.name);
                attributes.field_selector.clone_from(&resource.field_selector);
                attributes.label_selector.clone_from(&resource.label_selector);
            }
        }
        match self.server.authorizer().authorize(&attributes) {
            Decision::Allow => authorizer::Decision { allowed: true, ..authorizer::Decision::default() },
            Decision::Deny(reason) | Decision::NoOpinion(reason) => authorizer::Decision { allowed: false, reason, error: None },
        }
    }
}

/// The variables of a policy: each computed once, when something asks for it.
#[derive(Debug)]
pub struct Composed<'a> {
    programs: &'a [(String, Expression)],
    others: Variables<'a>,
    known: Mutex<HashMap<String, Result<cel::Value<'a>, EvalError>>>,
}

/// `others`, and `variables` besides.
pub fn composed<'a>(programs: &'a [(String, Expression)], others: Variables<'a>) -> Variables<'a> {
    if programs.is_empty() {
        return others;
    }
    let composed = Composed { programs, others: others.clone(), known: Mutex::default() };
    others.value("variables", cel::Value::Lazy(Arc::new(composed)))
}

impl<'a> Lazy<'a> for Composed<'a> {
    fn get(self: Arc<Self>, field: &str, budget: &mut Budget) -> Option<Result<cel::Value<'a>, EvalError>> {
        if let Some(known) = self.known.lock().get(field) {
            return Some(known.clone());
        }
        // One that names itself finds this rather than no end.
        let itself = EvalError::failed(format!("composited variable {field:?} refers to itself"));
        self.known.lock().insert(field.to_string(), Err(itself));
        let (name, expression) = self.programs.iter().rfind(|(name, _)| name == field)?;
        let variables = self.others.clone().value("variables", cel::Value::Lazy(self.clone()));
        let value = match &expression.program {
            Ok(program) => program.evaluate(&variables, budget),
            Err(why) => Err(EvalError::failed(format!("composited variable {name:?} fails to compile: {why}"))),
        };
        let value = value.map_err(|error| match error {
            limit if limit.is_limit() => limit,
            other => EvalError::failed(format!("composited variable {name:?} fails to evaluate: {other}")),
        });
        // What contains this object would keep it for ever.
        if !matches!(value, Ok(cel::Value::Lazy(_))) {
            self.known.lock().insert(name.clone(), value.clone());
        }
        Some(value)
    }
}
