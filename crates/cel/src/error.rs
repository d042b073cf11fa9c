//! What can be wrong with an expression, before and while it is evaluated.

use std::fmt;

/// One thing wrong, at an offset in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub at: u32,
    pub message: String,
}

impl Issue {
    pub fn new(at: u32, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// Why an expression cannot be used. Shown with the line that is wrong, and a mark under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// None where it is about no place.
    source: Option<String>,
    pub issues: Vec<Issue>,
}

impl CompileError {
    pub(crate) fn new(source: &str, issues: Vec<Issue>) -> Self {
        Self { source: Some(source.into()), issues }
    }

    /// About the expression as a whole.
    pub(crate) fn plain(message: String) -> Self {
        Self { source: None, issues: vec![Issue::new(0, message)] }
    }
}

impl std::error::Error for CompileError {}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(source) = &self.source else {
            let messages: Vec<&str> = self.issues.iter().map(|issue| issue.message.as_str()).collect();
            return f.write_str(&messages.join(", "));
        };
        for (i, issue) in self.issues.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            let before: Vec<char> = source.chars().take(issue.at as usize).collect();
            let line = before.iter().filter(|c| **c == '\n').count();
            let column = before.iter().rev().take_while(|c| **c != '\n').count();
            let text = source.lines().nth(line).unwrap_or_default();
            write!(f, "ERROR: <input>:{}:{}: {}\n | {text}\n | {}^", line + 1, column + 1, issue.message, ".".repeat(column))?;
        }
        Ok(())
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("no such key: {0}")]
    NoSuchKey(String),
    #[error("no such overload{0}")]
    NoSuchOverload(String),
    #[error("index out of bounds: {0}")]
    OutOfBounds(String),
    #[error("{0} overflow")]
    Overflow(&'static str),
    #[error("division by zero")]
    DivideByZero,
    #[error("modulus by zero")]
    ModulusByZero,
    #[error("{0}")]
    Failed(String),
    /// The expression costs more than one may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    /// What was left for all expressions is used up.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    OutOfBudget,
    /// A variable was declared, and given no value.
    #[error("no such attribute(s): {0}")]
    NoVariable(String),
}

impl EvalError {
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    pub(crate) fn overload() -> Self {
        Self::NoSuchOverload(String::new())
    }

    /// Whether it is the end of all evaluation, which no `||` may swallow.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::CostLimit | Self::OutOfBudget)
    }
}
