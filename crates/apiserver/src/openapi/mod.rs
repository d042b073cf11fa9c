//! The OpenAPI documents. They are large and seldom asked for: each is made when somebody asks, and only its
//! compressed form is kept.

mod custom;
pub(crate) mod definitions;
mod operations;
mod v2;
mod v3;
mod wire;

use crate::aggregation;
use crate::body::{self, Body};
use crate::discovery::{hex, is_known};
use crate::handlers::{Context, Handler, Handlers};
use crate::negotiate;
use crate::query::Query;
use async_trait::async_trait;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, LOCATION, VARY};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use kinds::Kind;
use meta::{ApiError, GroupVersion};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::sync::Arc;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// How many documents are kept.
const KEPT: usize = 64;

/// Answers `/openapi/v2` and everything below `/openapi/v3`.
pub fn register(handlers: &mut Handlers) {
    let handler: Arc<dyn Handler> = Arc::new(OpenApi::default());
    handlers.route("/openapi/v2", handler.clone());
    handlers.routes_below("/openapi/v3", handler);
}

#[derive(Default)]
struct OpenApi {
    /// By media type and path: the hash, and the compressed document.
    kept: Mutex<HashMap<String, (String, Bytes)>>,
}

#[async_trait]
impl Handler for OpenApi {
    async fn handle(&self, context: &Context, request: Request<Body>) -> Result<Response<Body>, ApiError> {
        let kinds: Vec<Arc<dyn Kind>> = context.server.catalog().all().iter().map(|r| r.kind.clone()).collect();
        let path = request.uri().path().trim_end_matches('/');
        let query = Query::of(request.uri());
        let headers = request.headers();
        if path == "/openapi/v2" {
            let (mut others, mut told) = (Vec::new(), hash(&kinds, None));
            for one in context.server.inner.aggregator.elsewhere() {
                let Some(older) = one.document.older else { continue };
                // A tag is of all that its server says, and what is taken from it of one version.
                let _ = write!(told, " {}/{} {}", one.group, one.version, older.tag);
                others.push(older);
            }
            let hash = hex(&Sha256::digest(told));
            let document = move || {
                let mut document = v2::document(&kinds);
                others.iter().for_each(|older| aggregation::openapi::add(&mut document, older));
                document
            };
            if wanted(headers)? {
                return self.answer(headers, PROTOBUF, path, &hash, false, move || wire::document(&document())).await;
            }
            return self.answer(headers, JSON, path, &hash, false, move || text(&document())).await;
        }
        if path == "/openapi/v3" {
            let output = negotiate::output(headers, &query, false)?;
            let mut index = index(&kinds);
            for one in context.server.inner.aggregator.elsewhere() {
                if let Some(url) = one.document.openapi {
                    index["paths"][format!("apis/{}/{}", one.group, one.version)] = json!({"serverRelativeURL": url});
                }
            }
            return Ok(output.respond(StatusCode::OK, &index));
        }
        if let Some(remote) = path.strip_prefix("/openapi/v3/").and_then(|p| context.server.inner.aggregator.at(p)) {
            return aggregation::proxy::pass(context, &remote, request).await;
        }
        accept(headers)?;
        let version =
            path.strip_prefix("/openapi/v3/").and_then(version).filter(|gv| kinds.iter().any(|k| k.names().group_version() == *gv));
        let version = version.ok_or_else(ApiError::page_not_found)?;
        let hash = hash(&kinds, Some(&version));
        let wanted = query.text("hash");
        if !wanted.is_empty() && wanted != hash {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
            if let Ok(place) = HeaderValue::from_str(&format!("{path}?hash={hash}")) {
                response.headers_mut().insert(LOCATION, place);
            }
            return Ok(response);
        }
        self.answer(headers, JSON, path, &hash, wanted == hash, move || text(&v3::document(&kinds, &version))).await
    }
}

