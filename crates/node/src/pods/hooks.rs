//! `postStart` and `preStop`.

use crate::cri::Runtime;
use crate::probes;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use std::time::Duration;

/// As long as an HTTP hook may take by itself.
const HTTP: Duration = Duration::from_secs(30);

pub async fn run(
    runtime: &dyn Runtime,
    id: &str,
    pod_ip: &str,
    container: &Container,
    hook: &LifecycleHandler,
    limit: Duration,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let told = command.join(" ");
        return match runtime.exec_sync(id, command, limit).await {
            Ok(answer) if answer.exit_code == 0 => Ok(()),
            Ok(answer) => Err(format!(
                "Exec lifecycle hook ([{told}]) for Container {:?} failed - error: command '{told}' exited with {}: {}, message: {:?}",
                container.name,
                answer.exit_code,
                String::from_utf8_lossy(&answer.stderr),
                String::from_utf8_lossy(&answer.stdout),
            )),
            Err(error) => Err(format!("Exec lifecycle hook ([{told}]) for Container {:?} failed - error: {error}", container.name)),
        };
    }
    if let Some(get) = &hook.http_get {
        return probes::http_get(get, pod_ip, container, if limit.is_zero() { HTTP } else { limit.min(HTTP) }).await;
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    Err("invalid handler: the hook names no action".into())
}
