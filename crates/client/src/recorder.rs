//! Events as `kubectl describe` shows them. Recording never blocks and never fails its caller: a
//! repeated event raises the count of the first, and a flood is dropped.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Events waiting to be written; beyond this they are dropped.
const BACKLOG: usize = 512;
/// How many recent events are remembered for counting.
const REMEMBERED: usize = 1024;

struct Entry {
    component: Arc<str>,
    object: ObjectReference,
    kind: EventType,
    reason: String,
    message: String,
    at: Timestamp,
}

#[derive(Clone)]
pub struct Recorder {
    component: Arc<str>,
    sender: mpsc::Sender<Entry>,
}

/// What an event or a binding says it is about.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: Some(object.name_any()),
        namespace: object.namespace(),
        uid: object.uid(),
        resource_version: object.resource_version(),
        field_path: None,
    }
}

impl Recorder {
    /// Needs a tokio runtime: a task of its own writes the events.
    pub fn new(client: Client, component: &str, host: &str) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        tokio::spawn(write(client, host.to_string(), receiver));
        Self { component: component.into(), sender }
    }

    /// The same recorder, in the name of a part.
    pub fn of(&self, component: &str) -> Self {
        Self { component: component.into(), sender: self.sender.clone() }
    }

    pub fn event(&self, object: &ObjectReference, kind: EventType, reason: &str, message: String) {
        let (component, object) = (self.component.clone(), object.clone());
        let entry = Entry { component, object, kind, reason: reason.into(), message, at: Timestamp::now() };
        if self.sender.try_send(entry).is_err() {
            tracing::debug!(reason, "event dropped: too many are waiting");
        }
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Same {
    component: Arc<str>,
    uid: String,
    namespace: String,
    name: String,
    field: String,
    kind: EventType,
    reason: String,
    message: String,
}

async fn write(client: Client, host: String, mut entries: mpsc::Receiver<Entry>) {
    let mut recent: HashMap<Same, (String, i32)> = HashMap::new();
    while let Some(entry) = entries.recv().await {
        let namespace = entry.object.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let same = Same {
            component: entry.component.clone(),
            uid: entry.object.uid.clone().unwrap_or_default(),
            namespace: namespace.clone(),
            name: entry.object.name.clone().unwrap_or_default(),
            field: entry.object.field_path.clone().unwrap_or_default(),
            kind: entry.kind,
            reason: entry.reason.clone(),
            message: entry.message.clone(),
        };
        let at = Time(entry.at);
        if let Some((name, count)) = recent.get_mut(&same) {
            let patch = serde_json::json!({"count": *count + 1, "lastTimestamp": at});
            match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => {
                    *count += 1;
                    continue;
                }
                // It has expired: written anew below.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::debug!(%error, "event not counted");
                    continue;
                }
            }
        }
        let name = format!("{}.{:x}", same.name, entry.at.as_nanosecond());
        let event = Event {
            metadata: kube::core::ObjectMeta { name: Some(name.clone()), namespace: Some(namespace), ..Default::default() },
            involved_object: entry.object,
            type_: Some(entry.kind.as_str().into()),
            reason: Some(entry.reason),
            message: Some(entry.message),
            source: Some(EventSource { component: Some(entry.component.to_string()), host: (!host.is_empty()).then(|| host.clone()) }),
            reporting_component: Some(entry.component.to_string()),
            reporting_instance: Some(host.clone()),
            count: Some(1),
            first_timestamp: Some(at.clone()),
            last_timestamp: Some(at),
            ..Default::default()
        };
        if recent.len() >= REMEMBERED {
            recent.clear();
        }
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                recent.insert(same, (name, 1));
            }
            // A namespace on its way out takes no events; there is nobody to tell.
            Err(error) => tracing::debug!(%error, "event not written"),
        }
    }
}
