//! How the versions of a custom resource become each other: by their name alone, or by a webhook.

mod review;

use crate::conversion::Conversion;
use crate::objects::Object;
use crate::webhook::{Endpoint, Limits, Webhooks};
use async_trait::async_trait;
use bytes::Bytes;
use meta::{ApiError, GroupVersion, value};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);
/// What a webhook may answer for one batch.
const ANSWER: usize = 64 << 20;
const BATCH: usize = 500;
const BATCH_BYTES: usize = 4 << 20;
/// What is kept of objects that were converted for readers.
const KEPT_BYTES: usize = 16 << 20;

/// The conversion of one definition.
pub struct Versions {
    /// `group/version` of each that the definition names.
    known: Vec<String>,
    how: How,
    kept: Mutex<Kept>,
}

enum How {
    Name,
    Webhook { endpoint: Option<Endpoint>, reviews: Vec<String>, webhooks: Arc<Webhooks> },
}

/// A version of a stored object: its uid, its revision, the version.
type Key = (Box<str>, u64, String);

#[derive(Default)]
struct Kept {
    objects: HashMap<Key, Arc<Object>>,
    order: VecDeque<Key>,
    bytes: usize,
}

impl Kept {
    fn put(&mut self, key: Key, object: Arc<Object>) {
        self.bytes += object.bytes.len();
        if let Some(old) = self.objects.insert(key.clone(), object) {
            self.bytes -= old.bytes.len();
        } else {
            self.order.push_back(key);
        }
        while self.bytes > KEPT_BYTES {
            let Some(oldest) = self.order.pop_front() else { return };
            self.bytes -= self.objects.remove(&oldest).map_or(0, |o| o.bytes.len());
        }
    }
}

impl Versions {
    /// None where there is only one version.
    pub fn of(definition: &Value, webhooks: &Arc<Webhooks>) -> Option<Arc<dyn Conversion>> {
        let versions = value::items(definition, &["spec", "versions"]);
        if versions.len() < 2 {
            return None;
        }
        let group = value::text(definition, &["spec", "group"]);
        let known = versions.iter().map(|v| GroupVersion::new(group, value::text(v, &["name"])).to_string()).collect();
        let how = match value::text(definition, &["spec", "conversion", "strategy"]) {
            "Webhook" => {
                let webhook = &definition["spec"]["conversion"]["webhook"];
                let reviews = value::items(webhook, &["conversionReviewVersions"]).iter().filter_map(|v| v.as_str().map(str::to_string));
                How::Webhook { endpoint: Endpoint::parse(&webhook["clientConfig"]), reviews: reviews.collect(), webhooks: webhooks.clone() }
            }
            _ => How::Name,
        };
        Some(Arc::new(Self { known, how, kept: Mutex::default() }))
    }

    fn check(&self, objects: &[Value], api_version: &str) -> Result<(), ApiError> {
        let unknown =
            |direction: &str, version: &str| failure(format!("request to convert CR {direction} an invalid group/version: {version}"));
        if !self.known.iter().any(|k| k == api_version) {
            return Err(unknown("to", api_version));
        }
        let from = objects.iter().map(|o| value::text(o, &["apiVersion"])).find(|v| !self.known.iter().any(|k| k == v));
        from.map_or(Ok(()), |version| Err(unknown("from", version)))
    }

