//! What is answered by code of its own rather than by the generic verbs: connecting subresources
//! (`pods/log`), reviews that are never stored, and paths that are no resources (`/version`).

use crate::attributes::Attributes;
use crate::body::Body;
use crate::catalog::Resource;
use crate::server::ApiServer;
use async_trait::async_trait;
use http::{Request, Response};
use meta::{ApiError, GroupResource};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A request that has been authenticated and authorized.
#[derive(Clone)]
pub struct Context {
    pub server: ApiServer,
    pub attributes: Arc<Attributes>,
    /// The resource that the path names; none for other paths.
    pub resource: Option<Arc<Resource>>,
    pub audit_id: Arc<str>,
    /// Gathered for the answer's `Warning` headers.
    pub warnings: Warnings,
}

/// What is said besides the answer: to the client, each text once, and to the audit log.
#[derive(Clone, Default)]
pub struct Warnings(Arc<Notes>);

#[derive(Default)]
struct Notes {
    warnings: parking_lot::Mutex<Vec<String>>,
    annotations: parking_lot::Mutex<BTreeMap<String, String>>,
    /// Nanoseconds spent waiting for somebody else.
    elsewhere: AtomicU64,
}

impl Warnings {
    pub fn add(&self, text: impl Into<String>) {
        let text = text.into();
        let mut all = self.0.warnings.lock();
        if !text.is_empty() && !all.contains(&text) {
            all.push(text);
        }
    }

    pub fn extend(&self, texts: impl IntoIterator<Item = String>) {
        texts.into_iter().for_each(|t| self.add(t));
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.warnings.lock())
    }

    /// An annotation of the request's audit event; the first of a key stays.
    pub fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        self.0.annotations.lock().entry(key.into()).or_insert(value.into());
    }

    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.0.annotations.lock().clone()
    }

    /// Time that a webhook took is not this server's.
    pub fn waited(&self, took: Duration) {
        self.0.elsewhere.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn waited_elsewhere(&self) -> u64 {
        self.0.elsewhere.load(Ordering::Relaxed)
    }
}

#[async_trait]
pub trait Handler: Send + Sync + 'static {
    async fn handle(&self, context: &Context, request: Request<Body>) -> Result<Response<Body>, ApiError>;
}

/// A path that is no resource.
#[derive(Clone)]
pub struct Route {
    /// Without a trailing slash.
    pub path: String,
    /// Everything below the path too.
    pub below: bool,
    pub handler: Arc<dyn Handler>,
}

/// Who answers what. Filled once, before the server starts.
#[derive(Clone, Default)]
pub struct Handlers {
    resources: HashMap<(GroupResource, String), Arc<dyn Handler>>,
    routes: Vec<Route>,
}

impl Handlers {
    /// For a subresource that connects, or (with an empty `subresource`) for a resource that is not stored.
    pub fn on(&mut self, group: &str, resource: &str, subresource: &str, handler: Arc<dyn Handler>) {
        self.resources.insert((GroupResource::new(group, resource), subresource.to_string()), handler);
    }

    pub fn route(&mut self, path: &str, handler: Arc<dyn Handler>) {
        self.routes.push(Route { path: path.trim_end_matches('/').to_string(), below: false, handler });
    }

    /// The path and everything below it.
    pub fn routes_below(&mut self, path: &str, handler: Arc<dyn Handler>) {
        self.routes.push(Route { path: path.trim_end_matches('/').to_string(), below: true, handler });
    }

    pub fn find(&self, resource: &GroupResource, subresource: &str) -> Option<Arc<dyn Handler>> {
        self.resources.get(&(resource.clone(), subresource.to_string())).cloned()
    }

    /// The longest route that covers `path`.
    pub fn find_route(&self, path: &str) -> Option<Arc<dyn Handler>> {
        let path = path.trim_end_matches('/');
        let covers =
            |r: &&Route| path == r.path || (r.below && path.strip_prefix(r.path.as_str()).is_some_and(|rest| rest.starts_with('/')));
        self.routes.iter().filter(covers).max_by_key(|r| r.path.len()).map(|r| r.handler.clone())
    }

    /// A route has exactly this path.
    pub fn find_exact(&self, path: &str) -> bool {
        self.routes.iter().any(|r| r.path == path)
    }

    /// The exact paths, for `/`'s index.
    pub fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.routes.iter().map(|r| r.path.clone()).filter(|p| !p.is_empty()).collect();
        paths.sort();
        paths.dedup();
        paths
    }
}
