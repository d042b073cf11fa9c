//! API priority and fairness: whose requests run at once, whose wait, and whose are refused when there are
//! too many. Each request belongs to a flow schema, which names its priority level; the level has so many
//! seats, and queues that are served in turn.
//!
//! `rules` and `fair` and `share` decide and know neither time nor threads; `level` gives seats; `keeper`
//! follows the objects of the API.

mod bootstrap;
mod debug;
mod dropped;
mod estimate;
mod fair;
mod keeper;
mod level;
#[cfg(test)]
mod level_tests;
mod plain;
mod rules;
mod share;

pub use debug::{dump, is_dump};
pub use keeper::start;
pub use level::Permit;

use crate::attributes::Attributes;
use crate::catalog::Resource;
use crate::metrics::{FlowSeries, Metrics};
use crate::query::Query;
use arc_swap::ArcSwap;
use fair::Shape;
use http::{HeaderMap, HeaderName, HeaderValue};
use level::{Flow, Level, Response, Told};
use meta::{ApiError, GroupResource, value};
use plain::Plain;
use rules::Rules;
use serde_json::Value;
use share::Shares;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// How much the server does at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Off: everybody is alike, and nobody waits.
    pub fair: bool,
    pub reading: u32,
    pub mutating: u32,
    /// How often levels lend to each other, upstream's ten seconds.
    pub lending: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { fair: true, reading: 400, mutating: 200, lending: Duration::from_secs(10) }
    }
}

#[derive(Clone, Copy)]
enum Distinguisher {
    None,
    User,
    Namespace,
}

struct Schema {
    name: String,
    uid: HeaderValue,
    level: Arc<Level>,
    level_uid: HeaderValue,
    by: Distinguisher,
    rules: Rules,
    series: Arc<FlowSeries>,
}

/// What the objects of the API say, ready to be asked. Replaced as a whole when they change.
#[derive(Default)]
struct Table {
    /// In the order they are tried.
    schemas: Vec<Arc<Schema>>,
    levels: Vec<Arc<Level>>,
}

pub struct Dispatcher {
    table: ArcSwap<Table>,
    hasher: RandomState,
    settings: Settings,
    plain: Plain,
}

/// What a request holds while it runs.
pub enum Grant {
    /// Its seat, and where that came from.
    Seat {
        _permit: Permit,
        schema: HeaderValue,
        level: HeaderValue,
    },
    Plain {
        _running: plain::Running,
    },
    /// Nothing is counted.
    Free,
}

/// A request that was refused: the error, and the headers that go with it.
pub struct Refused {
    pub error: ApiError,
    schema: HeaderValue,
    level: HeaderValue,
}

fn about(attributes: &Attributes) -> [String; 8] {
    let a = attributes;
    let version = meta::GroupVersion::new(a.group.as_str(), a.version.as_str()).to_string();
    [&a.user.name, &a.verb, &a.path, &a.namespace, &a.name, &version, &a.resource, &a.subresource].map(|text| text.to_string())
}

fn announce(headers: &mut HeaderMap, schema: &HeaderValue, level: &HeaderValue) {
    if !schema.is_empty() {
        headers.insert(SCHEMA_UID, schema.clone());
        headers.insert(LEVEL_UID, level.clone());
    }
}

impl Grant {
    pub fn announce(&self, headers: &mut HeaderMap) {
        if let Self::Seat { schema, level, .. } = self {
            announce(headers, schema, level);
        }
    }
}

impl Refused {
    pub fn announce(&self, headers: &mut HeaderMap) {
        announce(headers, &self.schema, &self.level);
    }
}

impl Dispatcher {
    pub fn new(settings: Settings) -> Self {
        Self { table: ArcSwap::default(), hasher: RandomState::new(), settings, plain: Plain::new(settings) }
    }

    pub fn lending(&self) -> Duration {
        self.settings.lending
    }

    /// A seat for a request, waiting for it no longer than `patience`. `long`: it lasts as long as its client
    /// wants; only watches take a seat then, until they have begun.
    pub async fn admit(
        &self,
        attributes: &Attributes,
        resource: Option<&Resource>,
        query: &Query,
        long: bool,
        patience: Duration,
    ) -> Result<Grant, Refused> {
        let watch = attributes.verb == "watch";
        if long && !watch {
            return Ok(Grant::Free);
        }
        if !self.settings.fair {
            if watch {
                return Ok(Grant::Free);
            }
            let refused = |error| Refused { error, schema: empty(), level: empty() };
            return self.plain.admit(attributes).map(|_running| Grant::Plain { _running }).map_err(refused);
        }
        let Some(schema) = self.classify(attributes) else { return Ok(Grant::Free) };
        let nominal = schema.level.limits().nominal;
        let seats = estimate::seats(attributes, resource, query, nominal);
        let flow = || {
            let distinguisher = match schema.by {
                Distinguisher::None => "",
                Distinguisher::User => &attributes.user.name,
                Distinguisher::Namespace => &attributes.namespace,
            };
            let hash = self.hasher.hash_one((&schema.name, distinguisher));
            Flow { hash, told: Told { schema: schema.name.clone(), distinguisher: distinguisher.into(), request: about(attributes) } }
        };
        match schema.level.admit(&schema.series, seats, watch, flow, patience).await {
            Ok(_permit) => Ok(Grant::Seat { _permit, schema: schema.uid.clone(), level: schema.level_uid.clone() }),
            Err(why) => {
                tracing::debug!(level = schema.level.name, schema = schema.name, why = why.0, "a request was refused");
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                Err(Refused {
                    error: too_many(schema.level.dropped.count(now)),
                    schema: schema.uid.clone(),
                    level: schema.level_uid.clone(),
                })
            }
        }
    }

