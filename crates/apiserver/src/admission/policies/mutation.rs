//! What a policy's mutation makes of an object.

use super::super::expressions::{Expression, budget};
use super::policy::Mutation;
use cel::{Map, Variables};
use meta::patch::json;
use meta::schema::Schema;
use meta::{managed, value};
use serde_json::{Value, json};

/// The object as it is after the mutation, or why there is none.
pub fn mutate<'a>(mutation: &'a Mutation, object: &Value, schema: &Schema, variables: &Variables<'a>) -> Result<Value, String> {
    match mutation {
        Mutation::Configuration(expression) => configuration(expression, object, schema, variables),
        Mutation::Patches(expression) => patches(expression, object, variables),
    }
}

fn configuration<'a>(expression: &'a Expression, object: &Value, schema: &Schema, variables: &Variables<'a>) -> Result<Value, String> {
    let made = expression.evaluate(variables, &mut budget())?;
    check_names(&made, "Object").map_err(|why| format!("type mismatch: {why}"))?;
    let mut over = made.to_json().map_err(|e| e.to_string())?;
    for field in ["apiVersion", "kind"] {
        value::carry(&mut over, object, &[field]);
    }
    managed::overlay(schema, object, &over).map_err(|why| format!("error applying patch: {why}"))
}

fn patches<'a>(expression: &'a Expression, object: &Value, variables: &Variables<'a>) -> Result<Value, String> {
    let cel::Value::List(list) = expression.evaluate(variables, &mut budget())? else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".into());
    };
    let mut operations = Vec::with_capacity(list.len());
    for item in list.iter() {
        let cel::Value::Map(Map::Struct(_, fields)) = &item else {
            return Err("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch".into());
        };
        let mut operation = json!({});
        for (name, content) in fields.entries() {
            let name = name.as_str().unwrap_or_default();
            if name == "value" {
                check_names_of_root(content).map_err(|why| format!("type mismatch: {why}"))?;
            }
            let unfit = |e| format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {e}");
            let content = content.to_json().map_err(unfit)?;
            if name != "from" || content != "" {
                operation[name] = content;
            }
        }
        operations.push(operation);
    }
    match json::apply(object.clone(), &Value::Array(operations)) {
        Ok(patched) => Ok(patched),
        // A test that fails says that the patch is not meant for this object.
        Err(error) if error.to_string().ends_with("test failed") => Ok(object.clone()),
        Err(error) => Err(format!("JSON Patch: {error}")),
    }
}

/// An object in a patch may be of any place; below it, names follow the fields.
fn check_names_of_root(content: &cel::Value<'_>) -> Result<(), String> {
    match content {
        cel::Value::Map(Map::Struct(name, _)) => check_names(content, name),
        _ => Ok(()),
    }
}

/// `Object.spec{...}` belongs into the field `spec` of an `Object{...}`, and nowhere else.
fn check_names(made: &cel::Value<'_>, expected: &str) -> Result<(), String> {
    match made {
        cel::Value::Map(Map::Struct(name, fields)) => {
            if **name != *expected {
                return Err(format!(
                    "unexpected type name {name:?}, expected {expected:?}, which matches field name path from root Object type"
                ));
            }
            let mut entries = fields.entries().iter();
            entries.try_for_each(|(name, value)| check_names(value, &format!("{expected}.{}", name.as_str().unwrap_or_default())))
        }
        cel::Value::List(list) => list.iter().try_for_each(|item| check_names(&item, expected)),
        cel::Value::Optional(Some(inner)) => check_names(inner, expected),
        _ => Ok(()),
    }
}
