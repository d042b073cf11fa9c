//! The Common Expression Language as Kubernetes has it: parsed, checked against declared types and schemas, estimated,
//! and evaluated at a bounded cost.
//!
//! ```
//! use cel::{Budget, Environment, Type, Variables};
//!
//! let object = serde_json::json!({"replicas": 3});
//! let ty = Type::object("Spec", [("replicas".to_string(), Type::Int)]);
//! let program = Environment::new().with_variable("self", ty).compile("self.replicas <= 5").unwrap();
//! let value = program.evaluate(&Variables::new().json("self", &object), &mut Budget::new()).unwrap();
//! assert_eq!(value.as_bool(), Some(true));
//! ```

mod ast;
mod check;
mod cost;
mod env;
mod error;
mod evaluate;
mod functions;
mod json;
mod lexer;
mod library;
mod macros;
mod node;
mod parser;
pub mod regex;
pub mod schema;
mod time;
mod types;
mod value;

pub use cost::{Estimate, Range, Sizes, Unbounded};
pub use env::{Environment, Program};
pub use error::{CompileError, EvalError, Issue};
pub use evaluate::{Budget, Lazy, PER_EXPRESSION, PER_OBJECT, Variables};
pub use library::{authorizer, is_url};
pub use types::{FieldType, ListKind, ListType, ObjectType, Type, escape};
pub use value::{List, Map, OwnedMap, Text, Value};
