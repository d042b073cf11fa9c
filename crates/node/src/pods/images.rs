//! Makes sure that a container's image is there: pull policy, credentials, back-off, and the events
//! that tell of it.

use super::backoff::Backoff;
use super::credentials::Keyring;
use super::plan::Blocked;
use crate::cri::api::{Image, PodSandboxConfig};
use crate::cri::{Runtime, RuntimeError};
use client::EventType;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Container;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Pulls at once; each of them saturates a disk by itself.
const PULLS: usize = 4;

pub struct Images {
    runtime: Arc<dyn Runtime>,
    backoff: Mutex<Backoff>,
    pulls: Semaphore,
}

pub type Tell<'a> = &'a (dyn Fn(EventType, &str, String) + Send + Sync);

impl Images {
    pub fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, backoff: Mutex::default(), pulls: Semaphore::new(PULLS) }
    }

    pub async fn ensure(
        &self,
        container: &Container,
        keyring: &Keyring,
        sandbox: PodSandboxConfig,
        pod_uid: &str,
        tell: Tell<'_>,
    ) -> Result<Image, Blocked> {
        let name = container.image.as_deref().unwrap_or_default();
        let reference = match with_tag(name) {
            Ok(reference) => reference,
            Err(why) => {
                let message = format!("Failed to apply default image tag {name:?}: couldn't parse image name {name:?}: {why}");
                tell(EventType::Warning, "InspectFailed", message.clone());
                return Err(blocked("InvalidImageName", message, 60));
            }
        };
        let present = match self.runtime.image_status(&reference).await {
            Ok(present) => present,
            Err(error) => {
                let message = format!("Failed to inspect image {name:?}: {error}");
                if !matches!(error, RuntimeError::Unavailable(_)) {
                    tell(EventType::Warning, "InspectFailed", message.clone());
                }
                return Err(blocked("ImageInspectError", message, 5));
            }
        };
        let policy =
            container.image_pull_policy.as_deref().unwrap_or(if reference.ends_with(":latest") { "Always" } else { "IfNotPresent" });
        match (policy, present) {
            ("IfNotPresent" | "Never", Some(image)) => {
                tell(
                    EventType::Normal,
                    "Pulled",
                    format!("Container image {name:?} already present on machine and can be accessed by the pod"),
                );
                return Ok(image);
            }
            ("Never", None) => {
                let message = format!("Container image {name:?} is not present with pull policy of Never");
                tell(EventType::Warning, "ErrImageNeverPull", message.clone());
                return Err(blocked("ErrImageNeverPull", message, 30));
            }
            _ => {}
        }
        self.pull(name, &reference, keyring, sandbox, pod_uid, tell).await
    }

    async fn pull(
        &self,
        name: &str,
        reference: &str,
        keyring: &Keyring,
        sandbox: PodSandboxConfig,
        pod_uid: &str,
        tell: Tell<'_>,
    ) -> Result<Image, Blocked> {
        let key = format!("{pod_uid}_{reference}");
        let now = Timestamp::now();
        if let Some((until, message)) = self.waiting(&key, name, now) {
            tell(EventType::Normal, "BackOff", message.clone());
            return Err(Blocked { reason: "ImagePullBackOff".into(), message, until });
        }
        let asked = std::time::Instant::now();
        // Closed never.
        let _permit = self.pulls.acquire().await;
        tell(EventType::Normal, "Pulling", format!("Pulling image {name:?}"));
        let began = std::time::Instant::now();
        let mut failure = None;
        for auth in keyring.attempts(reference) {
            match self.runtime.pull_image(reference, auth, Some(sandbox.clone())).await {
                Ok(pulled) => {
                    let image = match self.runtime.image_status(&pulled).await {
                        Ok(Some(image)) => image,
                        _ => Image { id: pulled, ..Default::default() },
                    };
                    self.backoff.lock().forget(&key);
                    tell(
                        EventType::Normal,
                        "Pulled",
                        format!(
                            "Successfully pulled image {name:?} in {} ({} including waiting). Image size: {} bytes.",
                            took(began.elapsed()),
                            took(asked.elapsed()),
                            image.size
                        ),
                    );
                    return Ok(image);
                }
                Err(error) => failure = Some(error),
            }
        }
        let error = failure.map_or_else(|| "no attempt was made".to_string(), |e| e.to_string());
        let now = Timestamp::now();
        self.backoff.lock().next(&key, now, now);
        let message = format!("failed to pull and unpack image {name:?}: {error}");
        let message = if error.starts_with("failed to pull") || error.starts_with("rpc error") { error } else { message };
        tell(EventType::Warning, "Failed", format!("Failed to pull image {name:?}: {message}"));
        Err(blocked("ErrImagePull", message, 3))
    }

    fn waiting(&self, key: &str, name: &str, now: Timestamp) -> Option<(Timestamp, String)> {
        let (until, _) = self.backoff.lock().until_now(key, now)?;
        Some((until, format!("Back-off pulling image {name:?}")))
    }
}

