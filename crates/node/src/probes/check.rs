//! One probe, made once.

use super::{grpc, http};
use crate::cri::{Runtime, RuntimeError};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure(String),
    Unknown(String),
}

/// Longest part of an output that is told.
const TOLD: usize = 1024;

#[derive(Clone)]
pub struct Probing {
    pub runtime: Arc<dyn Runtime>,
    pub pod_ip: String,
    pub container: Container,
    pub id: String,
}

impl Probing {
    pub async fn run(&self, probe: &Probe) -> Outcome {
        let limit = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1).max(1)).unwrap_or(1));
        if let Some(exec) = &probe.exec {
            return self.exec(exec.command.clone().unwrap_or_default(), limit).await;
        }
        if let Some(get) = &probe.http_get {
            return match http_get(get, &self.pod_ip, &self.container, limit).await {
                Ok(()) => Outcome::Success,
                Err(message) => Outcome::Failure(message),
            };
        }
        if let Some(socket) = &probe.tcp_socket {
            let Some(port) = port(&socket.port, &self.container) else { return Outcome::Unknown("no such port".into()) };
            let host = socket.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(&self.pod_ip);
            let address = format!("{}:{port}", bracketed(host));
            return match tokio::time::timeout(limit, tokio::net::TcpStream::connect(&address)).await {
                Ok(Ok(_)) => Outcome::Success,
                Ok(Err(error)) => Outcome::Failure(format!("dial tcp {address}: connect: {}", plain(&error))),
                Err(_) => Outcome::Failure(format!("dial tcp {address}: i/o timeout")),
            };
        }
        if let Some(call) = &probe.grpc {
            let address = format!("{}:{}", bracketed(&self.pod_ip), call.port);
            return grpc::check(&address, call.service.as_deref().unwrap_or_default(), limit).await;
        }
        Outcome::Unknown("the probe names no action".into())
    }

    async fn exec(&self, command: Vec<String>, limit: Duration) -> Outcome {
        let told = command.join(" ");
        match self.runtime.exec_sync(&self.id, command, limit).await {
            Ok(answer) if answer.exit_code == 0 => Outcome::Success,
            Ok(answer) => {
                let mut output = String::from_utf8_lossy(&answer.stdout).into_owned();
                output.push_str(&String::from_utf8_lossy(&answer.stderr));
                Outcome::Failure(shortened(&output))
            }
            Err(RuntimeError::Timeout(_)) => Outcome::Failure(format!("command timed out: {told:?} timed out after {}s", limit.as_secs())),
            // The container has ended, or the runtime has: neither is the container's answer.
            Err(error @ (RuntimeError::Unavailable(_) | RuntimeError::NotFound(_))) => Outcome::Unknown(error.to_string()),
            Err(RuntimeError::Failed(message)) if message.contains("not running") || message.contains("CONTAINER_EXITED") => {
                Outcome::Unknown(message)
            }
            Err(error) => Outcome::Failure(shortened(&error.to_string())),
        }
    }
}

fn shortened(text: &str) -> String {
    text.char_indices().nth(TOLD).map_or(text, |(end, _)| &text[..end]).to_string()
}

/// Without the number that Rust appends to the kernel's words.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|c| c.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_string() }
}

pub fn port(wanted: &IntOrString, container: &Container) -> Option<u16> {
    match wanted {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            named.map(|p| p.container_port).or_else(|| name.parse().ok()).and_then(|p| u16::try_from(p).ok())
        }
    }
}

/// Also what an HTTP lifecycle hook does.
pub async fn http_get(get: &HTTPGetAction, pod_ip: &str, container: &Container, limit: Duration) -> Result<(), String> {
    let port = port(&get.port, container).ok_or("the named port does not exist")?;
    let host = get.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(pod_ip);
    let tls = get.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https"));
    let path = get.path.as_deref().unwrap_or("/");
    let headers: Vec<(&str, &str)> = get.http_headers.iter().flatten().map(|h| (h.name.as_str(), h.value.as_str())).collect();
    let url = format!("{}://{}:{port}/{}", if tls { "https" } else { "http" }, bracketed(host), path.trim_start_matches('/'));
    match tokio::time::timeout(limit, http::get(&url, &headers)).await {
        Ok(Ok(status)) if (200..400).contains(&status) => Ok(()),
        Ok(Ok(status)) => Err(format!("HTTP probe failed with statuscode: {status}")),
        Ok(Err(error)) => Err(format!("Get {url:?}: {error}")),
        Err(_) => Err(format!("Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)")),
    }
}
