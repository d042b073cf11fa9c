//! Media types: what a request's body is in, and what its answer is to be in.

mod gzip;

use crate::body::{self, Body};
use crate::query::Query;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use kinds::wire;
use meta::ApiError;
use serde_json::Value;

/// Shorter answers are not worth the work.
const GZIP_FROM: usize = 128 << 10;

/// Fields that come twice in YAML, of which no more are told.
const DUPLICATES: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
    /// Only for who takes nothing else.
    Protobuf,
}

/// How much of each object a table carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As it is.
    Object,
    Table(Include),
    /// `PartialObjectMetadata`, or a list of them.
    Partial,
}

/// What the client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    pub format: Format,
    pub shape: Shape,
    pub pretty: bool,
    pub gzip: bool,
}

impl Default for Output {
    fn default() -> Self {
        Self { format: Format::Json, shape: Shape::Object, pretty: false, gzip: false }
    }
}

/// One entry of an `Accept` header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaType {
    /// In lower case.
    pub name: String,
    pub parameters: Vec<(String, String)>,
}

impl MediaType {
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameter = |p: &str| {
            let (key, value) = p.split_once('=')?;
            Some((key.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_string()))
        };
        Self { name, parameters: parts.filter_map(parameter).collect() }
    }

    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(k, _)| k == name).map_or("", |(_, v)| v.as_str())
    }
}

/// What the client accepts, best first. Nothing said means anything.
pub fn accepted(headers: &HeaderMap) -> Vec<MediaType> {
    let texts = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok());
    let mut types: Vec<MediaType> = texts.flat_map(|t| t.split(',')).filter(|t| !t.trim().is_empty()).map(MediaType::parse).collect();
    if types.is_empty() {
        types.push(MediaType { name: "*/*".into(), parameters: Vec::new() });
    }
    let quality = |t: &MediaType| t.parameter("q").parse::<f32>().unwrap_or(1.0);
    types.sort_by(|a, b| quality(b).total_cmp(&quality(a)));
    types
}

/// What to answer in. `shapes` says whether tables and metadata alone can be asked for.
pub fn output(headers: &HeaderMap, query: &Query, shapes: bool) -> Result<Output, ApiError> {
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let by_hand = agent.starts_with("curl") || agent.starts_with("Wget") || agent.starts_with("Mozilla/5.0");
    let pretty = if query.get("pretty").is_some() { query.flag("pretty") } else { by_hand };
    let encodings = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
    let gzip = encodings.flat_map(|v| v.split(',')).any(|e| e.split(';').next().is_some_and(|e| e.trim().eq_ignore_ascii_case("gzip")));
    let mut last = None;
    for accepted in accepted(headers) {
        let format = match accepted.name.as_str() {
            "application/json" | "application/*" | "*/*" => Format::Json,
            "application/yaml" => Format::Yaml,
            wire::MEDIA_TYPE => Format::Protobuf,
            _ => continue,
        };
        let asked = accepted.parameter("as");
        let known = accepted.parameter("g") == "meta.k8s.io" && accepted.parameter("v") == "v1";
        let shape = match asked {
            "" => Shape::Object,
            _ if !known || !shapes => continue,
            "Table" if format != Format::Protobuf => Shape::Table(include(query)?),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Shape::Partial,
            _ => continue,
        };
        let output = Output { format, shape, pretty, gzip };
        if format != Format::Protobuf {
            return Ok(output);
        }
        last = last.or(Some(output));
    }
    last.ok_or_else(|| not_acceptable("application/json, application/yaml, application/vnd.kubernetes.protobuf"))
}

pub fn not_acceptable(known: &str) -> ApiError {
    ApiError::not_acceptable(format!("only the following media types are accepted: {known}"))
}

fn include(query: &Query) -> Result<Include, ApiError> {
    match query.text("includeObject") {
        "" | "Metadata" => Ok(Include::Metadata),
        "None" => Ok(Include::None),
        "Object" => Ok(Include::Object),
        other => Err(ApiError::bad_request(format!("unrecognized includeObject value: {other:?}"))),
    }
}

