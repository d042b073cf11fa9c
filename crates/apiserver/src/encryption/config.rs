//! The `EncryptionConfiguration` file (`apiserver.config.k8s.io/v1`).

use super::provider::{Key, Provider};
use super::transformer::Transformer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::GroupResource;
use serde::Deserialize;
use std::collections::HashSet;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

#[derive(Clone, Debug, thiserror::Error)]
#[error("the encryption configuration {path}: {what}")]
pub struct ConfigError {
    path: String,
    what: String,
}

impl ConfigError {
    pub fn new(path: &Path, what: impl Display) -> Self {
        Self { path: path.display().to_string(), what: what.to_string() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    resources: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileRule {
    resources: Vec<String>,
    providers: Vec<FileProvider>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct FileProvider {
    aesgcm: Option<FileKeys>,
    aescbc: Option<FileKeys>,
    secretbox: Option<FileKeys>,
    identity: Option<serde_yaml_ng::Value>,
    kms: Option<serde_yaml_ng::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKeys {
    keys: Vec<FileKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    name: String,
    secret: String,
}

/// In the file's order; the first that fits a resource decides.
#[derive(Default)]
pub struct Rules(Vec<Rule>);

struct Rule {
    resources: Vec<String>,
    transformer: Arc<Transformer>,
}

impl Rules {
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = serde_yaml_ng::from_str(text).map_err(|e| e.to_string())?;
        if (file.api_version.as_str(), file.kind.as_str()) != ("apiserver.config.k8s.io/v1", "EncryptionConfiguration") {
            return Err(format!(
                "it must be an apiserver.config.k8s.io/v1 EncryptionConfiguration, not {} {}",
                file.api_version, file.kind
            ));
        }
        if file.resources.is_empty() {
            return Err("resources: at least one item is required".into());
        }
        let rules = file.resources.iter().enumerate();
        rules.map(|(i, rule)| Rule::new(rule).map_err(|e| format!("resources[{i}].{e}"))).collect::<Result<_, _>>().map(Self)
    }

    pub fn transformer(&self, resource: &GroupResource) -> Arc<Transformer> {
        let found = self.0.iter().find(|rule| rule.resources.iter().any(|pattern| fits(pattern, resource)));
        found.map_or_else(Transformer::identity, |rule| rule.transformer.clone())
    }
}

impl Rule {
    fn new(rule: &FileRule) -> Result<Self, String> {
        if rule.resources.is_empty() {
            return Err("resources: at least one item is required".into());
        }
        for resource in &rule.resources {
            let (name, group) = resource.split_once('.').unwrap_or((resource, ""));
            let bad = resource.is_empty() || name.is_empty() || name.contains('/') || group.contains('/') || resource == "*";
            if bad || (name != "*" && group.contains('*')) || resource.chars().any(char::is_uppercase) {
                return Err(format!("resources: {resource:?} must be resource, resource.group, *.group, *. (the core group) or *.*"));
            }
        }
        if rule.providers.is_empty() {
            return Err("providers: at least one item is required".into());
        }
        let providers = rule.providers.iter().enumerate();
        let providers = providers.map(|(i, p)| provider(p).map_err(|e| format!("providers[{i}]: {e}"))).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { resources: rule.resources.clone(), transformer: Arc::new(Transformer::new(providers)) })
    }
}

fn fits(pattern: &str, resource: &GroupResource) -> bool {
    let (name, group) = pattern.split_once('.').unwrap_or((pattern, ""));
    (name == "*" || name == resource.resource) && (group == "*" || group == resource.group)
}

fn provider(provider: &FileProvider) -> Result<Provider, String> {
    match provider {
        FileProvider { aesgcm: Some(keys), aescbc: None, secretbox: None, identity: None, kms: None } => {
            Ok(Provider::AesGcm(parse_keys(keys, &[16, 24, 32])?))
        }
        FileProvider { aesgcm: None, aescbc: Some(keys), secretbox: None, identity: None, kms: None } => {
            Ok(Provider::AesCbc(parse_keys(keys, &[16, 24, 32])?))
        }
        FileProvider { aesgcm: None, aescbc: None, secretbox: Some(keys), identity: None, kms: None } => {
            Ok(Provider::SecretBox(parse_keys(keys, &[32])?))
        }
        FileProvider { aesgcm: None, aescbc: None, secretbox: None, identity: Some(_), kms: None } => Ok(Provider::Identity),
        FileProvider { kms: Some(_), .. } => Err("kms is not supported; use aesgcm, aescbc or secretbox with local keys".into()),
        _ => Err("exactly one of aesgcm, aescbc, secretbox and identity must be given".into()),
    }
}

fn parse_keys(keys: &FileKeys, sizes: &[usize]) -> Result<Vec<Key>, String> {
    if keys.keys.is_empty() {
        return Err("keys: at least one item is required".into());
    }
    let mut names = HashSet::new();
    let mut parsed = Vec::new();
    for (i, key) in keys.keys.iter().enumerate() {
        if key.name.is_empty() || key.name.contains(':') || !names.insert(&key.name) {
            return Err(format!("keys[{i}].name: must be there, be unique, and have no colon"));
        }
        // The secret is never part of a message.
        let secret = STANDARD.decode(key.secret.trim()).map_err(|_| format!("keys[{i}].secret: must be base64 encoded"))?;
        if !sizes.contains(&secret.len()) {
            return Err(format!("keys[{i}].secret: must be {sizes:?} bytes long, and is {}", secret.len()));
        }
        parsed.push(Key { name: key.name.clone(), secret });
    }
    Ok(parsed)
}
