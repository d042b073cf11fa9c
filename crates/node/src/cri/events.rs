//! How the agent learns that a container has ended without asking all the time. In this order:
//!
//! 1. CRI's own `GetContainerEvents` (containerd 1.7, CRI-O);
//! 2. the event service of containerd, which listens on the same socket (containerd 1.6);
//! 3. a list every second, compared with the one before.
//!
//! Each is only a hint to look: the state itself always comes from CRI. While the stream stands, its
//! end is also how the agent learns that the runtime is gone.

use super::api::runtime_service_client::RuntimeServiceClient;
use super::api::{ContainerEventType, GetEventsRequest};
use super::{Grpc, Runtime, RuntimeEvent};
use futures::StreamExt;
use futures::stream::BoxStream;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Status};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);
const RELIST: Duration = Duration::from_secs(1);
const HEADERS: Duration = Duration::from_millis(20);

type Sender = mpsc::Sender<RuntimeEvent>;

pub fn follow(runtime: Grpc, channel: Channel, client: RuntimeServiceClient<Channel>) -> BoxStream<'static, RuntimeEvent> {
    let (sender, receiver) = mpsc::channel(256);
    tokio::spawn(async move {
        let mut delay = FIRST_RETRY;
        let mut down = false;
        while !sender.is_closed() {
            if let Err(error) = runtime.version().await {
                if !down {
                    down = true;
                    if sender.send(RuntimeEvent::Down(error.to_string())).await.is_err() {
                        return;
                    }
                }
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(LAST_RETRY);
                continue;
            }
            down = false;
            delay = FIRST_RETRY;
            let ended = match from_cri(client.clone(), &sender).await {
                Err(status) if status.code() == Code::Unimplemented => match from_containerd(channel.clone(), &sender).await {
                    Err(status) if status.code() == Code::Unimplemented => from_lists(&runtime, &sender).await,
                    other => other,
                },
                other => other,
            };
            tracing::debug!(?ended, "the stream of runtime events has ended");
            // A stream may end for reasons of its own; the next call tells whether the runtime is up.
            tokio::time::sleep(FIRST_RETRY).await;
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver).boxed()
}

fn gone() -> Status {
    Status::cancelled("nobody listens")
}

/// Says that the runtime is up once the stream is asked for. Go servers send their headers with the
/// first message, so that the answer itself may be long in coming.
async fn greet<T>(opened: impl Future<Output = Result<T, Status>>, sender: &Sender) -> Result<T, Status> {
    tokio::pin!(opened);
    match tokio::time::timeout(HEADERS, &mut opened).await {
        Ok(answer) => {
            let answer = answer?;
            sender.send(RuntimeEvent::Up).await.map_err(|_| gone())?;
            Ok(answer)
        }
        Err(_) => {
            sender.send(RuntimeEvent::Up).await.map_err(|_| gone())?;
            opened.await
        }
    }
}

async fn from_cri(mut client: RuntimeServiceClient<Channel>, sender: &Sender) -> Result<(), Status> {
    let mut stream = greet(client.get_container_events(GetEventsRequest {}), sender).await?.into_inner();
    while let Some(event) = stream.message().await? {
        // What we create and start ourselves we know already.
        if matches!(event.container_event_type(), ContainerEventType::ContainerStoppedEvent | ContainerEventType::ContainerDeletedEvent) {
            sender.send(RuntimeEvent::Changed { id: event.container_id }).await.map_err(|_| gone())?;
        }
    }
    Ok(())
}

#[derive(Clone, PartialEq, prost::Message)]
struct SubscribeRequest {
    #[prost(string, repeated, tag = "1")]
    filters: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    topic: String,
    #[prost(message, optional, tag = "4")]
    event: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The fields of `containerd.events.TaskExit` that matter here.
#[derive(Clone, PartialEq, prost::Message)]
struct TaskExit {
    #[prost(string, tag = "1")]
    container_id: String,
    /// Differs from the container's for processes that were executed in it.
    #[prost(string, tag = "2")]
    id: String,
}

async fn from_containerd(channel: Channel, sender: &Sender) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let filters = vec![r#"namespace==k8s.io,topic=="/tasks/exit""#.to_string()];
    let path = http::uri::PathAndQuery::from_static("/containerd.services.events.v1.Events/Subscribe");
    let codec = tonic_prost::ProstCodec::<SubscribeRequest, Envelope>::default();
    let request = tonic::Request::new(SubscribeRequest { filters });
    let mut stream = greet(client.server_streaming(request, path, codec), sender).await?.into_inner();
    while let Some(envelope) = stream.message().await? {
        let Some(event) = envelope.event else { continue };
        let Ok(exit) = <TaskExit as prost::Message>::decode(event.value.as_slice()) else { continue };
        if exit.id == exit.container_id {
            sender.send(RuntimeEvent::Changed { id: exit.container_id }).await.map_err(|_| gone())?;
        }
    }
    Ok(())
}

async fn from_lists(runtime: &Grpc, sender: &Sender) -> Result<(), Status> {
    sender.send(RuntimeEvent::Up).await.map_err(|_| gone())?;
    let mut before: HashMap<String, i32> = HashMap::new();
    loop {
        let failed = |e: super::RuntimeError| Status::unavailable(e.to_string());
        let mut now: HashMap<String, i32> = HashMap::new();
        now.extend(runtime.list_containers(None).await.map_err(failed)?.into_iter().map(|c| (c.id, c.state)));
        now.extend(runtime.list_sandboxes(None).await.map_err(failed)?.into_iter().map(|s| (s.id, s.state)));
        for (id, state) in &before {
            if now.get(id) != Some(state) {
                sender.send(RuntimeEvent::Changed { id: id.clone() }).await.map_err(|_| gone())?;
            }
        }
        before = now;
        tokio::time::sleep(RELIST).await;
    }
}