impl OpenApi {
    async fn answer(
        &self,
        headers: &HeaderMap,
        media: &'static str,
        path: &str,
        hash: &str,
        forever: bool,
        make: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Response<Body>, ApiError> {
        let tag = format!("\"{hash}\"");
        if is_known(headers, &tag) {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            mark(response.headers_mut(), &tag, forever);
            return Ok(response);
        }
        let key = format!("{media} {path}");
        let kept = self.kept.lock().get(&key).filter(|(h, _)| h == hash).map(|(_, bytes)| bytes.clone());
        let packed = match kept {
            Some(packed) => packed,
            None => {
                let packed =
                    tokio::task::spawn_blocking(move || pack(&make())).await.map_err(ApiError::internal)?.map_err(ApiError::internal)?;
                let mut kept = self.kept.lock();
                // Versions that are served no more would stay for ever.
                if kept.len() >= KEPT {
                    kept.clear();
                }
                kept.insert(key, (hash.to_string(), packed.clone()));
                drop(kept);
                packed
            }
        };
        let gzip = headers.get_all(ACCEPT_ENCODING).iter().any(|v| v.to_str().is_ok_and(|v| v.contains("gzip")));
        let bytes = if gzip { packed } else { unpack(&packed).map_err(ApiError::internal)? };
        let mut response = Response::new(body::full(bytes));
        let out = response.headers_mut();
        mark(out, &tag, forever);
        out.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        if gzip {
            out.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(response)
    }
}

/// `forever`: what is at an address with this hash never changes.
fn mark(headers: &mut HeaderMap, tag: &str, forever: bool) {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
    let caching = if forever { "public, max-age=31536000, immutable" } else { "no-cache, private" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
}

fn text(document: &Value) -> Vec<u8> {
    // A tree of JSON values always serializes.
    serde_json::to_vec(document).unwrap_or_default()
}

fn pack(document: &[u8]) -> std::io::Result<Bytes> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(document)?;
    Ok(gzip.finish()?.into())
}

fn unpack(packed: &[u8]) -> std::io::Result<Bytes> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

fn is_json(name: &str) -> bool {
    matches!(name, "application/json" | "application/*" | "*/*")
        || (name.starts_with("application/com.github.proto-openapi") && name.ends_with("+json"))
}

/// Of the older document: whether protobuf is wanted more than JSON.
fn wanted(headers: &HeaderMap) -> Result<bool, ApiError> {
    for media in negotiate::accepted(headers) {
        match media.name.as_str() {
            PROTOBUF | "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" => return Ok(true),
            name if is_json(name) => return Ok(false),
            _ => {}
        }
    }
    Err(ApiError::not_acceptable(format!("only the following media types are accepted: {JSON}, {PROTOBUF}")))
}

/// The newer documents are JSON only.
fn accept(headers: &HeaderMap) -> Result<(), ApiError> {
    if negotiate::accepted(headers).iter().any(|media| is_json(&media.name)) {
        return Ok(());
    }
    Err(ApiError::not_acceptable("only the following media types are accepted: application/json"))
}

/// `api/v1` or `apis/apps/v1`
fn version(path: &str) -> Option<GroupVersion> {
    match path.split('/').collect::<Vec<_>>()[..] {
        ["api", version] => Some(GroupVersion::new("", version)),
        ["apis", group, version] => Some(GroupVersion::new(group, version)),
        _ => None,
    }
}

fn index(kinds: &[Arc<dyn Kind>]) -> Value {
    let mut paths = Map::new();
    for kind in kinds {
        let names = kind.names();
        let path = operations::base(&names.group, &names.version);
        let path = path.trim_start_matches('/');
        if !paths.contains_key(path) {
            let hash = hash(kinds, Some(&names.group_version()));
            paths.insert(path.into(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}));
        }
    }
    json!({"paths": paths})
}

/// Changes when a document does, without making it: built-in definitions change only with the program, custom ones
/// carry theirs.
fn hash(kinds: &[Arc<dyn Kind>], version: Option<&GroupVersion>) -> String {
    let mut digest = Sha256::new();
    digest.update(env!("CARGO_PKG_VERSION"));
    for kind in kinds {
        let names = kind.names();
        if version.is_some_and(|version| names.group_version() != *version) {
            continue;
        }
        digest.update(format!("\n{}/{}/{}/{}/{:?}", names.group, names.version, names.plural, names.kind, names.scope));
        digest.update(format!("{} {:?}", names.list_kind, kind.selectable_fields()));
        for subresource in kind.subresources() {
            digest.update(subresource.name());
        }
        if let Some(definition) = kind.openapi() {
            digest.update(definition.to_string());
        }
    }
    hex(&digest.finalize())
}

#[cfg(test)]
mod tests;
