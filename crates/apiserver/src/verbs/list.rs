//! Many objects: from the cache, or, for a moment that has passed, from the store.

use super::select::Selection;
use super::token::Token;
use super::{Call, invalid_options, revision, view};
use crate::body::Body;
use crate::negotiate::Shape;
use crate::objects::Object;
use crate::registry;
use crate::watch_cache::{Cache, Snapshot};
use bytes::Bytes;
use http::{Response, StatusCode};
use meta::{ApiError, FieldErrors, FieldPath, GroupKind};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Range, Revision};

/// Keys read from the store at a time, where a selector may drop most of them.
const PAGE: usize = 1000;

/// A list's parameters.
struct Wanted {
    limit: usize,
    token: Option<Token>,
    /// Serve exactly this revision.
    exact: Option<Revision>,
    /// Serve at least this one; none: the newest.
    at_least: Option<Revision>,
}

fn wanted(call: &Call<'_>) -> Result<Wanted, ApiError> {
    let query = call.query;
    let limit = match query.text("limit") {
        "" => 0,
        text => text
            .parse::<i64>()
            .ok()
            .and_then(|l| usize::try_from(l).ok())
            .ok_or_else(|| invalid_options("ListOptions", "limit", text, "must be a non-negative integer"))?,
    };
    let version = revision(query.text("resourceVersion"))?;
    let token = query.text("continue");
    let rule = query.text("resourceVersionMatch");
    check_match(version, token, rule, query.get("sendInitialEvents").is_some())?;
    if !token.is_empty() {
        if version.is_some_and(|v| v > 0) {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        return Ok(Wanted { limit, token: Some(Token::decode(token)?), exact: None, at_least: None });
    }
    // Without a rule, a limit makes a revision exact, as it was before rules.
    let exact = version.filter(|v| *v > 0 && (rule == "Exact" || (rule.is_empty() && limit > 0)));
    Ok(Wanted { limit, token: None, exact, at_least: version })
}

fn check_match(version: Option<Revision>, token: &str, rule: &str, initial: bool) -> Result<(), ApiError> {
    let mut errors = FieldErrors::new();
    let path = FieldPath::new("resourceVersionMatch");
    if !rule.is_empty() {
        if version.is_none() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if !token.is_empty() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
        }
        if rule != "Exact" && rule != "NotOlderThan" {
            errors.not_supported(&path, rule, &["Exact", "NotOlderThan", ""]);
        }
        if rule == "Exact" && version == Some(0) {
            errors.forbidden(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
    }
    if initial {
        errors.forbidden(&FieldPath::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(&GroupKind::new("meta.k8s.io", "ListOptions"), "", &errors)) }
}

pub async fn list(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let wanted = wanted(call)?;
    let selection = Selection::parse(call.resource, call.query.text("labelSelector"), call.query.text("fieldSelector"))?;
    let cache = call.cache()?;
    let revision = wanted.token.as_ref().map_or(wanted.exact, Token::revision);
    match revision {
        Some(_) => call.server.settle(revision).await?,
        None if wanted.token.is_some() => call.server.settle(None).await?,
        None => call.server.settle(wanted.at_least).await?,
    }
    cache.all_readable(call.in_namespace())?;
    let start = wanted.token.as_ref().map_or("", |t| t.start.as_str());
    let mut snapshot = match revision {
        Some(revision) => {
            let snapshot = match cache.unchanged_since(revision) {
                true => remembered(call, cache, revision).await.map(|()| from_cache(call, cache, &selection, start, wanted.limit)),
                false => from_store(call, cache, &selection, start, wanted.limit, revision).await,
            };
            match snapshot {
                Ok(snapshot) => snapshot,
                Err(store::Error::Compacted { .. }) => return forgotten(call, wanted.token.as_ref(), revision),
                Err(error) => return Err(registry::store_error(error)),
            }
        }
        None => from_cache(call, cache, &selection, start, wanted.limit),
    };
    if let Some(revision) = revision {
        snapshot.revision = revision;
    }
    snapshot.objects = selection.read(snapshot.objects).await?;
    Ok(respond(call, &snapshot, selection.everything()))
}

/// What matches now, for the verbs that act on many.
pub async fn matching(call: &Call<'_>, cache: &Cache, selection: &Selection) -> Result<Vec<Arc<Object>>, ApiError> {
    let found = from_cache(call, cache, selection, "", 0).objects;
    if selection.is_of_served() { selection.read(found).await } else { Ok(found) }
}

fn from_cache(call: &Call<'_>, cache: &Cache, selection: &Selection, start: &str, limit: usize) -> Snapshot {
    let namespace = call.in_namespace().or_else(|| if call.resource.namespaced() { selection.namespace() } else { None });
    // One name in one place needs no walk over the others.
    if let (Some(name), true) = (selection.name(), namespace.is_some() || !call.resource.namespaced()) {
        let revision = cache.revision();
        let found = cache.get(namespace.unwrap_or_default(), name).filter(|o| selection.matches(o));
        let revision = found.as_ref().map_or(revision, |o| revision.max(o.revision));
        return Snapshot { objects: found.into_iter().collect(), revision, more: false, remaining: 0 };
    }
    cache.snapshot(namespace, start, limit, |object| selection.everything() || selection.matches(object))
}

/// Whether the store still knows the moment. One that is forgotten is too old, even where nothing has changed since: who
/// pages slowly learns it at the same time whatever they read.
async fn remembered(call: &Call<'_>, cache: &Cache, revision: Revision) -> Result<(), store::Error> {
    let start = cache.storage_prefix(None);
    let end = format!("{start}\0");
    call.server.store().range(Range { start, end, limit: 1, revision }).await.map(drop)
}

async fn from_store(
    call: &Call<'_>,
    cache: &Cache,
    selection: &Selection,
    start: &str,
    limit: usize,
    revision: Revision,
) -> Result<Snapshot, store::Error> {
    let root = cache.storage_prefix(None);
    let prefix = cache.storage_prefix(call.in_namespace());
    let end = store::prefix_end(&prefix);
    let mut from = prefix.max(format!("{root}{start}"));
    let mut snapshot = Snapshot { objects: Vec::new(), revision, more: false, remaining: 0 };
    loop {
        let range = Range { start: from, end: end.clone(), limit: if limit == 0 { PAGE } else { limit + 1 }, revision };
        let page = call.server.store().range(range).await?;
        let count = page.kvs.len();
        let mut last = String::new();
        for (i, kv) in page.kvs.into_iter().enumerate() {
            last = format!("{}\0", kv.key);
            let object = cache.past(&kv)?;
            if !selection.matches(&object) {
                continue;
            }
            if limit > 0 && snapshot.objects.len() == limit {
                snapshot.more = true;
                snapshot.remaining = page.count - i;
                return Ok(snapshot);
            }
            snapshot.objects.push(Arc::new(object));
        }
        if !page.more || count == 0 {
            return Ok(snapshot);
        }
        from = last;
    }
}

/// The moment that the token is of is gone. The answer holds a token that goes on from the same place in
/// the newest state.
fn forgotten(call: &Call<'_>, token: Option<&Token>, revision: Revision) -> Result<Response<Body>, ApiError> {
    let Some(token) = token else {
        return Err(ApiError::expired(format!("The resourceVersion for the provided list is too old: {revision}")));
    };
    let error = ApiError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, \
         or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an \
         inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let mut status = error.to_status();
    status["metadata"] = json!({"continue": token.newest().encode()});
    Ok(call.output.respond(StatusCode::GONE, &status))
}

pub fn respond(call: &Call<'_>, snapshot: &Snapshot, count: bool) -> Response<Body> {
    let mut metadata = json!({"resourceVersion": snapshot.revision.to_string()});
    if let (true, Some(last)) = (snapshot.more, snapshot.objects.last()) {
        let key = if last.namespace().is_empty() { last.name().to_string() } else { format!("{}/{}", last.namespace(), last.name()) };
        metadata["continue"] = Token::new(snapshot.revision, format!("{key}\0")).encode().into();
        if count {
            metadata["remainingItemCount"] = snapshot.remaining.into();
        }
    }
    let names = call.resource.kind.names();
    match call.output.shape {
        Shape::Object => frame(call, &names.list_kind, &call.resource.api_version, &metadata, snapshot),
        Shape::Partial => frame(call, "PartialObjectMetadataList", "meta.k8s.io/v1", &metadata, snapshot),
        Shape::Table(include) => {
            let objects: Vec<Value> = snapshot.objects.iter().map(|o| view::served(call.resource, &o.bytes)).collect();
            call.output.respond(StatusCode::OK, &view::table(call.resource, include, &objects, &metadata, true))
        }
    }
}

/// The frame of a list around the objects' own bytes.
fn frame(call: &Call<'_>, kind: &str, api_version: &str, metadata: &Value, snapshot: &Snapshot) -> Response<Body> {
    let (kind, api_version) = (Value::from(kind), Value::from(api_version));
    let mut parts = Vec::with_capacity(snapshot.objects.len() * 2 + 2);
    parts.push(Bytes::from(format!("{{\"kind\":{kind},\"apiVersion\":{api_version},\"metadata\":{metadata},\"items\":[")));
    for (i, object) in snapshot.objects.iter().enumerate() {
        if i > 0 {
            parts.push(Bytes::from_static(b","));
        }
        parts.push(view::encoded(call.resource, call.output.shape, &object.bytes, false));
    }
    parts.push(Bytes::from_static(b"]}\n"));
    call.output.respond_parts(StatusCode::OK, parts)
}
