//! The rules of a definition (`x-kubernetes-validations`), over objects.

use super::correlate::{OldItems, Ratchet, old_field};
use super::expressions::{self, Expression};
use cel::schema::{self, Declared};
use cel::{Budget, EvalError, Variables};
use meta::field::{FieldError, FieldErrorType};
use meta::{FieldErrors, FieldPath, value};
use serde_json::Value;
use std::collections::BTreeMap;

/// How long a message may be that a rule makes.
const MESSAGE: usize = 5 << 10;

/// The rules of a schema and of what is below it.
#[derive(Debug)]
pub struct Rules {
    own: Vec<(Value, Option<Expression>)>,
    items: Option<Box<Rules>>,
    values: Option<Box<Rules>>,
    properties: BTreeMap<String, Rules>,
    /// The schema that says how parts are told apart.
    schema: Value,
}

/// The budget is used up: nothing more is evaluated.
struct Stop;

impl Rules {
    /// None where there are none.
    pub fn new(schema: &Value) -> Option<Self> {
        Self::build(schema, schema::declare(schema, true, "selfType").as_ref())
    }

    /// Of a part of a resource.
    pub fn of_part(schema: &Value) -> Option<Self> {
        Self::build(schema, schema::declare(schema, value::flag(schema, &["x-kubernetes-embedded-resource"]), "selfType").as_ref())
    }

