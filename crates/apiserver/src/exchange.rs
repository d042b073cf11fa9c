//! A request from its arrival to the end of its answer. However it ends, with an answer, a refusal, a panic or
//! a client that has gone, it is counted, audited and, if it was slow, told of once: when it is dropped.

use crate::attributes::Attributes;
use crate::audit::{Level, Recording};
use crate::body::{self, Body};
use crate::catalog::Resource;
use crate::handlers::Warnings;
use crate::metrics::Labels;
use crate::query::Query;
use crate::server::ApiServer;
use crate::trace::{Step, Steps};
use crate::user::User;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use meta::ApiError;
use prometheus::IntGauge;
use std::sync::Arc;
use std::time::{Duration, Instant};

const APPLY: &[u8] = b"application/apply-patch";
/// Subresources that connect the client to something else.
const CONNECT: [&str; 5] = ["log", "exec", "portforward", "attach", "proxy"];

pub struct Exchange {
    pub server: ApiServer,
    pub attributes: Arc<Attributes>,
    pub resource: Option<Arc<Resource>>,
    pub audit_id: Arc<str>,
    pub notes: Warnings,
    pub steps: Steps,
    pub audit: Option<Recording>,
    /// The path is one that this server knows, so that it may be a label.
    pub known_path: bool,
    verb: &'static str,
    dry_run: &'static str,
    code: Option<StatusCode>,
    size: Option<u64>,
    running: Running,
}

/// Where a request is counted while it runs.
enum Running {
    Short(IntGauge),
    Long(IntGauge),
}

impl Exchange {
    pub fn begin(
        server: &ApiServer,
        method: &Method,
        headers: &HeaderMap,
        attributes: Attributes,
        query: &Query,
        audit_id: Arc<str>,
    ) -> Self {
        let found = || server.catalog().lookup(&attributes.group, &attributes.version, &attributes.resource);
        let resource = attributes.is_resource.then(found).flatten();
        let requests = &server.inner.metrics.requests;
        let reads = attributes.read_only() || (!attributes.is_resource && matches!(attributes.verb.as_str(), "get" | "head"));
        let gauge = if reads { &requests.reading } else { &requests.mutating };
        gauge.inc();
        Self {
            running: Running::Short(gauge.clone()),
            verb: verb(method, headers, &attributes),
            dry_run: if query.all("dryRun").any(|v| v == "All") { "All" } else { "" },
            server: server.clone(),
            attributes: Arc::new(attributes),
            resource,
            audit_id,
            notes: Warnings::default(),
            steps: Steps::begin(Instant::now()),
            audit: None,
            known_path: false,
            code: None,
            size: None,
        }
    }