/// The tree that a body holds, and a message for each field that comes twice.
pub fn decode(content_type: Option<&HeaderValue>, bytes: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    let media = MediaType::parse(content_type.and_then(|v| v.to_str().ok()).unwrap_or_default());
    match media.name.as_str() {
        "" | "application/json" | "*/*" => Ok(meta::decode::parse_json(bytes)?),
        "application/yaml" => yaml(bytes),
        wire::MEDIA_TYPE => match wire::decode(bytes) {
            Ok(tree) => Ok((tree, Vec::new())),
            Err(error) => Err(ApiError::bad_request(error.to_string())),
        },
        _ => Err(ApiError::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, {}",
            wire::MEDIA_TYPE
        ))),
    }
}

/// YAML of one document, as a tree, and what upstream says of each field that comes twice. Everything JSON is YAML too.
pub fn yaml(bytes: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    if let Ok(parsed) = meta::decode::parse_json(bytes) {
        return Ok(parsed);
    }
    let unreadable = |why: String| ApiError::bad_request(format!("error converting YAML to JSON: yaml: {why}"));
    crate::yaml::bounded(bytes).map_err(|e| unreadable(e.to_string()))?;
    let read = |allowed| meta::decode::tree(serde_yaml_ng::Deserializer::from_slice(bytes), allowed);
    let (value, twice) = read(usize::MAX).map_err(|e| unreadable(e.to_string()))?;
    if twice.is_empty() {
        return Ok((value, twice));
    }
    // Where the n-th stands is told by the error of a reading that stops at it.
    let lines = (0..twice.len().min(DUPLICATES)).filter_map(|n| {
        let error = read(n).err()?;
        let text = error.to_string();
        let key = text.rsplit_once(" at line ").map_or(text.as_str(), |(key, _)| key);
        let key = key.rsplit(": ").next().unwrap_or(key);
        Some(format!("line {}: key {key:?} already set in map", error.location()?.line()))
    });
    Ok((value, lines.collect()))
}

impl Output {
    pub fn content_type(&self) -> &'static str {
        match self.format {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
            Format::Protobuf => wire::MEDIA_TYPE,
        }
    }

    fn plain(&self) -> bool {
        self.format == Format::Json && !self.pretty
    }

    fn encode(&self, value: &Value) -> Vec<u8> {
        let encoded = match (self.format, self.pretty) {
            (Format::Yaml, _) => serde_yaml_ng::to_string(value).map(String::into_bytes).unwrap_or_default(),
            (Format::Json, true) => serde_json::to_vec_pretty(value).unwrap_or_default(),
            (Format::Json, false) => serde_json::to_vec(value).unwrap_or_default(),
            (Format::Protobuf, _) => wire::encode(value).unwrap_or_default(),
        };
        let mut encoded = encoded;
        if self.format == Format::Json {
            encoded.push(b'\n');
        }
        encoded
    }

    pub fn respond(&self, status: StatusCode, value: &Value) -> Response<Body> {
        let encoded = self.encode(value);
        if encoded.is_empty() {
            // What is not built in has no protobuf form.
            let json = Self { format: Format::Json, shape: Shape::Object, ..*self };
            return error_response(&json, &not_acceptable("application/json, application/yaml"));
        }
        self.send(status, vec![encoded.into()])
    }

    /// JSON that is encoded already, in parts.
    pub fn respond_parts(&self, status: StatusCode, parts: Vec<Bytes>) -> Response<Body> {
        if self.plain() {
            return self.send(status, parts);
        }
        match serde_json::from_slice::<Value>(&parts.concat()) {
            Ok(value) => self.respond(status, &value),
            Err(error) => error_response(self, &ApiError::internal(error)),
        }
    }

    fn send(&self, status: StatusCode, parts: Vec<Bytes>) -> Response<Body> {
        let length: usize = parts.iter().map(Bytes::len).sum();
        let pack = self.gzip && length >= GZIP_FROM;
        let body = body::parts(parts);
        let mut response = Response::new(if pack { gzip::packed(body) } else { body });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        if pack {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        response
    }
}

