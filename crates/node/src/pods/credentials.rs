//! Credentials of registries, from the pod's pull secrets.

use crate::cri::api::AuthConfig;
use crate::objects::Objects;
use base64::Engine;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
    #[serde(default, alias = "identitytoken")]
    identity_token: String,
    #[serde(default, alias = "registrytoken")]
    registry_token: String,
}

#[derive(Default)]
pub struct Keyring {
    /// Registry, with an optional path, without a scheme.
    entries: Vec<(String, AuthConfig)>,
}

impl Keyring {
    /// A secret that is missing or broken is skipped: the image may be public. Told are the names of those that could not be had.
    pub async fn of(pod: &Pod, objects: &Objects) -> (Self, Vec<String>) {
        let mut keyring = Self::default();
        let mut absent = Vec::new();
        let namespace = pod.namespace().unwrap_or_default();
        for reference in pod.spec.iter().flat_map(|s| s.image_pull_secrets.iter().flatten()) {
            match objects.secret(&namespace, &reference.name).await {
                Ok(Some(secret)) => keyring.add(&secret),
                Ok(None) => absent.push(reference.name.clone()),
                Err(error) => {
                    tracing::debug!(namespace, name = reference.name, %error, "a pull secret could not be read");
                    absent.push(reference.name.clone());
                }
            }
        }
        (keyring, absent)
    }

    fn add(&mut self, secret: &Secret) {
        let data = |key: &str| secret.data.as_ref().and_then(|d| d.get(key));
        let entries = if let Some(bytes) = data(".dockerconfigjson") {
            serde_json::from_slice::<File>(&bytes.0).map(|f| f.auths)
        } else if let Some(bytes) = data(".dockercfg") {
            serde_json::from_slice(&bytes.0)
        } else {
            return;
        };
        match entries {
            Ok(entries) => self.entries.extend(entries.into_iter().map(|(key, entry)| (bare(&key), entry.into()))),
            Err(error) => tracing::debug!(name = secret.name_any(), %error, "a pull secret cannot be parsed"),
        }
    }

    /// What to try, one after another: those that fit, or nothing.
    pub fn attempts(&self, image: &str) -> Vec<Option<AuthConfig>> {
        let (registry, path) = split(image);
        let mut fitting: Vec<&(String, AuthConfig)> = self.entries.iter().filter(|(key, _)| fits(key, &registry, &path)).collect();
        fitting.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
        if fitting.is_empty() { vec![None] } else { fitting.into_iter().map(|(_, auth)| Some(auth.clone())).collect() }
    }
}

impl From<Entry> for AuthConfig {
    fn from(entry: Entry) -> Self {
        let mut auth = Self {
            username: entry.username,
            password: entry.password,
            identity_token: entry.identity_token,
            registry_token: entry.registry_token,
            ..Default::default()
        };
        if auth.username.is_empty() {
            let decoded = base64::engine::general_purpose::STANDARD.decode(entry.auth.trim()).unwrap_or_default();
            if let Some((user, password)) = String::from_utf8_lossy(&decoded).trim_end_matches('\0').split_once(':') {
                (auth.username, auth.password) = (user.to_string(), password.to_string());
            }
        }
        auth
    }
}

fn bare(key: &str) -> String {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    if key == "index.docker.io" { "docker.io".into() } else { key.to_string() }
}

fn split(image: &str) -> (String, String) {
    match image.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host.to_string(), path.to_string()),
        Some(_) => ("docker.io".into(), image.to_string()),
        None => ("docker.io".into(), format!("library/{image}")),
    }
}

fn fits(key: &str, registry: &str, path: &str) -> bool {
    let (host, prefix) = key.split_once('/').unwrap_or((key, ""));
    let (host_labels, labels): (Vec<&str>, Vec<&str>) = (host.split('.').collect(), registry.split('.').collect());
    let same = host_labels.len() == labels.len() && host_labels.iter().zip(&labels).all(|(a, b)| *a == "*" || a == b);
    same && (prefix.is_empty() || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_that_fits_best_comes_first() {
        let secret: Secret = serde_json::from_value(serde_json::json!({"data": {".dockerconfigjson": base64::engine::general_purpose::STANDARD.encode(
            r#"{"auths": {"https://localhost:5000/v2/": {"auth": "dTpw"}, "localhost:5000/team": {"username": "t", "password": "x"}, "*.example.com": {"username": "w"}}}"#)}}))
        .expect("a secret");
        let mut keyring = Keyring::default();
        keyring.add(&secret);
        let users = |image: &str| -> Vec<String> { keyring.attempts(image).into_iter().flatten().map(|a| a.username).collect() };
        assert_eq!(users("localhost:5000/team/app:1"), ["t", "u"]);
        assert_eq!(users("localhost:5000/teams/app"), ["u"]);
        assert_eq!(users("r.example.com/a"), ["w"]);
        assert!(keyring.attempts("busybox") == [None]);
    }
}