    fn classify(&self, attributes: &Attributes) -> Option<Arc<Schema>> {
        self.table.load().schemas.iter().find(|s| s.rules.match_(attributes)).cloned()
    }

    /// Takes up what the API says now. Levels keep their seats and queues by name. Answers, for each schema,
    /// whether its level is there.
    fn load(&self, schemas: &[Value], levels: &[Value], metrics: &Metrics) -> HashMap<String, bool> {
        let before = self.table.load();
        let shares: Vec<Shares> = levels.iter().map(|l| Shares::of(&l["spec"])).collect();
        let limits = share::limits(self.settings.reading + self.settings.mutating, &shares);
        let mut by_name: HashMap<&str, (Arc<Level>, HeaderValue)> = HashMap::new();
        for ((object, shares), limits) in levels.iter().zip(&shares).zip(limits) {
            let name = value::text(object, &["metadata", "name"]);
            let level = before.levels.iter().find(|l| l.name == name).cloned().unwrap_or_else(|| Arc::new(Level::new(name)));
            level.configure(shares.exempt, response(&object["spec"]), limits);
            metrics.flow.nominal.with_label_values(&[name]).set(limits.nominal.into());
            metrics.flow.lower.with_label_values(&[name]).set(limits.lower.into());
            metrics.flow.upper.with_label_values(&[name]).set(limits.upper.into());
            metrics.flow.current.with_label_values(&[name]).set(level.current().into());
            by_name.insert(name, (level, uid(object)));
        }
        for gone in before.levels.iter().filter(|l| !by_name.contains_key(l.name.as_str())) {
            metrics.flow.forget(&gone.name);
        }
        let mut sorted: Vec<(i64, &str, &Value)> = schemas
            .iter()
            .map(|s| (value::int(s, &["spec", "matchingPrecedence"]).unwrap_or(1000), value::text(s, &["metadata", "name"]), s))
            .collect();
        sorted.sort_by_key(|(precedence, name, _)| (*precedence, *name));
        let mut found = HashMap::new();
        let mut table = Table::default();
        for (_, name, object) in sorted {
            let level = by_name.get(value::text(object, &["spec", "priorityLevelConfiguration", "name"]));
            found.insert(name.to_string(), level.is_some());
            // A schema without a level takes no requests.
            let Some((level, level_uid)) = level else { continue };
            let by = match value::text(object, &["spec", "distinguisherMethod", "type"]) {
                "ByUser" => Distinguisher::User,
                "ByNamespace" => Distinguisher::Namespace,
                _ => Distinguisher::None,
            };
            table.schemas.push(Arc::new(Schema {
                name: name.into(),
                uid: uid(object),
                level: level.clone(),
                level_uid: level_uid.clone(),
                by,
                rules: Rules::new(value::items(object, &["spec", "rules"])),
                series: Arc::new(metrics.flow.of(name, &level.name)),
            }));
        }
        table.levels = by_name.into_values().map(|(level, _)| level).collect();
        table.levels.sort_by(|a, b| a.name.cmp(&b.name));
        self.table.store(Arc::new(table));
        found
    }

    /// Gives levels that want more what others lend. Called every so often.
    fn share(&self, metrics: &Metrics) {
        let table = self.table.load();
        let (mut wants, mut limited, mut short) = (Vec::new(), Vec::new(), false);
        let mut left = f64::from(self.settings.reading + self.settings.mutating);
        for level in &table.levels {
            let (limits, peak) = (level.limits(), level.take_peak());
            metrics.flow.demand.with_label_values(&[&level.name]).set(peak.into());
            if level.exempt.load(Ordering::Relaxed) {
                left -= f64::from(peak);
                continue;
            }
            short |= peak > limits.nominal;
            let target = peak.max(limits.lower);
            metrics.flow.target.with_label_values(&[&level.name]).set(target.into());
            wants.push(share::Want { target: target.into(), lower: limits.lower.into(), upper: limits.upper.into() });
            limited.push(level);
        }
        // While everybody has enough, everybody keeps his own, and a burst finds it there.
        let seats = match short {
            true => share::divide(left.max(0.0), &wants),
            false => limited.iter().map(|l| f64::from(l.limits().nominal)).collect(),
        };
        for (level, seats) in limited.into_iter().zip(seats) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between bounds that are whole numbers")]
            let seats = seats.round() as u32;
            if seats != level.current() {
                level.set_current(seats);
                metrics.flow.current.with_label_values(&[&level.name]).set(seats.into());
            }
        }
    }
}

fn response(spec: &Value) -> Response {
    let at = |name: &str| value::int(spec, &["limited", "limitResponse", "queuing", name]).and_then(|n| usize::try_from(n).ok());
    match value::text(spec, &["limited", "limitResponse", "type"]) {
        "Queue" => Response::Queue(Shape {
            queues: at("queues").unwrap_or(64),
            hand: at("handSize").unwrap_or(8),
            length: at("queueLengthLimit").unwrap_or(50),
        }),
        _ => Response::Reject,
    }
}

fn empty() -> HeaderValue {
    HeaderValue::from_static("")
}

fn uid(object: &Value) -> HeaderValue {
    HeaderValue::from_str(value::text(object, &["metadata", "uid"])).unwrap_or_else(|_| empty())
}

fn too_many(seconds: u32) -> ApiError {
    ApiError::too_many_requests("Too many requests, please try again later.", seconds)
}

pub(super) fn schemas() -> GroupResource {
    GroupResource::new(bootstrap::GROUP, "flowschemas")
}

pub(super) fn levels() -> GroupResource {
    GroupResource::new(bootstrap::GROUP, "prioritylevelconfigurations")
}
