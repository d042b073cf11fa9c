//! The audit log: one line of JSON for each stage of a request that the policy asks for.

mod event;
mod policy;
mod sink;

pub use policy::{BadPolicy, Level, Policy, Stage};
pub use sink::LogFile;

use crate::attributes::Attributes;
use crate::handlers::Warnings;
use crate::metrics::Metrics;
use crate::user::User;
use bytes::Bytes;
use event::Event;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use policy::Verdict;
use sink::Sink;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where a request came from, as the listener saw it. In a request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The policy and where events go.
#[derive(Clone, Debug)]
pub struct Config {
    pub policy: Policy,
    pub log: LogFile,
}

pub struct Auditor {
    policy: Policy,
    sink: Sink,
}

/// Of one request that is written about.
pub struct Recording {
    auditor: Arc<Auditor>,
    metrics: Arc<Metrics>,
    verdict: Verdict,
    event: Event,
    done: bool,
}

impl Auditor {
    pub fn open(config: Config, metrics: &Metrics) -> std::io::Result<Self> {
        let sink = Sink::open(&config.log, metrics.audit.errors.with_label_values(&["log"]))?;
        Ok(Self { policy: config.policy, sink })
    }

    /// `sender`: as whom the request was authenticated. None: nothing is to be written.
    pub fn begin(
        self: &Arc<Self>,
        metrics: &Arc<Metrics>,
        parts: &http::request::Parts,
        sender: &User,
        attributes: &Attributes,
        audit_id: &Arc<str>,
    ) -> Option<Recording> {
        let verdict = self.policy.verdict(sender, attributes);
        metrics.audit.levels.with_label_values(&[verdict.level.name()]).inc();
        if verdict.level == Level::None {
            return None;
        }
        let event = Event::new(parts, sender, audit_id.clone(), verdict.level);
        let recording = Recording { auditor: self.clone(), metrics: metrics.clone(), verdict, event, done: false };
        recording.write(Stage::RequestReceived, attributes, None, &BTreeMap::new());
        Some(recording)
    }
}

impl Recording {
    pub fn level(&self) -> Level {
        self.verdict.level
    }

    pub fn acts_as(&mut self, user: &Arc<User>) {
        self.event.impersonated = Some(user.clone());
    }

    pub fn request_body(&mut self, content_type: Option<HeaderValue>, body: Bytes) {
        self.event.request = Some((content_type, body));
    }

    pub fn response_body(&mut self, content_type: Option<HeaderValue>, body: Bytes) {
        self.event.response = Some((content_type, body));
    }

    /// An error's own words.
    pub fn failed(&mut self, reason: &str, message: &str) {
        self.event.failure = Some((reason.to_string(), message.to_string()));
    }

    /// A long answer has begun.
    pub fn started(&self, attributes: &Attributes, notes: &Warnings, code: StatusCode) {
        self.write(Stage::ResponseStarted, attributes, Some(code), &notes.annotations());
    }

    pub fn panicked(&mut self, attributes: &Attributes, notes: &Warnings) {
        self.write(Stage::Panic, attributes, Some(StatusCode::INTERNAL_SERVER_ERROR), &notes.annotations());
        self.done = true;
    }

    /// The end. Without a code, the client did not wait for it.
    pub fn complete(self, attributes: &Attributes, notes: &Warnings, code: Option<StatusCode>) {
        if !self.done {
            self.write(Stage::ResponseComplete, attributes, code, &notes.annotations());
        }
    }

    fn write(&self, stage: Stage, attributes: &Attributes, code: Option<StatusCode>, annotations: &BTreeMap<String, String>) {
        if self.verdict.omit.contains(&stage) {
            return;
        }
        self.metrics.audit.events.inc();
        let object = self.event.object(stage, Timestamp::now(), attributes, code, annotations, self.verdict.omit_managed_fields);
        let mut line = serde_json::to_vec(&object).unwrap_or_default();
        line.push(b'\n');
        self.auditor.sink.write(line.into());
    }
}
