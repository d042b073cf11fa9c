//! The older OpenAPI document is one for all: what servers behind this one say of their versions is taken from theirs
//! and added to it.

use super::Older;
use super::availability::get;
use super::remote::Remote;
use crate::connect::client::Target;
use crate::discovery::hex;
use crate::openapi::definitions::{keep, references};
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH};
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// That of a stock API server has less than half of it.
const LIMIT: usize = 16 << 20;

/// What the server says now. Err: it does not answer, which may pass; Ok(None): it has no such document.
pub async fn fetch(target: &Target, remote: &Remote, known: Option<Arc<Older>>) -> Result<Option<Arc<Older>>, ()> {
    tokio::time::timeout(PATIENCE, ask(target, remote, known)).await.map_err(drop)?
}

async fn ask(target: &Target, remote: &Remote, known: Option<Arc<Older>>) -> Result<Option<Arc<Older>>, ()> {
    let mut headers = vec![(ACCEPT.as_str(), "application/json")];
    headers.extend(known.iter().map(|known| (IF_NONE_MATCH.as_str(), known.tag.as_str())));
    let answer = get(target, remote, "/openapi/v2", &headers).await.map_err(drop)?;
    match answer.status().as_u16() {
        200 => {}
        304 => return Ok(known),
        500.. => return Err(()),
        _ => return Ok(None),
    }
    let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_string);
    let bytes = Limited::new(answer.into_body(), LIMIT).collect().await.map_err(drop)?.to_bytes();
    let path = remote.path();
    let cut = tokio::task::spawn_blocking(move || {
        let tag = tag.unwrap_or_else(|| hex(&Sha256::digest(&bytes)));
        Some(cut(serde_json::from_slice(&bytes).ok()?, &path, tag))
    });
    Ok(cut.await.map_err(drop)?.map(Arc::new))
}

/// Leaves of a document what is about the version at this path.
fn cut(mut document: Value, path: &str, tag: String) -> Older {
    let mut take = |name: &str| match document.get_mut(name).map(Value::take) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (mut paths, mut definitions, parameters) = (take("paths"), take("definitions"), take("parameters"));
    let own = |name: &str| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    paths.retain(|name, _| own(name));
    for item in paths.values_mut() {
        write_out(item, &parameters);
    }
    let mut roots = Vec::new();
    paths.values().for_each(|item| references(item, &mut roots));
    keep(&mut definitions, roots);
    Older { tag, paths, definitions }
}

