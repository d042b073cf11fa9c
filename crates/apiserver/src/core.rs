//! What every part of the server stands on: the store, the caches fed from it, and the catalog. Opened
//! first, so that authentication and authorization can be built on its objects before the server starts.

use crate::catalog::Catalog;
use crate::encryption::Encryption;
use crate::objects::{Object, ObjectChange, Objects};
use crate::watch_cache::{Cache, Feed};
use kinds::Kind;
use meta::GroupResource;
use std::sync::Arc;
use store::Store;
use tokio::sync::mpsc;

pub struct Core {
    pub store: Arc<dyn Store>,
    pub catalog: Catalog,
    pub(crate) feed: Arc<Feed>,
}

impl Core {
    /// Reads everything there is. Needs a runtime; the feed ends when the last `Core` is dropped.
    pub async fn open(store: Arc<dyn Store>) -> Result<Arc<Self>, store::Error> {
        Self::open_encrypted(store, Encryption::none()).await
    }

    /// As [`open`](Self::open), with what is stored encrypted.
    pub async fn open_encrypted(store: Arc<dyn Store>, encryption: Arc<Encryption>) -> Result<Arc<Self>, store::Error> {
        Self::with_kinds(store, kinds::registry::builtin(), encryption).await
    }

    async fn with_kinds(store: Arc<dyn Store>, kinds: Vec<Arc<dyn Kind>>, encryption: Arc<Encryption>) -> Result<Arc<Self>, store::Error> {
        let feed = Feed::start(store.clone(), &kinds, encryption).await?;
        let catalog = Catalog::new(feed.clone(), kinds);
        Ok(Arc::new(Self { store, catalog, feed }))
    }

    fn cache(&self, resource: &GroupResource) -> Option<Arc<Cache>> {
        self.catalog.by_resource(resource)?.cache.clone()
    }
}

impl Objects for Core {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.cache(resource)?.get(namespace, name)
    }

    fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.cache(resource).map_or_else(Vec::new, |c| c.list(namespace))
    }

    fn changes(&self, resource: &GroupResource) -> mpsc::UnboundedReceiver<ObjectChange> {
        match self.cache(resource) {
            Some(cache) => cache.changes(),
            None => mpsc::unbounded_channel().1,
        }
    }
}
