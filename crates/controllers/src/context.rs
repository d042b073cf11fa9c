//! What every loop is given.

use crate::certificates::Signer;
use client::{Change, Informer, Informers, Key, Object, Queue, Recorder};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::{Api, Client};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The token of an account that lies in a Secret, as the API server makes and believes it.
pub type SignToken = Arc<dyn Fn(&Secret, &ServiceAccount) -> Option<String> + Send + Sync>;

#[derive(Clone)]
pub struct Context {
    pub informers: Informers,
    pub recorder: Recorder,
    /// The cluster's CA in PEM, published to every namespace.
    pub cluster_ca: String,
    /// Signs certificate requests; none where another does.
    pub signer: Option<Arc<Signer>>,
    /// None where another fills the Secrets of service accounts' tokens.
    pub sign_token: Option<SignToken>,
    pub stop: CancellationToken,
}

impl Context {
    pub fn client(&self) -> Client {
        self.informers.client()
    }

    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client(), namespace)
    }

    pub fn all<K: kube::Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client())
    }

    /// Queues what `keys` names for each change of the informer's objects.
    pub fn feed<K: Object>(&self, informer: &Informer<K>, queue: &Queue<Key>, keys: impl Fn(&Change<K>) -> Vec<Key> + Send + 'static) {
        let mut changes = informer.changes();
        let queue = queue.clone();
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                for key in keys(&change) {
                    queue.add(key);
                }
            }
        });
    }
}

/// The changed object's own key.
pub fn itself<K: Object>(change: &Change<K>) -> Vec<Key> {
    change.object().map(|object| Key::of(&**object)).into_iter().collect()
}

/// The keys of the controller owners of the given kind, before and after the change.
pub fn owner<K: Object>(kind: &'static str) -> impl Fn(&Change<K>) -> Vec<Key> + Send + 'static {
    move |change| {
        let mut keys: Vec<Key> = Vec::new();
        for object in [&change.old, &change.new].into_iter().flatten() {
            let namespace = object.meta().namespace.clone().unwrap_or_default();
            let owners = object.meta().owner_references.iter().flatten();
            for owner in owners.filter(|o| o.controller == Some(true) && o.kind == kind) {
                let key = Key::new(namespace.clone(), owner.name.clone());
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        keys
    }
}

/// A 404 is no error for whoever wants something gone, or looks at what has just gone.
pub fn if_there<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

/// What the server says, without the client's wrapping: the text for events and conditions.
pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
