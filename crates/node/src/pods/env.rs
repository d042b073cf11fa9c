//! The environment of a container.

use super::expand::expand;
use crate::fields::{self, Facts};
use crate::objects::Objects;
use client::Informer;
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Service};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Names in the order in which they came, each once.
#[derive(Default)]
pub struct Environment {
    order: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Environment {
    fn set(&mut self, name: String, value: String) {
        if self.values.insert(name.clone(), value).is_none() {
            self.order.push(name);
        }
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.order.iter().filter_map(|n| self.values.get(n).map(|v| (n.as_str(), v.as_str())))
    }
}

/// The error is what a CreateContainerConfigError says.
pub async fn environment(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    objects: &Objects,
    services: &Informer<Service>,
) -> Result<Environment, String> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut env = Environment::default();
    let of_services = service_variables(pod, &namespace, services);
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.clone().unwrap_or_default();
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        if let Some(map) = &source.config_map_ref {
            let object = objects.config_map(&namespace, &map.name).await.map_err(|e| e.to_string())?;
            match object {
                Some(object) => found.extend(object.data.unwrap_or_default()),
                None if map.optional == Some(true) => {}
                None => return Err(format!("configmap \"{}\" not found", map.name)),
            }
        }
        if let Some(secret) = &source.secret_ref {
            let object = objects.secret(&namespace, &secret.name).await.map_err(|e| e.to_string())?;
            match object {
                Some(object) => {
                    found.extend(object.data.unwrap_or_default().into_iter().map(|(k, v)| (k, String::from_utf8_lossy(&v.0).into_owned())))
                }
                None if secret.optional == Some(true) => {}
                None => return Err(format!("secret \"{}\" not found", secret.name)),
            }
        }
        for (key, value) in found {
            env.set(format!("{prefix}{key}"), value);
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) if !text.is_empty() => Some(expand(text, &|name| env.get(name).or_else(|| of_services.get(name).cloned()))),
            (_, Some(_)) => referred(pod, container, &namespace, facts, objects, variable).await?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            env.set(variable.name.clone(), value);
        }
    }
    for (name, value) in of_services {
        if !env.values.contains_key(&name) {
            env.set(name, value);
        }
    }
    Ok(env)
}

async fn referred(
    pod: &Pod,
    container: &Container,
    namespace: &str,
    facts: &Facts,
    objects: &Objects,
    variable: &EnvVar,
) -> Result<Option<String>, String> {
    let Some(source) = &variable.value_from else { return Ok(None) };
    if let Some(field) = &source.field_ref {
        return fields::field(pod, facts, &field.field_path).map(Some).map_err(|e| e.to_string());
    }
    if let Some(resource) = &source.resource_field_ref {
        return fields::resource(pod, Some(container), facts, resource).map(Some).map_err(|e| e.to_string());
    }
    if let Some(key) = &source.config_map_key_ref {
        let optional = key.optional == Some(true);
        let object = objects.config_map(namespace, &key.name).await.map_err(|e| e.to_string())?;
        return match object {
            Some(object) => match object.data.and_then(|mut d| d.remove(&key.key)) {
                Some(value) => Ok(Some(value)),
                None if optional => Ok(None),
                None => Err(format!("couldn't find key {} in ConfigMap {namespace}/{}", key.key, key.name)),
            },
            None if optional => Ok(None),
            None => Err(format!("configmap \"{}\" not found", key.name)),
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let optional = key.optional == Some(true);
        let object = objects.secret(namespace, &key.name).await.map_err(|e| e.to_string())?;
        return match object {
            Some(object) => match object.data.and_then(|mut d| d.remove(&key.key)) {
                Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
                None if optional => Ok(None),
                None => Err(format!("couldn't find key {} in Secret {namespace}/{}", key.key, key.name)),
            },
            None if optional => Ok(None),
            None => Err(format!("secret \"{}\" not found", key.name)),
        };
    }
    if source.file_key_ref.is_some() {
        return Err(format!("env variable {}: fileKeyRef is not supported on this node", variable.name));
    }
    Ok(None)
}

/// `<NAME>_SERVICE_HOST` and its kin, of the services of the pod's namespace and of `kubernetes`.
fn service_variables(pod: &Pod, namespace: &str, services: &Informer<Service>) -> BTreeMap<String, String> {
    let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let mut variables = BTreeMap::new();
    if let Some(api) = services.get("default", "kubernetes") {
        describe(&api, &mut variables);
    }
    if links {
        for service in services.list_in(namespace) {
            describe(&service, &mut variables);
        }
    }
    variables
}

fn describe(service: &Service, variables: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let name = variable_name(&service.name_any());
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_string() };
    let mut set = |suffix: String, value: String| drop(variables.insert(format!("{name}{suffix}"), value));
    set("_SERVICE_HOST".into(), ip.to_string());
    set("_SERVICE_PORT".into(), first.port.to_string());
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            set(format!("_SERVICE_PORT_{}", variable_name(port_name)), port.port.to_string());
        }
    }
    for (i, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if i == 0 {
            set("_PORT".into(), url.clone());
        }
        let prefix = format!("_PORT_{}_{protocol}", port.port);
        set(prefix.clone(), url);
        set(format!("{prefix}_PROTO"), protocol.to_lowercase());
        set(format!("{prefix}_PORT"), port.port.to_string());
        set(format!("{prefix}_ADDR"), ip.to_string());
    }
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}
