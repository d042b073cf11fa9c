//! The CRI client over a Unix socket. The channel connects when it is first used and again when the
//! runtime has been restarted; a call that meets no runtime fails at once.

use super::api::image_service_client::ImageServiceClient;
use super::api::runtime_service_client::RuntimeServiceClient;
use super::api::*;
use super::{Result, Runtime, RuntimeError, RuntimeEvent, events, labels};
use async_trait::async_trait;
use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

const CALL: Duration = Duration::from_secs(120);
/// A sandbox waits for the network plugin.
const SANDBOX: Duration = Duration::from_secs(240);
const LARGEST_ANSWER: usize = 16 << 20;

#[derive(Clone)]
pub struct Grpc {
    channel: Channel,
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl Grpc {
    pub fn new(socket: &Path) -> Self {
        let path = socket.to_path_buf();
        // The authority is unused; the connector always opens the socket.
        let channel = Endpoint::from_static("http://runtime").connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        }));
        Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(LARGEST_ANSWER),
            images: ImageServiceClient::new(channel.clone()).max_decoding_message_size(LARGEST_ANSWER),
            channel,
        }
    }
}

impl From<Status> for RuntimeError {
    fn from(status: Status) -> Self {
        let message = status.message().to_string();
        match status.code() {
            Code::Unavailable => Self::Unavailable(cause(&status)),
            Code::NotFound => Self::NotFound(message),
            Code::DeadlineExceeded | Code::Cancelled => Self::Timeout(message),
            Code::Unimplemented => Self::Unsupported(message),
            // containerd answers "not found" of its own stores as Unknown in some calls.
            Code::Unknown if message.ends_with(": not found") => Self::NotFound(message),
            // A connection lost in the middle of a call.
            Code::Unknown if message.contains("transport error") || message.contains("h2 protocol error") => {
                Self::Unavailable(cause(&status))
            }
            _ => Self::Failed(message),
        }
    }
}

fn cause(status: &Status) -> String {
    let mut text = status.message().to_string();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

async fn timed<T>(limit: Duration, what: &str, call: impl Future<Output = std::result::Result<tonic::Response<T>, Status>>) -> Result<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(RuntimeError::Timeout(what.to_string())),
    }
}

fn of_pod(uid: Option<&str>) -> HashMap<String, String> {
    uid.map(|uid| HashMap::from([(labels::POD_UID.to_string(), uid.to_string())])).unwrap_or_default()
}

fn spec(image: &str) -> Option<ImageSpec> {
    Some(ImageSpec { image: image.to_string(), ..Default::default() })
}

#[async_trait]
impl Runtime for Grpc {
    async fn version(&self) -> Result<VersionResponse> {
        timed(CALL, "Version", self.runtime.clone().version(VersionRequest { version: "v1".into() })).await
    }

    async fn status(&self) -> Result<StatusResponse> {
        timed(CALL, "Status", self.runtime.clone().status(StatusRequest { verbose: false })).await
    }

