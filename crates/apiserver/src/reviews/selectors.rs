//! Selectors in the questions of access reviews: as text or as requirements; what cannot be read is left out and said so.

use meta::fields::{Operator, Requirement, Selector};
use meta::{labels, value};
use serde_json::Value;

/// What is left of the selector, and what is said about it.
pub fn field(attributes: &Value) -> (String, Option<&'static str>) {
    const IGNORED: &str = "spec.resourceAttributes.fieldSelector ignored due to parse error";
    const PARTLY: &str = "spec.resourceAttributes.fieldSelector partially ignored due to parse error";
    let Some(selector) = attributes.get("fieldSelector") else { return (String::new(), None) };
    let raw = value::text(selector, &["rawSelector"]);
    if !raw.is_empty() {
        return match Selector::parse(raw) {
            Ok(_) => (raw.to_string(), None),
            Err(_) => (String::new(), Some(IGNORED)),
        };
    }
    let given = value::items(selector, &["requirements"]);
    let read = |r: &Value| {
        let operator = match value::text(r, &["operator"]) {
            "In" => Operator::Equals,
            "NotIn" => Operator::NotEquals,
            _ => return None,
        };
        match value::items(r, &["values"]) {
            [only] => {
                Some(Requirement { path: value::text(r, &["key"]).into(), operator, value: only.as_str().unwrap_or_default().into() })
            }
            _ => None,
        }
    };
    let requirements: Vec<Requirement> = given.iter().filter_map(read).collect();
    let said = match requirements.len() {
        n if n == given.len() => None,
        0 => Some(IGNORED),
        _ => Some(PARTLY),
    };
    (Selector { requirements }.to_string(), said)
}

pub fn label(attributes: &Value) -> (String, Option<&'static str>) {
    const IGNORED: &str = "spec.resourceAttributes.labelSelector ignored due to parse error";
    const PARTLY: &str = "spec.resourceAttributes.labelSelector partially ignored due to parse error";
    let Some(selector) = attributes.get("labelSelector") else { return (String::new(), None) };
    let raw = value::text(selector, &["rawSelector"]);
    if !raw.is_empty() {
        return match labels::Selector::parse(raw) {
            Ok(_) => (raw.to_string(), None),
            Err(_) => (String::new(), Some(IGNORED)),
        };
    }
    let given = value::items(selector, &["requirements"]);
    let read = |r: &Value| {
        let key = value::text(r, &["key"]);
        let values: Vec<&str> = value::items(r, &["values"]).iter().filter_map(Value::as_str).collect();
        let text = match value::text(r, &["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_string(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        };
        labels::Selector::parse(&text).is_ok().then_some(text)
    };
    let requirements: Vec<String> = given.iter().filter_map(read).collect();
    let said = match requirements.len() {
        n if n == given.len() => None,
        0 => Some(IGNORED),
        _ => Some(PARTLY),
    };
    (requirements.join(","), said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_be_read_is_left_out_and_said() {
        let both = json!({"fieldSelector": {"requirements": [
            {"key": "spec.nodeName", "operator": "In", "values": ["n1"]}, {"key": "a", "operator": "Exists"}]}});
        let (selector, said) = field(&both);
        assert_eq!(selector, "spec.nodeName=n1");
        assert_eq!(said, Some("spec.resourceAttributes.fieldSelector partially ignored due to parse error"));
        assert_eq!(field(&json!({"fieldSelector": {"rawSelector": "a=b"}})), ("a=b".to_string(), None));
        let (selector, said) = label(&json!({"labelSelector": {"requirements": [{"key": "a", "operator": "Near", "values": ["b"]}]}}));
        assert_eq!((selector.as_str(), said), ("", Some("spec.resourceAttributes.labelSelector ignored due to parse error")));
        let set = json!({"labelSelector": {"requirements": [{"key": "a", "operator": "NotIn", "values": ["b", "c"]}]}});
        assert_eq!(label(&set), ("a notin (b,c)".to_string(), None));
    }
}
