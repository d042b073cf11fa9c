//! What goes into the volumes that are written from the API.

use super::atomic::{File, Payload};
use super::{Mounted, PodVolumes, VolumeError, atomic, mounts, ownership, place};
use crate::fields::{self, Facts};
use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume, VolumeProjection};
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::path::Path;

const MODE: i32 = 0o644;

pub async fn write(volumes: &PodVolumes, pod: &Pod, volume: &Volume, facts: &Facts, pod_dir: &Path) -> Result<Mounted, VolumeError> {
    let fail = |reason: String| VolumeError::of(&volume.name, reason);
    let (kind, in_memory) = match volume {
        Volume { config_map: Some(_), .. } => ("configmap", false),
        Volume { secret: Some(_), .. } => ("secret", true),
        Volume { projected: Some(_), .. } => ("projected", true),
        _ => ("downward-api", false),
    };
    let payload = payload(volumes, pod, volume, facts).await.map_err(fail)?;
    let path = place(pod_dir, kind, &volume.name);
    let group = ownership::fs_group(pod);
    let target = path.clone();
    let written = tokio::task::spawn_blocking(move || {
        if in_memory {
            mounts::tmpfs(&target, "mode=0755")?
        } else {
            std::fs::create_dir_all(&target)?
        }
        atomic::write(&target, &payload, |fresh| group.map_or(Ok(()), |group| ownership::hand_over(fresh, group, true)))
    });
    match written.await {
        Ok(Ok(_)) => Ok(Mounted { path, read_only: true, block: false }),
        Ok(Err(error)) => Err(fail(error.to_string())),
        Err(error) => Err(fail(error.to_string())),
    }
}

async fn payload(volumes: &PodVolumes, pod: &Pod, volume: &Volume, facts: &Facts) -> Result<Payload, String> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut payload = Payload::new();
    if let Some(source) = &volume.config_map {
        let optional = source.optional == Some(true);
        let data = config_map(volumes, &namespace, &source.name, optional).await?;
        select(&mut payload, "config", &data, source.items.as_deref(), source.default_mode, optional)?;
    } else if let Some(source) = &volume.secret {
        let optional = source.optional == Some(true);
        let data = secret(volumes, &namespace, source.secret_name.as_deref().unwrap_or_default(), optional).await?;
        select(&mut payload, "secret", &data, source.items.as_deref(), source.default_mode, optional)?;
    } else if let Some(source) = &volume.downward_api {
        downward(&mut payload, pod, facts, source.items.as_deref(), source.default_mode)?;
    } else if let Some(source) = &volume.projected {
        for projection in source.sources.iter().flatten() {
            project(volumes, &mut payload, pod, &namespace, facts, projection, source.default_mode).await?;
        }
    }
    Ok(payload)
}

async fn project(
    volumes: &PodVolumes,
    payload: &mut Payload,
    pod: &Pod,
    namespace: &str,
    facts: &Facts,
    projection: &VolumeProjection,
    mode: Option<i32>,
) -> Result<(), String> {
    if let Some(source) = &projection.config_map {
        let optional = source.optional == Some(true);
        let data = config_map(volumes, namespace, &source.name, optional).await?;
        select(payload, "config", &data, source.items.as_deref(), mode, optional)?;
    }
    if let Some(source) = &projection.secret {
        let optional = source.optional == Some(true);
        let data = secret(volumes, namespace, &source.name, optional).await?;
        select(payload, "secret", &data, source.items.as_deref(), mode, optional)?;
    }
    if let Some(source) = &projection.downward_api {
        downward(payload, pod, facts, source.items.as_deref(), mode)?;
    }
    if let Some(source) = &projection.service_account_token {
        let token = volumes.tokens.get(pod, source).await?;
        let owner = ownership::common_user(pod);
        // Nobody but the pod's user or group needs to read it (upstream `projected.go`).
        let mode = if owner.is_some() || ownership::fs_group(pod).is_some() { 0o600 } else { bits(mode) };
        payload.insert(source.path.clone(), File { data: token.into_bytes(), mode, owner });
    }
    if projection.cluster_trust_bundle.is_some() {
        return Err("clusterTrustBundle projections are not supported on this node".into());
    }
    if projection.pod_certificate.is_some() {
        return Err("podCertificate projections are not supported on this node".into());
    }
    Ok(())
}

type Data = BTreeMap<String, Vec<u8>>;

async fn config_map(volumes: &PodVolumes, namespace: &str, name: &str, optional: bool) -> Result<Data, String> {
    match volumes.objects.config_map(namespace, name).await {
        Ok(Some(ConfigMap { data, binary_data, .. })) => {
            let text = data.into_iter().flatten().map(|(k, v)| (k, v.into_bytes()));
            Ok(text.chain(binary_data.into_iter().flatten().map(|(k, v)| (k, v.0))).collect())
        }
        Ok(None) if optional => Ok(Data::new()),
        Ok(None) => Err(format!("configmap \"{name}\" not found")),
        Err(error) => Err(error.to_string()),
    }
}

async fn secret(volumes: &PodVolumes, namespace: &str, name: &str, optional: bool) -> Result<Data, String> {
    match volumes.objects.secret(namespace, name).await {
        Ok(Some(Secret { data, .. })) => Ok(data.into_iter().flatten().map(|(k, v)| (k, v.0)).collect()),
        Ok(None) if optional => Ok(Data::new()),
        Ok(None) => Err(format!("secret \"{name}\" not found")),
        Err(error) => Err(error.to_string()),
    }
}

fn bits(mode: Option<i32>) -> u32 {
    u32::try_from(mode.unwrap_or(MODE)).unwrap_or(0o644) & 0o777
}

fn select(
    payload: &mut Payload,
    noun: &str,
    data: &Data,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
    optional: bool,
) -> Result<(), String> {
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        payload.extend(data.iter().map(|(k, v)| (k.clone(), File { data: v.clone(), mode: bits(mode), owner: None })));
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                let file = File { data: value.clone(), mode: bits(item.mode.or(mode)), owner: None };
                payload.insert(item.path.clone(), file);
            }
            None if optional => {}
            None => return Err(format!("references non-existent {noun} key: {}", item.key)),
        }
    }
    Ok(())
}

fn downward(
    payload: &mut Payload,
    pod: &Pod,
    facts: &Facts,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: Option<i32>,
) -> Result<(), String> {
    for item in items.into_iter().flatten() {
        let value = if let Some(source) = &item.field_ref {
            fields::field(pod, facts, &source.field_path)
        } else if let Some(source) = &item.resource_field_ref {
            fields::resource(pod, None, facts, source)
        } else {
            continue;
        };
        let data = value.map_err(|e| e.to_string())?.into_bytes();
        payload.insert(item.path.clone(), File { data, mode: bits(item.mode.or(mode)), owner: None });
    }
    Ok(())
}
