//! Addresses and node ports whose Service is gone, or never came to be, are free again.

use super::{addresses, port_records};
use crate::server::ApiServer;
use meta::{GroupResource, value};
use serde_json::Value;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A create may be under way for so long.
const YOUNG: i64 = 60;
const PERIOD: Duration = Duration::from_secs(60);

pub async fn run(server: &ApiServer, stop: CancellationToken) {
    let services = GroupResource::new("", "services");
    let mut changes = server.objects().changes(&services);
    let mut period = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {
                sweep(server, &services).await;
                if let Err(error) = port_records::sweep(server).await {
                    tracing::warn!(error = error.message, "cannot look for node ports that nobody has");
                }
            }
            change = changes.recv() => {
                let Some(change) = change else { return };
                let Some(old) = change.old else { continue };
                let (old, new) = (old.value(), change.new.map(|n| n.value()));
                give_back(server, &old, &new.as_ref().map(held).unwrap_or_default()).await;
                port_records::give_back(server, &old, new.as_ref()).await;
            }
        }
    }
}

/// The addresses of a Service but those it keeps, as far as they are its own.
pub async fn give_back(server: &ApiServer, service: &Value, kept: &[String]) {
    let owner = ["namespace", "name"].map(|f| value::text(service, &["metadata", f]));
    for address in held(service).into_iter().filter(|a| !kept.contains(a)) {
        let owned = server.objects().get(&addresses(), "", &address).filter(|a| {
            let parent = parent(&a.value());
            [parent.0.as_str(), parent.1.as_str()] == owner
        });
        if let Some(owned) = owned {
            free(server, &address, owned.uid()).await;
        }
    }
}

fn held(service: &Value) -> Vec<String> {
    let all = value::items(service, &["spec", "clusterIPs"]).iter().filter_map(Value::as_str);
    all.filter(|a| !a.is_empty() && *a != "None").map(str::to_string).collect()
}

/// Whose an address is: namespace and name of the Service.
pub fn parent(address: &Value) -> (String, String) {
    let text = |f| value::text(address, &["spec", "parentRef", f]).to_string();
    (text("namespace"), text("name"))
}

async fn sweep(server: &ApiServer, services: &GroupResource) {
    let objects = server.objects();
    for object in objects.list(&addresses(), None) {
        let address = object.value();
        let created = meta::time::parse(value::text(&address, &["metadata", "creationTimestamp"]));
        let young = created.is_ok_and(|t| jiff::Timestamp::now().as_second() - t.as_second() < YOUNG);
        let (namespace, name) = parent(&address);
        let used = objects.get(services, &namespace, &name).is_some_and(|s| held(&s.value()).iter().any(|a| a == object.name()));
        if !young && !used {
            free(server, object.name(), object.uid()).await;
        }
    }
}

async fn free(server: &ApiServer, address: &str, uid: &str) {
    match server.delete_object(&addresses(), "", address, Some(uid), None).await {
        Err(error) if error.code != 404 && error.code != 409 => tracing::warn!(address, error = error.message, "cannot free the address"),
        _ => {}
    }
}
