//! Cells of the server-side table, as `kubectl get` prints them.

use jiff::Timestamp;
use meta::value;
use serde_json::Value;

/// How long the object has existed.
pub fn age(object: &Value, now: Timestamp) -> String {
    since(object, &["metadata", "creationTimestamp"], now)
}

/// How long ago the time at a path was; `<unknown>` where there is none.
pub fn since(object: &Value, path: &[&str], now: Timestamp) -> String {
    since_text(value::text(object, path), now)
}

pub fn since_text(time: &str, now: Timestamp) -> String {
    match meta::time::parse(time) {
        Ok(then) => meta::time::human_duration(now.as_second() - then.as_second()),
        Err(_) => "<unknown>".into(),
    }
}

pub fn name(object: &Value) -> Value {
    value::text(object, &["metadata", "name"]).into()
}

/// The text at a path as a cell.
pub fn text(object: &Value, path: &[&str]) -> Value {
    value::text(object, path).into()
}

/// The text at a path, or what to show where it is missing or empty.
pub fn text_or(object: &Value, path: &[&str], missing: &str) -> Value {
    match value::text(object, path) {
        "" => missing.into(),
        text => text.into(),
    }
}

/// The number at a path as a cell; zero where it is missing.
pub fn int(object: &Value, path: &[&str]) -> Value {
    value::int(object, path).unwrap_or(0).into()
}

/// A `LabelSelector` on one line; `<none>` where there is none or it selects everything.
pub fn label_selector(selector: &Value) -> String {
    match meta::labels::Selector::from_value(selector) {
        _ if selector.is_null() => "<none>".into(),
        Ok(selector) if selector.is_empty() => "<none>".into(),
        Ok(selector) => selector.to_string(),
        Err(_) => "<error>".into(),
    }
}

/// A plain map of labels on one line: `a=b,c=d`; `<none>` where it is empty.
pub fn labels(labels: &Value) -> String {
    let pairs: Vec<String> =
        labels.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

/// The names and the images of a pod spec's containers, each comma separated.
pub fn containers(pod_spec: &Value) -> (String, String) {
    let join = |field: &str| value::items(pod_spec, &["containers"]).iter().map(|c| value::text(c, &[field])).collect::<Vec<_>>().join(",");
    (join("name"), join("image"))
}

/// The first three, and how many more there are: `a,b,c + 2 more...`.
pub fn first_three(items: &[String], none: &str) -> String {
    match items.len() {
        0 => none.into(),
        n if n > 3 => format!("{} + {} more...", items[..3].join(","), n - 3),
        _ => items.join(","),
    }
}