    /// All of them need it.
    async fn ask(&self, objects: Vec<Value>, api_version: &str) -> Result<Vec<Value>, ApiError> {
        let How::Webhook { endpoint, reviews, webhooks } = &self.how else {
            let renamed = objects.into_iter().map(|mut object| {
                value::set(&mut object, &["apiVersion"], api_version);
                object
            });
            return Ok(renamed.collect());
        };
        let Some(first) = objects.first() else { return Ok(objects) };
        let about = format!("{}, Kind={}", value::text(first, &["apiVersion"]), value::text(first, &["kind"]));
        let failed = |why: String| failure(format!("conversion webhook for {about} failed: {why}"));
        let version = reviews.iter().find(|v| matches!(v.as_str(), "v1" | "v1beta1"));
        let version = version.ok_or_else(|| failure("no supported conversion review versions".into()))?;
        let endpoint = endpoint.as_ref().ok_or_else(|| failed("webhook configuration must have either service or URL".into()))?;
        let mut all = Vec::with_capacity(objects.len());
        for batch in batches(objects) {
            let uid = uuid::Uuid::new_v4().to_string();
            let request = review::request(&uid, version, &batch, api_version);
            let limits = Limits { timeout: TIMEOUT, announced: false, bytes: ANSWER };
            let answer = webhooks.post(endpoint, &request, limits).await.map_err(|e| failed(e.to_string()))?;
            let converted = review::response(answer, version, &uid).map_err(failed)?;
            if converted.len() != batch.len() {
                let (got, expected) = (converted.len(), batch.len());
                return Err(failure(format!("conversion webhook for {about} returned {got} objects, expected {expected}")));
            }
            for (index, (from, to)) in batch.iter().zip(converted).enumerate() {
                let checked = review::accept(from, to, api_version, index);
                all.push(checked.map_err(|why| failure(format!("conversion webhook for {about} returned {why}")))?);
            }
        }
        Ok(all)
    }
}

/// As upstream tells it: a bare 500.
fn failure(message: String) -> ApiError {
    ApiError::new(500, "", message)
}

fn batches(objects: Vec<Value>) -> Vec<Vec<Value>> {
    let mut batches: Vec<Vec<Value>> = Vec::new();
    let mut bytes = 0;
    for object in objects {
        let size = serde_json::to_string(&object).map_or(0, |t| t.len());
        match batches.last_mut().filter(|b| b.len() < BATCH && bytes + size <= BATCH_BYTES) {
            Some(batch) => {
                bytes += size;
                batch.push(object);
            }
            None => {
                bytes = size;
                batches.push(vec![object]);
            }
        }
    }
    batches
}

/// Whether the bytes are of that version. What this server has encoded says so first.
fn is_of(bytes: &[u8], api_version: &str) -> bool {
    let start = |bytes: &[u8]| Some(bytes.strip_prefix(b"{\"apiVersion\":\"")?.strip_prefix(api_version.as_bytes())?.starts_with(b"\""));
    if let Some(is) = start(bytes) {
        return is;
    }
    serde_json::from_slice::<Value>(bytes).is_ok_and(|o| value::text(&o, &["apiVersion"]) == api_version)
}

#[async_trait]
impl Conversion for Versions {
    async fn convert(&self, mut objects: Vec<Value>, api_version: &str) -> Result<Vec<Value>, ApiError> {
        self.check(&objects, api_version)?;
        let other: Vec<usize> = (0..objects.len()).filter(|i| value::text(&objects[*i], &["apiVersion"]) != api_version).collect();
        let asked = other.iter().map(|i| std::mem::take(&mut objects[*i])).collect();
        for (i, converted) in other.into_iter().zip(self.ask(asked, api_version).await?) {
            objects[i] = converted;
        }
        Ok(objects)
    }

    async fn read(&self, mut objects: Vec<Arc<Object>>, api_version: &str) -> Result<Vec<Arc<Object>>, ApiError> {
        let mut missing = Vec::new();
        for (i, object) in objects.iter_mut().enumerate() {
            if is_of(&object.bytes, api_version) {
                continue;
            }
            let key = (object.uid().into(), object.revision, api_version.to_string());
            match self.kept.lock().objects.get(&key) {
                Some(known) => *object = known.clone(),
                None => missing.push(i),
            }
        }
        if missing.is_empty() {
            return Ok(objects);
        }
        let trees = missing.iter().map(|i| objects[*i].value()).collect();
        let converted = self.convert(trees, api_version).await?;
        for (i, tree) in missing.into_iter().zip(converted) {
            let from = &objects[i];
            let bytes = Bytes::from(serde_json::to_vec(&tree).unwrap_or_default());
            let object = Arc::new(Object { bytes, revision: from.revision, header: from.header.clone() });
            self.kept.lock().put((from.uid().into(), from.revision, api_version.to_string()), object.clone());
            objects[i] = object;
        }
        Ok(objects)
    }

    fn is_of(&self, object: &Object, api_version: &str) -> bool {
        is_of(&object.bytes, api_version)
    }
}
