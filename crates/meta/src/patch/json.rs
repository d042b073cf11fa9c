//! RFC 6902.

use super::{PatchError, type_name};
use serde_json::Value;

/// `maxJSONPatchOperations` of the API server.
const MAX_OPERATIONS: usize = 10_000;
/// `JSONPatchMaxCopyBytes`: each copy may double the object, so their sum is bounded.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// Applies an RFC 6902 patch (an array of operations), all or nothing.
pub fn apply(mut target: Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = patch else {
        let found = type_name(patch);
        return Err(PatchError::Malformed(format!("error decoding patch: cannot unmarshal {found} into a list of operations")));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut copied = 0;
    for operation in operations {
        apply_one(&mut target, operation, &mut copied)?;
    }
    Ok(target)
}

fn apply_one(target: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), PatchError> {
    let text = |name: &str| operation.get(name).and_then(Value::as_str);
    let pointer = |name: &str| {
        let missing = || unfit(format!("{} operation has no valid {name}", text("op").unwrap_or_default()));
        text(name).ok_or_else(missing).and_then(parse)
    };
    let value = || operation.get("value").cloned().ok_or_else(|| unfit("operation has no value"));
    match text("op") {
        Some("add") => add(target, &pointer("path")?, value()?),
        Some("remove") => remove(target, &pointer("path")?).map(drop),
        Some("replace") => {
            let path = pointer("path")?;
            match find(target, &path) {
                Some(slot) => *slot = value()?,
                None => return Err(missing("replace", &path)),
            }
            Ok(())
        }
        Some("move") => {
            let (from, path) = (pointer("from")?, pointer("path")?);
            if path.len() > from.len() && path.starts_with(&from) {
                return Err(unfit("move operation cannot move a value into itself"));
            }
            let moved = remove(target, &from)?;
            add(target, &path, moved)
        }
        Some("copy") => {
            let from = pointer("from")?;
            let original = find(target, &from).ok_or_else(|| missing("copy", &from))?;
            *copied += size(original);
            if *copied > MAX_COPIED {
                return Err(PatchError::TooLarge(format!("the copies of this JSON patch are larger than {MAX_COPIED} bytes together")));
            }
            let copy = original.clone();
            add(target, &pointer("path")?, copy)
        }
        Some("test") => {
            let path = pointer("path")?;
            let expected = operation.get("value").unwrap_or(&Value::Null);
            if equal(find(target, &path).map_or(&Value::Null, |v| v), expected) {
                return Ok(());
            }
            Err(unfit(format!("testing value {} failed: test failed", text("path").unwrap_or_default())))
        }
        Some(other) => Err(unfit(format!("Unexpected kind: {other}"))),
        None => Err(unfit("operation without op")),
    }
}

fn unfit(text: impl Into<String>) -> PatchError {
    PatchError::Unprocessable(text.into())
}

fn missing(op: &str, path: &[String]) -> PatchError {
    unfit(format!("{op} operation does not apply: doc is missing path: /{}: missing value", path.join("/")))
}

fn parse(pointer: &str) -> Result<Vec<String>, PatchError> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let rest = pointer.strip_prefix('/').ok_or_else(|| unfit(format!("\"{pointer}\" is no JSON pointer")))?;
    Ok(rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || (!step.starts_with('0') && !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit()));
    plain.then(|| step.parse().ok()).flatten()
}

fn find<'a>(target: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(target, |here, step| match here {
        Value::Object(map) => map.get_mut(step),
        Value::Array(items) => items.get_mut(index(step)?),
        _ => None,
    })
}

fn add(target: &mut Value, path: &[String], value: Value) -> Result<(), PatchError> {
    let Some((last, parents)) = path.split_last() else {
        *target = value;
        return Ok(());
    };
    match find(target, parents) {
        Some(Value::Object(map)) => {
            map.insert(last.clone(), value);
        }
        Some(Value::Array(items)) => {
            let at = if last == "-" { Some(items.len()) } else { index(last) };
            match at.filter(|at| *at <= items.len()) {
                Some(at) => items.insert(at, value),
                None => return Err(unfit(format!("Unable to access invalid index: {last}: invalid index referenced"))),
            }
        }
        _ => return Err(missing("add", path)),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &[String]) -> Result<Value, PatchError> {
    let gone = || missing("remove", path);
    let (last, parents) = path.split_last().ok_or_else(|| unfit("the whole object cannot be removed"))?;
    match find(target, parents) {
        Some(Value::Object(map)) => map.remove(last).ok_or_else(gone),
        Some(Value::Array(items)) => {
            let at = index(last).filter(|at| *at < items.len()).ok_or_else(gone)?;
            Ok(items.remove(at))
        }
        _ => Err(gone()),
    }
}

/// 1 and 1.0 are the same number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().zip(b).all(|((ka, a), (kb, b))| ka == kb && equal(a, b)),
        _ => a == b,
    }
}

/// About the length of its JSON text.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 5,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|v| size(v) + 1).sum::<usize>(),
        Value::Object(map) => 2 + map.iter().map(|(k, v)| k.len() + size(v) + 4).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_operation_does_what_the_rfc_says() {
        let target = json!({"a": {"b/c": 1, "l": [1, 2]}, "x": "y"});
        let patch = json!([
            {"op": "test", "path": "/a/b~1c", "value": 1.0},
            {"op": "test", "path": "/gone", "value": null},
            {"op": "add", "path": "/a/l/1", "value": 9},
            {"op": "add", "path": "/a/l/-", "value": 3},
            {"op": "remove", "path": "/a/l/0"},
            {"op": "replace", "path": "/x", "value": "z"},
            {"op": "move", "from": "/x", "path": "/a/x"},
            {"op": "copy", "from": "/a/l", "path": "/m"},
        ]);
        assert_eq!(apply(target, &patch).unwrap(), json!({"a": {"b/c": 1, "l": [9, 2, 3], "x": "z"}, "m": [9, 2, 3]}));
    }

    #[test]
    fn what_does_not_fit_is_unprocessable() {
        for operation in [
            json!({"op": "test", "path": "/a", "value": 2}),
            json!({"op": "remove", "path": "/b"}),
            json!({"op": "replace", "path": "/b", "value": 1}),
            json!({"op": "add", "path": "/b/c", "value": 1}),
            json!({"op": "add", "path": "/l/5", "value": 1}),
            json!({"op": "add", "path": "/l/01", "value": 1}),
            json!({"op": "move", "from": "/l", "path": "/l/0"}),
            json!({"op": "frobnicate", "path": "/a"}),
            json!({"op": "add", "path": "a", "value": 1}),
        ] {
            let result = apply(json!({"a": 1, "l": [1]}), &json!([operation]));
            assert!(matches!(result, Err(PatchError::Unprocessable(_))), "{operation}: {result:?}");
        }
        assert!(matches!(apply(json!({}), &json!({})), Err(PatchError::Malformed(_))));
    }

    #[test]
    fn a_patch_cannot_blow_up_the_object() {
        let doubling: Vec<Value> = (0..60).map(|i| json!({"op": "copy", "from": "", "path": format!("/{i}")})).collect();
        assert!(matches!(apply(json!({"a": "x".repeat(100)}), &doubling.into()), Err(PatchError::TooLarge(_))));
        let many = vec![json!({"op": "test", "path": "/b"}); MAX_OPERATIONS + 1];
        assert!(matches!(apply(json!({}), &many.into()), Err(PatchError::TooLarge(_))));
    }
}
