//! What a stranger's bytes reach first, one function for each: none may panic, hang, or take back what it said.
//! The fuzz targets outside of the workspace call these, and so does a bounded test in the normal run.

use crate::auth::tokens::Tokens;
use crate::custom::path::Path;
use crate::handlers::Warnings;
use crate::objects::{Object, ObjectChange, Objects};
use crate::query::Query;
use crate::verbs::token::Token;
use crate::{negotiate, request};
use kinds::{Kind, registry, wire};
use meta::managed::{self, Writer};
use meta::quantity::Quantity;
use meta::{GroupResource, decode, fields, labels, patch};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

/// What every protobuf body begins with.
const MAGIC: &[u8] = b"k8s\0";

pub type Target = fn(&[u8]);

pub const TARGETS: [(&str, Target); 14] = [
    ("json_body", json_body),
    ("yaml_body", yaml_body),
    ("protobuf_body", protobuf_body),
    ("object", object),
    ("selectors", selectors),
    ("quantity", quantity),
    ("json_patch", json_patch),
    ("merge_patch", merge_patch),
    ("strategic_patch", strategic_patch),
    ("apply", apply),
    ("continue_token", continue_token),
    ("json_path", json_path),
    ("jwt", jwt),
    ("request", request_line),
];

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

fn kinds_built_in() -> &'static [Arc<dyn Kind>] {
    static KINDS: OnceLock<Vec<Arc<dyn Kind>>> = OnceLock::new();
    KINDS.get_or_init(registry::builtin)
}

fn pods() -> &'static Arc<dyn Kind> {
    let kinds = kinds_built_in();
    kinds.iter().find(|k| k.names().kind == "Pod").unwrap_or(&kinds[0])
}

fn pod() -> Value {
    let container = |name: &str| json!({"name": name, "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}], "env": [{"name": "A", "value": "b"}]});
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "labels": {"a": "b"}, "finalizers": ["x/y"]},
        "spec": {"containers": [container("one"), container("two")], "tolerations": [{"key": "k", "operator": "Exists"}], "nodeSelector": {"a": "b"}},
    })
}

pub fn json_body(data: &[u8]) {
    if let Ok((value, _)) = decode::parse_json(data) {
        let again = serde_json::to_vec(&value).unwrap_or_default();
        assert_eq!(decode::parse_json(&again).ok().map(|(v, _)| v), Some(value));
    }
}

pub fn yaml_body(data: &[u8]) {
    let _ = negotiate::yaml(data);
}

pub fn protobuf_body(data: &[u8]) {
    let framed = [MAGIC, data].concat();
    for bytes in [data, &framed] {
        if let Ok(value) = wire::decode(bytes) {
            let _ = wire::encode(&value);
        }
    }
}

/// The first byte chooses the kind; the rest is the object.
pub fn object(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok((mut value, _)) = decode::parse_json(rest) else { return };
    let kinds = kinds_built_in();
    let kind = &kinds[usize::from(*first) % kinds.len()];
    if !value.is_object() || decode::check(&kind.schema(), &mut value).is_err() {
        return;
    }
    meta::value::object(&mut value, &["metadata"]);
    kind.prepare_create(&mut value);
    kind.default(&mut value);
    let mut again = value.clone();
    kind.default(&mut again);
    assert_eq!(again, value, "defaults change what they have made");
    let _ = (kind.validate(&value), kind.validate_create(&value), kind.warnings(&value, None));
}

pub fn selectors(data: &[u8]) {
    let text = text(data);
    if let Ok(selector) = labels::Selector::parse(&text) {
        let _ = selector.matches(|key| (key == "a").then_some("b"));
    }
    let _ = fields::Selector::parse(&text);
}

pub fn quantity(data: &[u8]) {
    let text = text(data);
    if let Ok(quantity) = Quantity::parse(&text) {
        let told = quantity.to_string();
        assert_eq!(Quantity::parse(&told).ok().map(|q| q.to_string()), Some(told), "{text}");
    }
}

pub fn json_patch(data: &[u8]) {
    if let Ok((change, _)) = decode::parse_json(data) {
        let _ = patch::json::apply(pod(), &change);
    }
}

pub fn merge_patch(data: &[u8]) {
    let Ok((change, _)) = decode::parse_json(data) else { return };
    let mut once = pod();
    if patch::merge::apply(&mut once, &change).is_ok() {
        let mut twice = once.clone();
        let _ = patch::merge::apply(&mut twice, &change);
        assert_eq!(twice, once);
    }
}

pub fn strategic_patch(data: &[u8]) {
    if let Ok((change, _)) = decode::parse_json(data) {
        let _ = patch::strategic::apply(&pods().schema(), pod(), &change);
    }
}

pub fn apply(data: &[u8]) {
    let Ok((applied, _)) = decode::parse_json(data) else { return };
    let schema = pods().schema();
    let writer = Writer { manager: "fuzz", api_version: "v1", subresource: "", time: "2026-01-01T00:00:00Z", reset: &[] };
    if !applied.is_object() {
        return;
    }
    if let Ok(merged) = managed::apply(&schema, &pod(), &applied, true, writer) {
        // The same again by the same changes nothing.
        let again = managed::apply(&schema, &merged, &applied, true, writer);
        assert_eq!(again.ok(), Some(merged));
    }
}

pub fn continue_token(data: &[u8]) {
    if let Ok(token) = Token::decode(&text(data)) {
        let _ = Token::decode(&token.encode());
    }
}

pub fn json_path(data: &[u8]) {
    if let Some(path) = Path::parse(&text(data)) {
        let pod = pod();
        let _ = (path.first(&pod), path.fields());
    }
}

/// Nothing is there.
struct Nothing;

impl Objects for Nothing {
    fn get(&self, _: &GroupResource, _: &str, _: &str) -> Option<Arc<Object>> {
        None
    }

    fn list(&self, _: &GroupResource, _: Option<&str>) -> Vec<Arc<Object>> {
        Vec::new()
    }

    fn changes(&self, _: &GroupResource) -> mpsc::UnboundedReceiver<ObjectChange> {
        mpsc::unbounded_channel().1
    }
}

pub fn jwt(data: &[u8]) {
    static TOKENS: OnceLock<Option<Tokens>> = OnceLock::new();
    let make = || Tokens::new(&[Tokens::generate().ok()?], "https://issuer", Vec::new(), Arc::new(Nothing)).ok();
    if let Some(tokens) = TOKENS.get_or_init(make) {
        assert!(!matches!(tokens.verify(&text(data), &[], &Warnings::default()), Ok(Some(_))), "a token that nobody signed is believed");
    }
}

/// A path with its query, and what the client accepts, on a line each.
pub fn request_line(data: &[u8]) {
    let text = text(data);
    let (uri, accept) = text.split_once('\n').unwrap_or((&text, "*/*"));
    let Ok(uri) = uri.parse::<http::Uri>() else { return };
    let query = Query::of(&uri);
    for method in [http::Method::GET, http::Method::DELETE, http::Method::POST] {
        let _ = request::attributes(&method, &uri, &query);
    }
    let mut headers = http::HeaderMap::new();
    if let Ok(accept) = http::HeaderValue::from_str(accept) {
        headers.insert(http::header::ACCEPT, accept);
    }
    let _ = negotiate::output(&headers, &query, true);
}

#[cfg(test)]
#[path = "fuzz_tests.rs"]
mod tests;