/// Parameters that a document names once for all are written out where they are referred to.
fn write_out(value: &mut Value, parameters: &Map<String, Value>) {
    match value {
        Value::Object(map) => {
            let named = map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/parameters/"));
            match named.and_then(|name| parameters.get(name)) {
                Some(parameter) => *value = parameter.clone(),
                None => map.values_mut().for_each(|value| write_out(value, parameters)),
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| write_out(item, parameters)),
        _ => {}
    }
}

const DEFINITIONS: &str = "#/definitions/";

/// Adds a server's part to a document. Definitions of the same name that say something else get another name.
pub fn add(document: &mut Value, older: &Older) {
    let Some(Value::Object(there)) = document.get_mut("definitions") else { return };
    let other = differing(there, &older.definitions);
    let mut number = 2;
    let renamed = |number: u32, name: &str| if other.contains(name) { format!("{name}_v{number}") } else { name.to_string() };
    let definitions = loop {
        let renamed = |name: &str| renamed(number, name);
        let all: Map<String, Value> = older.definitions.iter().map(|(name, held)| (renamed(name), rename(held, &renamed))).collect();
        if all.iter().all(|(name, held)| there.get(name).is_none_or(|there| same(there, held))) {
            break all;
        }
        number += 1;
    };
    for (name, held) in definitions {
        there.entry(name).or_insert(held);
    }
    let renamed = |name: &str| renamed(number, name);
    if let Some(Value::Object(there)) = document.get_mut("paths") {
        for (path, item) in &older.paths {
            there.entry(path.as_str()).or_insert_with(|| rename(item, &renamed));
        }
    }
}

/// Those that are not what they are there, and those that lead to them.
fn differing(there: &Map<String, Value>, definitions: &Map<String, Value>) -> BTreeSet<String> {
    let mut other: BTreeSet<String> = BTreeSet::new();
    loop {
        let before = other.len();
        for (name, held) in definitions {
            let Some(there) = there.get(name) else { continue };
            let leads = || {
                let mut to = Vec::new();
                references(held, &mut to);
                to.iter().any(|name| other.contains(name))
            };
            if !other.contains(name) && (!same(there, held) || leads()) {
                other.insert(name.clone());
            }
        }
        if other.len() == before {
            return other;
        }
    }
}

/// Which groups have a definition in use is no difference.
fn same(a: &Value, b: &Value) -> bool {
    const GVK: &str = "x-kubernetes-group-version-kind";
    let (Value::Object(a), Value::Object(b)) = (a, b) else { return a == b };
    let fields = |of: &Map<String, Value>| of.keys().filter(|key| *key != GVK).count();
    fields(a) == fields(b) && a.iter().all(|(key, value)| key == GVK || b.get(key) == Some(value))
}

fn rename(value: &Value, renamed: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::Object(map) => {
            let change = |(key, value): (&String, &Value)| match value.as_str().and_then(|r| r.strip_prefix(DEFINITIONS)) {
                Some(name) if key == "$ref" => (key.clone(), format!("{DEFINITIONS}{}", renamed(name)).into()),
                _ => (key.clone(), rename(value, renamed)),
            };
            map.iter().map(change).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(|item| rename(item, renamed)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn theirs(meta: Value) -> Older {
        let to = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
        let get = json!({"parameters": [{"$ref": "#/parameters/pretty"}], "responses": {"200": {"schema": to("Thing")}}});
        let document = json!({
            "paths": {"/apis/g/v1/things": {"get": get}, "/apis/g/v10/things": {"get": {}}, "/version": {"get": {}}},
            "parameters": {"pretty": {"name": "pretty", "in": "query"}},
            "definitions": {"Thing": {"properties": {"metadata": to("Meta"), "time": to("Time")}}, "Meta": meta, "Time": {"type": "string"}, "Info": {}},
        });
        cut(document, "/apis/g/v1", "1".into())
    }

    #[test]
    fn what_is_no_document_has_no_part() {
        for answer in [json!([]), json!("text"), json!({"paths": []})] {
            let older = cut(answer, "/apis/g/v1", String::new());
            assert!(older.paths.is_empty() && older.definitions.is_empty());
        }
    }

    #[test]
    fn what_is_about_another_version_stays_out() {
        let older = theirs(json!({"type": "object"}));
        assert_eq!(older.paths.keys().collect::<Vec<_>>(), ["/apis/g/v1/things"]);
        assert_eq!(older.paths["/apis/g/v1/things"]["get"]["parameters"][0]["name"], "pretty");
        assert!(!older.definitions.contains_key("Info"));
    }

    #[test]
    fn definitions_that_say_something_else_get_another_name() {
        let own = json!({"type": "object", "x-kubernetes-group-version-kind": []});
        let base = || json!({"paths": {}, "definitions": {"Meta": own, "Time": {"type": "string"}}});
        let mut shared = base();
        add(&mut shared, &theirs(json!({"type": "object"})));
        assert_eq!(shared["definitions"]["Meta"], own);
        assert_eq!(shared["definitions"]["Thing"]["properties"]["metadata"]["$ref"], "#/definitions/Meta");

        let mut both = base();
        let first = theirs(json!({"type": "object", "description": "older"}));
        add(&mut both, &first);
        let thing = &both["definitions"]["Thing"]["properties"];
        assert_eq!((&thing["metadata"]["$ref"], &thing["time"]["$ref"]), (&json!("#/definitions/Meta_v2"), &json!("#/definitions/Time")));
        // The same once more finds its own; what differs again is the third.
        let before = both.clone();
        add(&mut both, &first);
        assert_eq!(both["definitions"]["Meta_v2"], before["definitions"]["Meta_v2"]);
        add(&mut both, &theirs(json!({"type": "object", "description": "oldest"})));
        assert_eq!(both["definitions"]["Meta_v3"]["description"], "oldest");
        assert_eq!(both["definitions"]["Thing_v3"]["properties"]["metadata"]["$ref"], "#/definitions/Meta_v3");
    }
}
