//! The one module that touches the runtime's socket: CRI v1 as a trait, its gRPC client, and the
//! stream of what happens to containers. Everything else in the crate sees only [`Runtime`].

mod events;
mod grpc;

pub use grpc::Grpc;
pub use k8s_cri::v1 as api;

use api::{
    AuthConfig, Container, ContainerConfig, ContainerStats, ContainerStatus, ExecSyncResponse, FilesystemUsage, Image,
    LinuxContainerResources, PodSandbox, PodSandboxConfig, PodSandboxStats, PodSandboxStatus, StatusResponse, VersionResponse,
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::time::Duration;

/// Labels by which the runtime's objects are matched to pods; upstream's names, so that other tools
/// (`crictl`, log collectors) understand them.
pub mod labels {
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    pub const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    pub const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    pub const POD_GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The runtime does not answer; it may have been stopped, or is being started again.
    #[error("the container runtime is not reachable: {0}")]
    Unavailable(String),
    #[error("{0}")]
    NotFound(String),
    #[error("timed out: {0}")]
    Timeout(String),
    #[error("not supported by the container runtime: {0}")]
    Unsupported(String),
    /// What the runtime said.
    #[error("{0}")]
    Failed(String),
}

pub type Result<T> = std::result::Result<T, RuntimeError>;

/// What the runtime tells on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// Connected, or connected again: anything may have changed meanwhile.
    Up,
    Down(String),
    /// The main process of a container or a sandbox has ended, or something else happened to it.
    Changed {
        id: String,
    },
}

#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    async fn version(&self) -> Result<VersionResponse>;
    async fn status(&self) -> Result<StatusResponse>;

    async fn run_sandbox(&self, config: PodSandboxConfig, handler: &str) -> Result<String>;
    async fn stop_sandbox(&self, id: &str) -> Result<()>;
    async fn remove_sandbox(&self, id: &str) -> Result<()>;
    async fn sandbox_status(&self, id: &str) -> Result<PodSandboxStatus>;
    /// Of one pod, or all.
    async fn list_sandboxes(&self, pod_uid: Option<&str>) -> Result<Vec<PodSandbox>>;

    async fn create_container(&self, sandbox: &str, config: ContainerConfig, sandbox_config: PodSandboxConfig) -> Result<String>;
    async fn start_container(&self, id: &str) -> Result<()>;
    /// SIGTERM (or the image's signal), then SIGKILL after `grace` seconds.
    async fn stop_container(&self, id: &str, grace: i64) -> Result<()>;
    async fn remove_container(&self, id: &str) -> Result<()>;
    async fn container_status(&self, id: &str) -> Result<ContainerStatus>;
    async fn list_containers(&self, pod_uid: Option<&str>) -> Result<Vec<Container>>;
    async fn update_resources(&self, id: &str, resources: LinuxContainerResources) -> Result<()>;
    async fn reopen_log(&self, id: &str) -> Result<()>;

    async fn exec_sync(&self, id: &str, command: Vec<String>, timeout: Duration) -> Result<ExecSyncResponse>;
    /// The address of a streaming server that serves the session.
    async fn exec(&self, request: api::ExecRequest) -> Result<String>;
    async fn attach(&self, request: api::AttachRequest) -> Result<String>;
    async fn port_forward(&self, sandbox: &str, ports: Vec<i32>) -> Result<String>;

    async fn container_stats(&self) -> Result<Vec<ContainerStats>>;
    async fn sandbox_stats(&self) -> Result<Vec<PodSandboxStats>>;

    async fn list_images(&self) -> Result<Vec<Image>>;
    async fn image_status(&self, image: &str) -> Result<Option<Image>>;
    /// The reference of the pulled image.
    async fn pull_image(&self, image: &str, auth: Option<AuthConfig>, sandbox: Option<PodSandboxConfig>) -> Result<String>;
    async fn remove_image(&self, image: &str) -> Result<()>;
    async fn image_filesystems(&self) -> Result<Vec<FilesystemUsage>>;

    /// Never ends; reconnects by itself. Begins with `Up` or `Down`.
    fn events(&self) -> BoxStream<'static, RuntimeEvent>;
}
