//! The rules of a schema (`x-kubernetes-validations`), compiled.

use cel::schema::Declared;
use cel::{Environment, Program, Type};
use meta::value;
use serde_json::Value;

/// What the schema's own value is called in a rule, and what it was before.
pub const SELF: &str = "self";
pub const OLD_SELF: &str = "oldSelf";

/// One rule. What of it cannot be used says why.
#[derive(Debug)]
pub struct Expression {
    pub program: Result<Program, String>,
    pub message: Option<Result<Program, String>>,
    /// Whether it is about a change.
    pub uses_old: bool,
    /// Of the rule and of its message, for one value.
    pub cost: u64,
    pub message_cost: u64,
    /// Where the error is told, below where the rule is.
    pub field_path: String,
}

/// None where there is no rule in it.
pub fn compile(rule: &Value, schema: &Value, declared: &Declared) -> Option<Expression> {
    let source = value::text(rule, &["rule"]);
    if source.trim().is_empty() {
        return None;
    }
    let optional = value::flag(rule, &["optionalOldSelf"]);
    let old = if optional { Type::optional(declared.ty.clone()) } else { declared.ty.clone() };
    let environment = Environment::new().with_variable(SELF, declared.ty.clone()).with_variable(OLD_SELF, old);
    let program = environment.compile(source).map_err(|error| format!("compilation failed: {error}"));
    let program =
        program.and_then(|p| if p.ty() == &Type::Bool { Ok(p) } else { Err("cel expression must evaluate to a bool".to_string()) });
    let message = match value::text(rule, &["messageExpression"]) {
        "" => None,
        source => {
            let program = environment.compile(source).map_err(|error| format!("messageExpression compilation failed: {error}"));
            Some(
                program
                    .and_then(|p| if p.ty() == &Type::String { Ok(p) } else { Err("messageExpression must evaluate to a string".into()) }),
            )
        }
    };
    let cost = |program: &Program| program.estimate(declared).max;
    let path = value::text(rule, &["fieldPath"]);
    Some(Expression {
        uses_old: program.as_ref().is_ok_and(|p| p.uses(OLD_SELF)),
        cost: program.as_ref().map_or(0, cost),
        message_cost: message.as_ref().and_then(|m| m.as_ref().ok()).map_or(0, cost),
        field_path: if path.is_empty() { String::new() } else { field_path(path, schema, true).map(|(path, _)| path).unwrap_or_default() },
        program,
        message,
    })
}

/// A path of fields and keys below a schema, `.spec.labels['a']`: as errors print it, and the schema that it leads to.
pub fn field_path<'s>(path: &str, schema: &'s Value, brackets: bool) -> Result<(String, &'s Value), String> {
    let mut at = schema;
    let mut out = String::new();
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let (name, left) = match first {
            '.' => {
                let text = &rest[1..];
                let end = text.find(['.', '[', ']']).unwrap_or(text.len());
                if end == 0 {
                    return Err("unexpected end of JSON path".into());
                }
                (text[..end].to_string(), &text[end..])
            }
            '[' if !brackets => return Err("array notation is not allowed".into()),
            '[' => quoted(&rest[1..])?,
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        rest = left;
        if let Some(properties) = at.get("properties").and_then(Value::as_object) {
            at = properties.get(&name).ok_or("does not refer to a valid field")?;
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(&name);
        } else {
            at = at.get("additionalProperties").filter(|inner| inner.is_object()).ok_or("does not refer to a valid field")?;
            out.push_str(&format!("[{name}]"));
        }
    }
    Ok((out, at))
}

/// `'name']`: the name, and what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let Some(inner) = text.strip_prefix('\'') else {
        return Err(format!("expected single quoted string but got {}", text.split(']').next().unwrap_or_default()));
    };
    let mut name = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => {
                let rest = inner[at + 1..].strip_prefix(']').ok_or("unexpected end of JSON path")?;
                return Ok((name, rest));
            }
            '\\' => name.push(match chars.next().map(|(_, c)| c) {
                Some('a') => '\x07',
                Some('b') => '\x08',
                Some('f') => '\x0c',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('v') => '\x0b',
                Some(c @ ('\'' | '\\')) => c,
                other => return Err(format!("invalid string literal: invalid escape char \\{}", other.unwrap_or(' '))),
            }),
            c => name.push(c),
        }
    }
    Err("unexpected end of JSON path".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_through_fields_and_keys() {
        let schema = json!({"properties": {"spec": {"properties": {"a.b": {"type": "string"}, "map": {"additionalProperties": {"type": "integer"}}}}}});
        for (path, wanted) in [
            (".spec", Ok("spec")),
            (".spec['a.b']", Ok("spec.a.b")),
            (".spec.map['x']", Ok("spec.map[x]")),
            (".nope", Err("does not refer to a valid field")),
            ("spec", Err("expected [ or . but got: s")),
            (".spec['a.b'", Err("unexpected end of JSON path")),
        ] {
            let found = field_path(path, &schema, true).map(|(path, _)| path);
            assert_eq!(found.as_deref().map_err(String::as_str), wanted, "{path}");
        }
    }
}