    fn labels(&self) -> Labels<'_> {
        let a = &*self.attributes;
        if self.resource.is_none() {
            // Names of resources that do not exist would let anybody grow the tables.
            let path = if self.known_path { a.path.as_str() } else { "" };
            return Labels { verb: self.verb, subresource: path, dry_run: self.dry_run, ..Labels::default() };
        }
        let known = self.resource.as_ref().is_some_and(|r| a.subresource.is_empty() || r.subresource(&a.subresource).is_some());
        Labels {
            verb: self.verb,
            group: &a.group,
            version: &a.version,
            resource: &a.resource,
            subresource: if known { &a.subresource } else { "" },
            scope: scope(a),
            dry_run: self.dry_run,
        }
    }

    /// From here on it lasts as long as its client wants.
    pub fn lasts(&mut self) {
        let gauge = self.server.inner.metrics.requests.long_running(&self.labels());
        gauge.inc();
        if let Running::Short(before) = std::mem::replace(&mut self.running, Running::Long(gauge)) {
            before.dec();
        }
    }

    pub fn refused(&self) {
        self.server.inner.metrics.requests.terminated(&self.labels(), "429");
    }

    pub fn timed_out(&self) {
        self.server.inner.metrics.requests.terminated(&self.labels(), "504");
    }

    pub fn set_user(&mut self, user: Arc<User>) {
        // Nobody else holds them yet, so this copies nothing.
        Arc::make_mut(&mut self.attributes).user = user;
    }

    /// Begins to record, if the policy says so.
    pub fn audit(&mut self, parts: &http::request::Parts, sender: &User) {
        if let Some(auditor) = &self.server.inner.audit {
            self.audit = auditor.begin(&self.server.inner.metrics, parts, sender, &self.attributes, &self.audit_id);
        }
    }

    pub fn acts_as(&mut self, user: &Arc<User>) {
        if let Some(audit) = &mut self.audit {
            audit.acts_as(user);
        }
    }

    pub fn note(&self, key: &str, value: &str) {
        if self.audit.is_some() {
            self.notes.annotate(key, value);
        }
    }

    pub fn wants_body(&self, level: Level) -> bool {
        self.audit.as_ref().is_some_and(|a| a.level() >= level)
    }

    pub fn request_body(&mut self, content_type: Option<HeaderValue>, body: Bytes) {
        if let Some(audit) = &mut self.audit {
            audit.request_body(content_type, body);
        }
    }

    pub fn failed(&mut self, error: &ApiError) {
        if let Some(audit) = &mut self.audit {
            audit.failed(&error.reason, &error.message);
        }
    }

    pub fn panicked(&mut self) {
        if let Some(audit) = &mut self.audit {
            audit.panicked(&self.attributes, &self.notes);
        }
    }

    /// The answer is made. One that lasts takes the exchange along.
    pub async fn end_with(mut self, response: Response<Body>) -> Response<Body> {
        self.steps.mark(Step::Answered);
        let code = response.status();
        self.code = Some(code);
        let long = matches!(self.running, Running::Long(_)) && (code.is_success() || code == StatusCode::SWITCHING_PROTOCOLS);
        if long {
            if let Some(audit) = &self.audit {
                audit.started(&self.attributes, &self.notes, code);
            }
            let drain = self.server.inner.drain.clone();
            return response.map(|body| body::lasting(body, drain, self));
        }
        self.size = response.body().size_hint().exact();
        if !self.wants_body(Level::RequestResponse) || self.size.is_none() {
            return response;
        }
        let (parts, body) = response.into_parts();
        let bytes = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            // Bodies whose length is known are in memory.
            Err(_) => Bytes::new(),
        };
        if let Some(audit) = &mut self.audit {
            audit.response_body(parts.headers.get(CONTENT_TYPE).cloned(), bytes.clone());
        }
        Response::from_parts(parts, body::full(bytes))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let metrics = &self.server.inner.metrics;
        let took = self.steps.total();
        let long = match &self.running {
            Running::Short(gauge) => {
                gauge.dec();
                false
            }
            Running::Long(gauge) => {
                gauge.dec();
                true
            }
        };
        match self.code {
            Some(code) => {
                let waited = self.steps.waited() + Duration::from_nanos(self.notes.waited_elsewhere());
                metrics.requests.answered(&self.labels(), code, took, waited, self.size);
            }
            None => metrics.requests.aborted(&self.labels()),
        }
        if !long && self.steps.slow(took) {
            self.steps.tell(&self.attributes, &self.audit_id, took);
        }
        if let Some(recording) = self.audit.take() {
            recording.complete(&self.attributes, &self.notes, self.code);
        }
    }
}

/// The verb as metrics spell it.
fn verb(method: &Method, headers: &HeaderMap, attributes: &Attributes) -> &'static str {
    if attributes.is_resource && CONNECT.contains(&attributes.subresource.as_str()) {
        return "CONNECT";
    }
    match attributes.verb.as_str() {
        "watch" => return "WATCH",
        "list" => return "LIST",
        "deletecollection" => return "DELETECOLLECTION",
        _ => {}
    }
    match *method {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => {
            let content = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
            if content.starts_with(APPLY) { "APPLY" } else { "PATCH" }
        }
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn scope(attributes: &Attributes) -> &'static str {
    if !attributes.name.is_empty() || attributes.verb == "create" {
        "resource"
    } else if !attributes.namespace.is_empty() {
        "namespace"
    } else {
        "cluster"
    }
}
