//! Evaluates a checked expression, counting what it costs.

mod machine;
mod stack;
pub(crate) mod work;

pub(crate) use stack::with_stack;

use crate::error::EvalError;
use crate::node::Node;
use crate::types::Type;
use crate::value::Value;
use machine::Machine;
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

/// What one expression may cost.
pub const PER_EXPRESSION: u64 = 10_000_000;
/// What all expressions over one object may cost together.
pub const PER_OBJECT: u64 = 100_000_000;

/// What is left to spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    per_expression: u64,
    left: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { per_expression: PER_EXPRESSION, left: PER_OBJECT }
    }
}

impl Budget {
    /// Kubernetes' own: [`PER_EXPRESSION`] and [`PER_OBJECT`].
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn with_limits(per_expression: u64, all: u64) -> Self {
        Self { per_expression, left: all }
    }

    pub fn left(&self) -> u64 {
        self.left
    }

    fn spend(&mut self, cost: u64) -> Result<(), EvalError> {
        let enough = cost <= self.left;
        self.left = self.left.saturating_sub(cost);
        if enough { Ok(()) } else { Err(EvalError::OutOfBudget) }
    }
}

/// An object whose fields are computed when they are asked for, as `variables` of an admission policy is.
pub trait Lazy<'a>: Debug + Send + Sync {
    /// None where there is no such field.
    fn get(self: Arc<Self>, field: &str, budget: &mut Budget) -> Option<Result<Value<'a>, EvalError>>;
}

/// What variables stand for. Programs that are evaluated with them have to live as long as they.
#[derive(Clone, Debug, Default)]
pub struct Variables<'a> {
    values: HashMap<&'a str, Bound<'a>>,
}

#[derive(Clone, Debug)]
enum Bound<'a> {
    Json(&'a Json),
    Value(Value<'a>),
}

impl<'a> Variables<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    /// JSON is seen through the type that the variable was declared with.
    #[must_use]
    pub fn json(mut self, name: &'a str, value: &'a Json) -> Self {
        self.values.insert(name, Bound::Json(value));
        self
    }

    #[must_use]
    pub fn value(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.values.insert(name, Bound::Value(value));
        self
    }

    fn get(&self, name: &str, types: &'a BTreeMap<String, Type>) -> Result<Value<'a>, EvalError> {
        match self.values.get(name) {
            Some(Bound::Value(value)) => Ok(value.clone()),
            Some(Bound::Json(json)) => Ok(match types.get(name) {
                // An optional variable that has a value.
                Some(Type::Optional(inner)) => Value::some(Value::json(json, inner)),
                Some(ty) => Value::json(json, ty),
                None => return Err(EvalError::NoVariable(name.into())),
            }),
            None if matches!(types.get(name), Some(Type::Optional(_))) => Ok(Value::none()),
            None => Err(EvalError::NoVariable(name.into())),
        }
    }
}

pub(crate) fn evaluate<'a>(
    root: &'a Node,
    types: &'a BTreeMap<String, Type>,
    variables: &Variables<'a>,
    budget: &mut Budget,
) -> Result<Value<'a>, EvalError> {
    let mut machine = Machine::new(types, variables, budget);
    let value = work::measured(|| machine.eval(root));
    let cost = machine.cost();
    budget.spend(cost)?;
    value
}
