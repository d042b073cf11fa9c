//! What expressions may name, and how they become programs.

use crate::check;
use crate::cost::{Estimate, Sizes};
use crate::error::{CompileError, EvalError, Issue};
use crate::evaluate::{self, Budget, Variables};
use crate::node::Node;
use crate::parser;
use crate::types::{ObjectType, Type};
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What expressions may name: variables and the types of objects. Kubernetes' functions are always there.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, Type>,
    objects: BTreeMap<String, Arc<ObjectType>>,
    open: Option<String>,
    bindings: bool,
}

impl Environment {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, ty: Type) -> Self {
        self.declare(name, ty);
        self
    }

    /// Declares a variable, or declares it anew.
    pub fn declare(&mut self, name: impl Into<String>, ty: Type) {
        self.variables.insert(name.into(), ty);
    }

    /// An object type that expressions may make objects of: `Name{field: value}`.
    #[must_use]
    pub fn with_object(mut self, ty: Arc<ObjectType>) -> Self {
        self.objects.insert(ty.name.clone(), ty);
        self
    }

    /// Objects of this name, and of names below it, may be made with whatever fields: `Object{spec: Object.spec{...}}`.
    #[must_use]
    pub fn with_open_object(mut self, name: impl Into<String>) -> Self {
        self.open = Some(name.into());
        self
    }

    /// Expressions may name a value once and use it often: `cel.bind(x, value, x + x)`.
    #[must_use]
    pub fn with_bindings(mut self) -> Self {
        self.bindings = true;
        self
    }

    pub(crate) fn is_open(&self, name: &str) -> bool {
        self.open.as_ref().is_some_and(|open| name.strip_prefix(open.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Type> {
        self.variables.get(name)
    }

    pub(crate) fn object_type(&self, name: &str) -> Option<&Arc<ObjectType>> {
        self.objects.get(name)
    }

    /// Parses and checks. Bounded in time and in memory by the length of the source, whatever is in it.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let one = |issue: Issue| CompileError::new(source, vec![issue]);
        // No expression is nested deeper than it has signs that nest.
        let signs = source.bytes().filter(|b| b"([{?.+-*/%<>=!".contains(b)).count();
        evaluate::with_stack(2 * signs, || {
            let expr = parser::parse(source, self.bindings).map_err(one)?;
            let root = check::check(self, &expr).map_err(|issues| CompileError::new(source, issues))?;
            Ok(Program { variables: self.variables.clone(), root, depth: usize::from(expr.depth) })
        })
    }

    /// As [`compile`](Self::compile), and it must have one of these types.
    pub fn compile_as(&self, source: &str, types: &[Type]) -> Result<Program, CompileError> {
        let program = self.compile(source)?;
        if program.ty() == &Type::Dyn || types.contains(program.ty()) {
            return Ok(program);
        }
        let names: Vec<String> = types.iter().map(Type::to_string).collect();
        Err(CompileError::plain(format!("must evaluate to {}", names.join(" or "))))
    }
}

/// An expression that was checked.
#[derive(Debug)]
pub struct Program {
    variables: BTreeMap<String, Type>,
    root: Node,
    depth: usize,
}

impl Program {
    /// The type of its values.
    pub fn ty(&self) -> &Type {
        &self.root.ty
    }

    /// What it may cost at least and at most, by the sizes that the variables may have.
    pub fn estimate(&self, sizes: &dyn Sizes) -> Estimate {
        evaluate::with_stack(self.depth, || crate::cost::estimate(&self.root, sizes))
    }

    /// Whether a variable is used anywhere.
    pub fn uses(&self, variable: &str) -> bool {
        evaluate::with_stack(self.depth, || self.root.uses(variable))
    }

    /// The value, which may borrow from the variables and from the program. What it cost is taken from the budget,
    /// whether it succeeds or not.
    pub fn evaluate<'a>(&'a self, variables: &Variables<'a>, budget: &mut Budget) -> Result<Value<'a>, EvalError> {
        evaluate::with_stack(self.depth, || evaluate::evaluate(&self.root, &self.variables, variables, budget))
    }
}