/// The `Status` of an error.
pub fn error_response(output: &Output, error: &ApiError) -> Response<Body> {
    let status = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = output.respond(status, &error.to_status());
    if let Some(seconds) = error.details.as_ref().map(|d| d.retry_after_seconds).filter(|s| *s > 0) {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &str) -> Result<Output, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        output(&headers, &Query::default(), true)
    }

    #[test]
    fn the_first_media_type_that_can_be_served_is_taken() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(asked(table).unwrap().shape, Shape::Table(Include::Metadata));
        assert_eq!(asked("application/vnd.kubernetes.protobuf,application/json").unwrap(), Output::default());
        assert_eq!(asked("application/vnd.kubernetes.protobuf").unwrap().format, Format::Protobuf);
        assert_eq!(asked("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io").unwrap_err().code, 406);
        assert_eq!(asked("application/json;q=0.1, application/yaml").unwrap().format, Format::Yaml);
        assert_eq!(asked("application/json;as=Other;v=v1;g=meta.k8s.io").unwrap_err().code, 406);
    }

    #[test]
    fn protobuf_and_yaml_are_read() {
        let protobuf = HeaderValue::from_static("application/vnd.kubernetes.protobuf");
        assert_eq!(decode(Some(&protobuf), b"k8s\0").unwrap_err().code, 400);
        let namespace = serde_json::json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "a"}});
        assert_eq!(decode(Some(&protobuf), &wire::encode(&namespace).unwrap()).unwrap().0, namespace);
        assert_eq!(decode(Some(&HeaderValue::from_static("text/plain")), b"a").unwrap_err().code, 415);
        let yaml = HeaderValue::from_static("application/yaml");
        assert_eq!(decode(Some(&yaml), b"a: 1\n").unwrap().0, serde_json::json!({"a": 1}));
        let (tree, twice) = decode(Some(&yaml), b"a: 1\nb:\n  c: x\n  d: y\n  c: z\na: 2\n").unwrap();
        assert_eq!(tree, serde_json::json!({"a": 2, "b": {"c": "z", "d": "y"}}));
        assert_eq!(twice, ["line 5: key \"c\" already set in map", "line 6: key \"a\" already set in map"]);
        let cbor = HeaderValue::from_static("application/cbor");
        assert_eq!(decode(Some(&cbor), &[0xd9, 0xd9, 0xf7]).unwrap_err().code, 415);
    }

    /// The same object three times: as JSON and YAML it comes in and goes out the same, and its wire form reads as both.
    #[test]
    fn published_objects_are_the_same_in_every_format() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/kubernetes-1.36/wire");
        let Ok(entries) = std::fs::read_dir(folder) else {
            eprintln!("skipped: {folder} is absent");
            return;
        };
        let (mut seen, mut in_protobuf) = (0, 0);
        for path in entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "json")) {
            let name = path.display();
            let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let (parsed, twice) = meta::decode::parse_json(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!((parsed, twice), (json.clone(), Vec::new()), "{name}");
            let (tree, twice) = yaml(&std::fs::read(path.with_extension("yaml")).unwrap()).unwrap();
            assert_eq!((&tree, &twice), (&json, &Vec::new()), "{name} as YAML");
            for format in [Format::Json, Format::Yaml] {
                let output = Output { format, ..Output::default() };
                let media = HeaderValue::from_static(output.content_type());
                assert_eq!(decode(Some(&media), &output.encode(&json)).unwrap().0, json, "{name} as {format:?}");
            }
            seen += 1;
            // Alpha and beta kinds, which are not served, have no wire form here.
            if let Ok(read) = wire::decode(&std::fs::read(path.with_extension("pb")).unwrap()) {
                in_protobuf += 1;
                assert_eq!(read, json, "{name} as protobuf");
                let output = Output { format: Format::Protobuf, ..Output::default() };
                assert_eq!(decode(Some(&HeaderValue::from_static(wire::MEDIA_TYPE)), &output.encode(&json)).unwrap().0, json, "{name}");
            }
        }
        assert!(seen > 150 && in_protobuf > 60, "{seen} objects, {in_protobuf} of them in protobuf");
    }
}
