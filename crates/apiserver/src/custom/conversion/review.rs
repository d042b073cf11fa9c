//! `ConversionReview`, both ways.

use meta::value;
use serde_json::{Map, Value, json};

pub fn request(uid: &str, version: &str, objects: &[Value], api_version: &str) -> Value {
    json!({
        "kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
    })
}

/// The converted objects, or why there are none.
pub fn response(mut review: Value, version: &str, uid: &str) -> Result<Vec<Value>, String> {
    if version == "v1" {
        let (api_version, kind) = (value::text(&review, &["apiVersion"]), value::text(&review, &["kind"]));
        if api_version != "apiextensions.k8s.io/v1" || kind != "ConversionReview" {
            let expected = "apiextensions.k8s.io/v1, Kind=ConversionReview";
            return Err(format!("expected webhook response of {expected}, got {api_version}, Kind={kind}"));
        }
    }
    let Some(response) = review.get_mut("response").filter(|r| r.is_object()) else { return Err("no response provided".into()) };
    let answered = value::text(response, &["uid"]);
    if version == "v1" && answered != uid {
        return Err(format!("expected response.uid={uid:?}, got {answered:?}"));
    }
    let (status, message) = (value::text(response, &["result", "status"]), value::text(response, &["result", "message"]));
    if status != "Success" {
        return Err(match message {
            "" => format!("response.result.status was '{status}', not 'Success'"),
            message => message.to_string(),
        });
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// The converted object, if it still is the one that was sent: only labels and annotations of its metadata may change.
pub fn accept(from: &Value, mut to: Value, api_version: &str, index: usize) -> Result<Value, String> {
    let at = format!("converted object at index {index}");
    let text = |object: &Value, path: &[&str]| value::text(object, path).to_string();
    let got = text(&to, &["apiVersion"]);
    if got != api_version {
        return Err(format!("invalid {at}: invalid groupVersion (expected {api_version}, received {got})"));
    }
    let (expected, got) = (text(from, &["kind"]), text(&to, &["kind"]));
    if expected != got {
        return Err(format!("invalid {at}: invalid kind (expected {expected}, received {got})"));
    }
    for (field, name) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (expected, got) = (text(from, &["metadata", field]), text(&to, &["metadata", field]));
        if expected != got {
            return Err(format!("invalid {at}: must have the same {name}: {expected} != {got}"));
        }
    }
    let given = match to.get_mut("metadata").map(Value::take) {
        Some(Value::Object(given)) => given,
        None => return Err(format!("invalid metadata in object at index {index}: missing metadata in converted object")),
        Some(_) => return Err(format!("invalid metadata in object at index {index}: invalid metadata in converted object")),
    };
    let mut metadata = from.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match texts(given.get(field)) {
            Ok(None) => drop(metadata.remove(field)),
            Ok(Some(map)) => drop(metadata.insert(field.into(), map)),
            Err(why) => return Err(format!("invalid metadata in object at index {index}: {}", why.replace('@', field))),
        }
    }
    to["metadata"] = Value::Object(metadata);
    Ok(to)
}

/// `@` in an error stands for the field.
fn texts(map: Option<&Value>) -> Result<Option<Value>, String> {
    let Some(map) = map.filter(|m| !m.is_null()) else { return Ok(None) };
    let map: &Map<String, Value> = map.as_object().ok_or("invalid metadata.@ in converted object")?;
    match map.iter().find(|(_, v)| !v.is_string()) {
        Some((key, _)) => Err(format!("metadata.@[{key}] must be a string in converted object")),
        None => Ok(Some(Value::Object(map.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_and_annotations_of_the_metadata_may_change() {
        let from = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a", "uid": "1", "labels": {"x": "1"}}});
        let to = |metadata: Value| json!({"apiVersion": "g/v2", "kind": "K", "metadata": metadata, "spec": 1});
        let accept = |to: Value| accept(&from, to, "g/v2", 0);
        let converted = accept(to(json!({"name": "a", "uid": "1", "labels": {"y": "2"}, "generation": 7}))).unwrap();
        assert_eq!(converted["metadata"], json!({"name": "a", "uid": "1", "labels": {"y": "2"}}));
        for (metadata, why) in [
            (json!({"name": "b", "uid": "1"}), "invalid converted object at index 0: must have the same name: a != b"),
            (json!({"name": "a"}), "invalid converted object at index 0: must have the same UID: 1 != "),
            (
                json!({"name": "a", "uid": "1", "labels": {"x": 1}}),
                "invalid metadata in object at index 0: metadata.labels[x] must be a string in converted object",
            ),
        ] {
            assert_eq!(accept(to(metadata)).unwrap_err(), why);
        }
        let wrong = json!({"apiVersion": "g/v3", "kind": "K"});
        assert!(accept(wrong).unwrap_err().contains("invalid groupVersion (expected g/v2, received g/v3)"));
    }

    #[test]
    fn a_failure_is_told_in_the_webhooks_words() {
        let answer = |response: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
        let why = |response: Value| super::response(answer(response), "v1", "u").unwrap_err();
        assert_eq!(why(json!({"uid": "u", "result": {"status": "Failure", "message": "cannot"}})), "cannot");
        assert_eq!(why(json!({"uid": "u", "result": {"status": "Failed"}})), "response.result.status was 'Failed', not 'Success'");
        assert_eq!(why(json!({"uid": "x"})), "expected response.uid=\"u\", got \"x\"");
        assert_eq!(why(Value::Null), "no response provided");
    }
}
