//! What the kubelet API may ask of the pods here.

use k8s_openapi::api::core::v1::Pod;
use std::path::PathBuf;
use std::sync::Arc;

/// One container as the runtime has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRef {
    pub id: String,
    pub name: String,
    pub attempt: u32,
    pub running: bool,
    /// On the host; the file may not exist (yet).
    pub log_path: PathBuf,
}

pub trait Pods: Send + Sync + 'static {
    fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>>;

    /// All pods of this node, with the status that this agent knows.
    fn list(&self) -> Vec<Arc<Pod>>;

    /// The newest container of that name, or with `previous` the one before it.
    fn container(&self, pod_uid: &str, name: &str, previous: bool) -> Option<ContainerRef>;

    /// The id of the current sandbox, if it is ready.
    fn sandbox(&self, pod_uid: &str) -> Option<String>;
}