    fn build(schema: &Value, declared: Option<&Declared>) -> Option<Self> {
        let compile = |rule: &Value| declared.and_then(|declared| expressions::compile(rule, schema, declared));
        let own: Vec<_> = value::items(schema, &["x-kubernetes-validations"]).iter().map(|rule| (rule.clone(), compile(rule))).collect();
        let element = declared.and_then(Declared::element);
        let inner =
            |key: &str| schema.get(key).filter(|inner| inner.is_object()).and_then(|inner| Self::build(inner, element)).map(Box::new);
        let mut properties = BTreeMap::new();
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let embedded = value::flag(schema, &["x-kubernetes-embedded-resource"]);
            let known = cel::escape(name).and_then(|name| declared.and_then(|d| d.field(&name)));
            let declared = known.cloned().or_else(|| schema::declare(schema, embedded, "selfType"));
            if let Some(inner) = Self::build(schema, declared.as_ref()) {
                properties.insert(name.clone(), inner);
            }
        }
        let built = Self { own, items: inner("items"), values: inner("additionalProperties"), properties, schema: outline(schema) };
        let any = !built.own.is_empty() || built.items.is_some() || built.values.is_some() || !built.properties.is_empty();
        any.then_some(built)
    }

    /// All that is wrong with an object, or with what it became.
    pub fn check(&self, new: &Value, old: Option<&Value>) -> FieldErrors {
        let ratchet = if old.is_some() { Ratchet::new(new, old) } else { Ratchet::NONE };
        self.check_at(new, old, ratchet, &FieldPath::root(), &mut Budget::new())
    }

    /// What is wrong with a default, both where it stays and where it is new.
    pub fn check_default(&self, default: &Value, path: &FieldPath, budget: &mut Budget) -> FieldErrors {
        let errors = self.check_at(default, Some(default), Ratchet::NONE, path, budget);
        if errors.0.is_empty() { self.check_at(default, None, Ratchet::NONE, path, budget) } else { errors }
    }

    fn check_at(&self, new: &Value, old: Option<&Value>, ratchet: Ratchet, path: &FieldPath, budget: &mut Budget) -> FieldErrors {
        let mut errors = FieldErrors::new();
        // Whoever has no budget left is told so in the errors.
        let _ = self.at(new, old, ratchet, path, budget, &mut errors);
        errors
    }

    fn at(
        &self,
        new: &Value,
        old: Option<&Value>,
        ratchet: Ratchet,
        path: &FieldPath,
        budget: &mut Budget,
        errors: &mut FieldErrors,
    ) -> Result<(), Stop> {
        if new.is_null() {
            return Ok(());
        }
        let old = old.filter(|old| !old.is_null());
        for (rule, expression) in &self.own {
            if let Some(expression) = expression {
                self.one(rule, expression, new, old, ratchet, path, budget, errors)?;
            }
        }
        match new {
            Value::Array(items) => {
                let Some(rules) = &self.items else { return Ok(()) };
                let known = OldItems::new(&self.schema, old);
                for (i, item) in items.iter().enumerate() {
                    let before = known.get(item);
                    rules.at(item, before, ratchet.inside(item, before), &path.index(i), budget, errors)?;
                }
            }
            Value::Object(map) => {
                for (name, inner) in map {
                    let before = old_field(&self.schema, old, name);
                    let ratchet = ratchet.inside(inner, before);
                    if let Some(rules) = &self.values {
                        rules.at(inner, before, ratchet, &path.key(name), budget, errors)?;
                    }
                    if let Some(rules) = self.properties.get(name) {
                        rules.at(inner, before, ratchet, &path.child(name), budget, errors)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn one(
        &self,
        rule: &Value,
        expression: &Expression,
        new: &Value,
        old: Option<&Value>,
        ratchet: Ratchet,
        path: &FieldPath,
        budget: &mut Budget,
        errors: &mut FieldErrors,
    ) -> Result<(), Stop> {
        let ty = value::text(&self.schema, &["type"]);
        if budget.left() == 0 {
            errors.invalid(path, ty, &EvalError::OutOfBudget.to_string());
            return Err(Stop);
        }
        let program = match &expression.program {
            Ok(program) => program,
            Err(why) => {
                errors.invalid(path, ty, &format!("rule compile error: {why}"));
                return Ok(());
            }
        };
        if expression.uses_old && old.is_none() && !value::flag(rule, &["optionalOldSelf"]) {
            return Ok(());
        }
        let variables = || {
            let variables = Variables::new().json(expressions::SELF, new);
            match old {
                Some(old) => variables.json(expressions::OLD_SELF, old),
                None => variables,
            }
        };
        let shown = if message(rule).is_empty() { value::text(rule, &["rule"]).trim() } else { message(rule) };
        match program.evaluate(&variables(), budget) {
            Ok(value) if value.as_bool() == Some(true) => return Ok(()),
            Ok(_) => {}
            Err(error @ EvalError::OutOfBudget) => {
                errors.invalid(path, ty, &error.to_string());
                return Err(Stop);
            }
            Err(error @ EvalError::CostLimit) => {
                let detail = format!("'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}");
                errors.invalid(path, ty, &detail);
                return Err(Stop);
            }
            Err(error @ EvalError::NoSuchOverload(_)) => {
                let detail =
                    format!("'{error}': call arguments did not match a supported operator, function or macro signature for rule: {shown}");
                errors.invalid(path, ty, &detail);
                return Ok(());
            }
            Err(error) => {
                errors.invalid(path, ty, &format!("{error} evaluating rule: {shown}"));
                return Ok(());
            }
        }
        // What was so before the rule may stay so.
        if !expression.uses_old && ratchet.lets_through() {
            return Ok(());
        }
        let at = match expression.field_path.as_str() {
            "" => path.clone(),
            below if below.starts_with('[') => FieldPath::new(format!("{path}{below}")),
            below => path.child(below),
        };
        let made = match &expression.message {
            Some(Ok(program)) => {
                match program.evaluate(&variables(), budget) {
                    Ok(made) => {
                        made.as_str().map(str::trim).filter(|m| !m.is_empty() && m.len() <= MESSAGE && !m.contains('\n')).map(String::from)
                    }
                    Err(error) if error.is_limit() => {
                        let source = value::text(rule, &["messageExpression"]);
                        let detail = match error {
                        EvalError::OutOfBudget => {
                            "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_string()
                        }
                        _ => format!("no further validation rules will be run due to call cost exceeds limit for messageExpression: {source:?}"),
                    };
                        errors.invalid(&at, ty, &detail);
                        return Err(Stop);
                    }
                    Err(_) => None,
                }
            }
            _ => None,
        };
        let detail = made.unwrap_or_else(|| if message(rule).is_empty() { format!("failed rule: {shown}") } else { shown.to_string() });
        failed(rule, new, ty, &at, &detail, errors);
        Ok(())
    }
}

fn message(rule: &Value) -> &str {
    value::text(rule, &["message"]).trim()
}

fn failed(rule: &Value, new: &Value, ty: &str, at: &FieldPath, detail: &str, errors: &mut FieldErrors) {
    let whole = matches!(ty, "object" | "array");
    let bare = |kind, body: String| FieldError { kind, path: at.clone(), body };
    match value::text(rule, &["reason"]) {
        "FieldValueForbidden" => errors.forbidden(at, detail),
        "FieldValueRequired" => errors.required(at, detail),
        "FieldValueDuplicate" if whole => errors.0.push(bare(FieldErrorType::Duplicate, "Duplicate value".into())),
        "FieldValueDuplicate" => errors.duplicate(at, new.clone()),
        // A whole object would be too much to print.
        _ if whole => errors.0.push(bare(FieldErrorType::Invalid, format!("Invalid value: {detail}"))),
        _ => errors.invalid(at, new.clone(), detail),
    }
}

/// Of a schema what is needed here.
fn outline(schema: &Value) -> Value {
    let keys = ["type", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"];
    keys.iter().filter_map(|key| Some(((*key).to_string(), schema.get(*key)?.clone()))).collect::<serde_json::Map<_, _>>().into()
}