    async fn run_sandbox(&self, config: PodSandboxConfig, handler: &str) -> Result<String> {
        let request = RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_string() };
        Ok(timed(SANDBOX, "RunPodSandbox", self.runtime.clone().run_pod_sandbox(request)).await?.pod_sandbox_id)
    }

    async fn stop_sandbox(&self, id: &str) -> Result<()> {
        let request = StopPodSandboxRequest { pod_sandbox_id: id.to_string() };
        timed(SANDBOX, "StopPodSandbox", self.runtime.clone().stop_pod_sandbox(request)).await.map(drop)
    }

    async fn remove_sandbox(&self, id: &str) -> Result<()> {
        let request = RemovePodSandboxRequest { pod_sandbox_id: id.to_string() };
        timed(CALL, "RemovePodSandbox", self.runtime.clone().remove_pod_sandbox(request)).await.map(drop)
    }

    async fn sandbox_status(&self, id: &str) -> Result<PodSandboxStatus> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_string(), verbose: false };
        let answer = timed(CALL, "PodSandboxStatus", self.runtime.clone().pod_sandbox_status(request)).await?;
        answer.status.ok_or_else(|| RuntimeError::Failed(format!("the runtime sent no status of sandbox {id}")))
    }

    async fn list_sandboxes(&self, pod_uid: Option<&str>) -> Result<Vec<PodSandbox>> {
        let filter = PodSandboxFilter { label_selector: of_pod(pod_uid), ..Default::default() };
        let request = ListPodSandboxRequest { filter: Some(filter) };
        Ok(timed(CALL, "ListPodSandbox", self.runtime.clone().list_pod_sandbox(request)).await?.items)
    }

    async fn create_container(&self, sandbox: &str, config: ContainerConfig, sandbox_config: PodSandboxConfig) -> Result<String> {
        let request =
            CreateContainerRequest { pod_sandbox_id: sandbox.to_string(), config: Some(config), sandbox_config: Some(sandbox_config) };
        Ok(timed(CALL, "CreateContainer", self.runtime.clone().create_container(request)).await?.container_id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let request = StartContainerRequest { container_id: id.to_string() };
        timed(CALL, "StartContainer", self.runtime.clone().start_container(request)).await.map(drop)
    }

    async fn stop_container(&self, id: &str, grace: i64) -> Result<()> {
        let request = StopContainerRequest { container_id: id.to_string(), timeout: grace };
        let limit = CALL + Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        timed(limit, "StopContainer", self.runtime.clone().stop_container(request)).await.map(drop)
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let request = RemoveContainerRequest { container_id: id.to_string() };
        timed(CALL, "RemoveContainer", self.runtime.clone().remove_container(request)).await.map(drop)
    }

    async fn container_status(&self, id: &str) -> Result<ContainerStatus> {
        let request = ContainerStatusRequest { container_id: id.to_string(), verbose: false };
        let answer = timed(CALL, "ContainerStatus", self.runtime.clone().container_status(request)).await?;
        answer.status.ok_or_else(|| RuntimeError::Failed(format!("the runtime sent no status of container {id}")))
    }

    async fn list_containers(&self, pod_uid: Option<&str>) -> Result<Vec<Container>> {
        let filter = ContainerFilter { label_selector: of_pod(pod_uid), ..Default::default() };
        let request = ListContainersRequest { filter: Some(filter) };
        Ok(timed(CALL, "ListContainers", self.runtime.clone().list_containers(request)).await?.containers)
    }

    async fn update_resources(&self, id: &str, resources: LinuxContainerResources) -> Result<()> {
        let request = UpdateContainerResourcesRequest { container_id: id.to_string(), linux: Some(resources), ..Default::default() };
        timed(CALL, "UpdateContainerResources", self.runtime.clone().update_container_resources(request)).await.map(drop)
    }

    async fn reopen_log(&self, id: &str) -> Result<()> {
        let request = ReopenContainerLogRequest { container_id: id.to_string() };
        timed(CALL, "ReopenContainerLog", self.runtime.clone().reopen_container_log(request)).await.map(drop)
    }

    async fn exec_sync(&self, id: &str, command: Vec<String>, timeout: Duration) -> Result<ExecSyncResponse> {
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        let request = ExecSyncRequest { container_id: id.to_string(), cmd: command, timeout: seconds };
        let limit = if timeout.is_zero() { Duration::from_secs(3600) } else { timeout + Duration::from_secs(5) };
        timed(limit, "ExecSync", self.runtime.clone().exec_sync(request)).await
    }

    async fn exec(&self, request: ExecRequest) -> Result<String> {
        Ok(timed(CALL, "Exec", self.runtime.clone().exec(request)).await?.url)
    }

    async fn attach(&self, request: AttachRequest) -> Result<String> {
        Ok(timed(CALL, "Attach", self.runtime.clone().attach(request)).await?.url)
    }

    async fn port_forward(&self, sandbox: &str, ports: Vec<i32>) -> Result<String> {
        let request = PortForwardRequest { pod_sandbox_id: sandbox.to_string(), port: ports };
        Ok(timed(CALL, "PortForward", self.runtime.clone().port_forward(request)).await?.url)
    }

    async fn container_stats(&self) -> Result<Vec<ContainerStats>> {
        let request = ListContainerStatsRequest { filter: None };
        Ok(timed(CALL, "ListContainerStats", self.runtime.clone().list_container_stats(request)).await?.stats)
    }

    async fn sandbox_stats(&self) -> Result<Vec<PodSandboxStats>> {
        let request = ListPodSandboxStatsRequest { filter: None };
        Ok(timed(CALL, "ListPodSandboxStats", self.runtime.clone().list_pod_sandbox_stats(request)).await?.stats)
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        Ok(timed(CALL, "ListImages", self.images.clone().list_images(ListImagesRequest { filter: None })).await?.images)
    }

    async fn image_status(&self, image: &str) -> Result<Option<Image>> {
        let request = ImageStatusRequest { image: spec(image), verbose: false };
        Ok(timed(CALL, "ImageStatus", self.images.clone().image_status(request)).await?.image)
    }

    /// Without a limit of time: the runtime gives up by itself when nothing more arrives.
    async fn pull_image(&self, image: &str, auth: Option<AuthConfig>, sandbox: Option<PodSandboxConfig>) -> Result<String> {
        let request = Request::new(PullImageRequest { image: spec(image), auth, sandbox_config: sandbox });
        Ok(self.images.clone().pull_image(request).await?.into_inner().image_ref)
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        timed(CALL, "RemoveImage", self.images.clone().remove_image(RemoveImageRequest { image: spec(image) })).await.map(drop)
    }

    async fn image_filesystems(&self) -> Result<Vec<FilesystemUsage>> {
        Ok(timed(CALL, "ImageFsInfo", self.images.clone().image_fs_info(ImageFsInfoRequest {})).await?.image_filesystems)
    }

    fn events(&self) -> BoxStream<'static, RuntimeEvent> {
        events::follow(self.clone(), self.channel.clone(), self.runtime.clone())
    }
}
