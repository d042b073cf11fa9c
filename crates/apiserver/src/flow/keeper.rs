//! Keeps the objects that must be there, takes up what objects say, and tells on each flow schema whether its
//! priority level exists.

use super::{Dispatcher, bootstrap, levels, schemas};
use crate::conditions;
use crate::server::ApiServer;
use meta::{ApiError, GroupResource, time, value};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// Changes often come together.
const SETTLE: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_secs(5);

/// Returns once requests are told apart; goes on until the server stops.
pub async fn start(server: &ApiServer) -> Result<(), ApiError> {
    // Subscribed first, so that nothing changes unseen.
    let mut changes = [server.objects().changes(&levels()), server.objects().changes(&schemas())];
    keep(server).await?;
    take_up(server);
    let server = server.clone();
    let stop = server.inner.stop.clone();
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        let lending = server.inner.flow.lending();
        let mut period = tokio::time::interval_at(Instant::now() + lending, lending);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let [of_levels, of_schemas] = &mut changes;
            let changed = tokio::select! {
                change = of_levels.recv() => change,
                change = of_schemas.recv() => change,
                _ = period.tick() => {
                    server.inner.flow.share(&server.inner.metrics);
                    continue;
                }
            };
            if changed.is_none() {
                return;
            }
            tokio::time::sleep(SETTLE).await;
            for receiver in &mut changes {
                while receiver.try_recv().is_ok() {}
            }
            loop {
                let dangling = take_up(&server);
                let kept = async {
                    keep(&server).await?;
                    tell(&server, &dangling).await
                };
                match kept.await {
                    Ok(()) => break,
                    Err(error) => {
                        tracing::warn!(%error, "flow schemas could not be kept");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        }
    }));
    Ok(())
}

fn all(server: &ApiServer, resource: &GroupResource) -> Vec<Value> {
    server.objects().list(resource, None).iter().map(|o| o.value()).collect()
}

fn take_up(server: &ApiServer) -> HashMap<String, bool> {
    let flow: &Dispatcher = &server.inner.flow;
    flow.load(&all(server, &schemas()), &all(server, &levels()), &server.inner.metrics)
}

/// Makes what is missing, and puts right what is ours.
async fn keep(server: &ApiServer) -> Result<(), ApiError> {
    for mut wanted in bootstrap::objects() {
        let resource = if value::text(&wanted, &["kind"]) == "FlowSchema" { schemas() } else { levels() };
        let name = value::text(&wanted, &["metadata", "name"]).to_string();
        let Some(there) = server.objects().get(&resource, "", &name) else {
            match server.create_object(&resource, wanted).await {
                Err(error) if error.reason != "AlreadyExists" => return Err(error),
                _ => continue,
            }
        };
        if let Some(found) = server.catalog().by_resource(&resource) {
            found.kind.default(&mut wanted);
        }
        let there = there.value();
        if !bootstrap::ours(&there) || there["spec"] == wanted["spec"] {
            continue;
        }
        let change = |object: &mut Value| {
            object["spec"] = wanted["spec"].clone();
            Ok(())
        };
        match server.update_object(&resource, "", &name, change).await {
            Err(error) if error.code != 404 => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// `found`: by schema, whether its level is there.
async fn tell(server: &ApiServer, found: &HashMap<String, bool>) -> Result<(), ApiError> {
    for schema in all(server, &schemas()) {
        let name = value::text(&schema, &["metadata", "name"]);
        let Some(found) = found.get(name) else { continue };
        let level = value::text(&schema, &["spec", "priorityLevelConfiguration", "name"]);
        let wanted = condition(level, *found);
        if current(&schema).is_some_and(|c| ["status", "reason", "message"].iter().all(|f| c.get(f) == wanted.get(f))) {
            continue;
        }
        let change = |object: &mut Value| {
            conditions::set(object, wanted.clone(), &time::now());
            Ok(())
        };
        match server.update_status(&schemas(), "", name, change).await {
            Err(error) if error.code != 404 => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn current(schema: &Value) -> Option<&Value> {
    value::items(schema, &["status", "conditions"]).iter().find(|c| c["type"] == "Dangling")
}

fn condition(level: &str, found: bool) -> Value {
    let names = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, message) = if found {
        ("False", "Found", format!("{names} and it exists"))
    } else {
        ("True", "NotFound", format!("{names} but there is no such object"))
    };
    json!({"type": "Dangling", "status": status, "reason": reason, "message": message})
}
