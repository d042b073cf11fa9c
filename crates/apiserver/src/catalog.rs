//! The resources that are served now: the kinds built in, and those that definitions add at run time.

use crate::conversion::Conversion;
use crate::watch_cache::{Cache, Feed};
use kinds::{Kind, Subresource};
use meta::{GroupKind, GroupResource};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// A kind as it is served: the kind itself, and where its objects are.
pub struct Resource {
    pub kind: Arc<dyn Kind>,
    pub group_resource: GroupResource,
    pub group_kind: GroupKind,
    /// `v1`, `apps/v1`
    pub api_version: String,
    pub subresources: Vec<Subresource>,
    pub has_status: bool,
    /// From a definition rather than built in.
    pub custom: bool,
    /// How its versions become each other, where that is more than the kind knows.
    pub conversion: Option<Arc<dyn Conversion>>,
    /// None for kinds that are not stored.
    pub(crate) cache: Option<Arc<Cache>>,
}

impl Resource {
    fn new(kind: Arc<dyn Kind>, custom: bool, conversion: Option<Arc<dyn Conversion>>, cache: Option<Arc<Cache>>) -> Self {
        let names = kind.names();
        let subresources = kind.subresources();
        Self {
            group_resource: names.group_resource(),
            group_kind: names.group_kind(),
            api_version: names.group_version().to_string(),
            has_status: subresources.iter().any(|s| matches!(s, Subresource::Status)),
            subresources,
            custom,
            conversion,
            cache,
            kind,
        }
    }

    pub fn namespaced(&self) -> bool {
        self.kind.names().namespaced()
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name() == name)
    }

    pub fn supports(&self, verb: &str) -> bool {
        self.kind.verbs().contains(&verb)
    }

    /// Another version than the stored one is served here.
    pub(crate) fn is_view(&self) -> bool {
        self.kind.stored_as().is_some()
    }
}

/// One version that a definition adds.
#[derive(Clone)]
pub struct Custom {
    pub kind: Arc<dyn Kind>,
    pub conversion: Option<Arc<dyn Conversion>>,
}

type Key = (String, String, String);

#[derive(Default)]
struct Table {
    /// By group, version, plural.
    by_name: HashMap<Key, Arc<Resource>>,
    /// The first version of each.
    by_resource: HashMap<GroupResource, Arc<Resource>>,
    /// In the order of registration, which is discovery's.
    order: Vec<Arc<Resource>>,
}

pub struct Catalog {
    feed: Arc<Feed>,
    built_in: Vec<Arc<Resource>>,
    table: RwLock<Arc<Table>>,
    generation: watch::Sender<u64>,
}

impl Catalog {
    pub(crate) fn new(feed: Arc<Feed>, kinds: Vec<Arc<dyn Kind>>) -> Self {
        let resource = |kind: Arc<dyn Kind>| {
            let cache = if kind.stored() { feed.cache(&kind.storage_prefix()) } else { None };
            Arc::new(Resource::new(kind, false, None, cache))
        };
        let built_in: Vec<_> = kinds.into_iter().map(resource).collect();
        let catalog = Self { feed, built_in, table: RwLock::default(), generation: watch::Sender::new(0) };
        catalog.replace(Vec::new());
        catalog
    }

    fn replace(&self, custom: Vec<Arc<Resource>>) {
        let order: Vec<_> = self.built_in.iter().cloned().chain(custom).collect();
        let (mut by_name, mut by_resource) = (HashMap::new(), HashMap::new());
        for resource in &order {
            let n = resource.kind.names();
            by_name.entry((n.group.to_string(), n.version.to_string(), n.plural.to_string())).or_insert_with(|| resource.clone());
            by_resource.entry(resource.group_resource.clone()).or_insert_with(|| resource.clone());
        }
        *self.table.write() = Arc::new(Table { by_name, by_resource, order });
        self.generation.send_modify(|g| *g += 1);
    }

    pub fn lookup(&self, group: &str, version: &str, resource: &str) -> Option<Arc<Resource>> {
        let key = (group.to_string(), version.to_string(), resource.to_string());
        self.table.read().by_name.get(&key).cloned()
    }

    /// The first version registered, the preferred one.
    pub fn by_resource(&self, resource: &GroupResource) -> Option<Arc<Resource>> {
        self.table.read().by_resource.get(resource).cloned()
    }

    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        let matches = |r: &&Arc<Resource>| {
            let n = r.kind.names();
            n.group == group && n.version == version && n.kind == kind
        };
        self.table.read().order.iter().find(matches).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Resource>> {
        self.table.read().order.clone()
    }

    /// Replaces the kinds that definitions add. Resolves once their objects can be read. Versions of one
    /// kind share a storage prefix; the one that stores (`stored_as` is none) decides how they are kept.
    pub async fn set_custom(&self, custom: Vec<Custom>) -> Result<(), store::Error> {
        let kinds: Vec<Arc<dyn Kind>> = custom.iter().map(|c| c.kind.clone()).collect();
        let mut storing: Vec<Arc<dyn Kind>> = kinds.iter().filter(|k| k.stored() && k.stored_as().is_none()).cloned().collect();
        for kind in kinds.iter().filter(|k| k.stored() && k.stored_as().is_some()) {
            if !storing.iter().any(|s| s.storage_prefix() == kind.storage_prefix()) {
                storing.push(kind.clone());
            }
        }
        self.feed.set_custom(storing).await?;
        let resources = custom.into_iter().map(|Custom { kind, conversion }| {
            let cache = if kind.stored() { self.feed.cache(&kind.storage_prefix()) } else { None };
            Arc::new(Resource::new(kind, true, conversion, cache))
        });
        self.replace(resources.collect());
        Ok(())
    }

    /// Changes whenever the served resources do.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }
}