fn blocked(reason: &str, message: String, seconds: i64) -> Blocked {
    Blocked { reason: reason.into(), message, until: Timestamp::now() + SignedDuration::from_secs(seconds) }
}

fn took(time: std::time::Duration) -> String {
    if time.as_secs() == 0 { format!("{}ms", time.as_millis()) } else { format!("{:.3}s", time.as_secs_f64()) }
}

/// The reference with its default tag, if it is one at all.
fn with_tag(name: &str) -> Result<String, &'static str> {
    const FORM: &str = "invalid reference format";
    let (rest, digest) = name.split_once('@').map_or((name, None), |(r, d)| (r, Some(d)));
    if let Some(digest) = digest {
        let (kind, hex) = digest.split_once(':').ok_or(FORM)?;
        if kind.is_empty() || hex.len() < 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(FORM);
        }
    }
    let slash = rest.rfind('/').map_or(0, |i| i + 1);
    let (path, tag) = match rest[slash..].find(':') {
        Some(at) => (&rest[..slash + at], Some(&rest[slash + at + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        if tag.is_empty() || tag.len() > 128 || !tag.bytes().all(fits) || tag.starts_with(['.', '-']) {
            return Err(FORM);
        }
    }
    let mut parts = path.split('/').peekable();
    let mut first = true;
    while let Some(part) = parts.next() {
        let host = first && parts.peek().is_some() && (part.contains(['.', ':', '[']) || part == "localhost");
        first = false;
        let fits = |b: u8| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b) || (host && (b.is_ascii_uppercase() || b":[]".contains(&b)))
        };
        if part.is_empty() || !part.bytes().all(fits) {
            return Err(if path.chars().any(|c| c.is_ascii_uppercase()) {
                "invalid reference format: repository name must be lowercase"
            } else {
                FORM
            });
        }
        if !host && (part.starts_with(['.', '_', '-']) || part.ends_with(['.', '_', '-'])) {
            return Err(FORM);
        }
    }
    Ok(if tag.is_none() && digest.is_none() { format!("{name}:latest") } else { name.to_string() })
}

#[cfg(test)]
mod tests {
    use super::with_tag;

    #[test]
    fn references_get_a_tag_and_bad_ones_are_told() {
        assert_eq!(with_tag("busybox").as_deref(), Ok("busybox:latest"));
        assert_eq!(with_tag("localhost:5000/a/b").as_deref(), Ok("localhost:5000/a/b:latest"));
        assert_eq!(with_tag("r.io/a:1.2").as_deref(), Ok("r.io/a:1.2"));
        for bad in ["", "Busybox", "a//b", "a:", "a b", "a@sha256", "-a", "a:$x"] {
            assert!(with_tag(bad).is_err(), "{bad}");
        }
    }
}
