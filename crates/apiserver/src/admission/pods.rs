//! Plugins that fill in pods: priority, tolerations, runtime class.

use super::service_account::push;
use super::{Acts, Plugin, Request};
use async_trait::async_trait;
use meta::{ApiError, value};
use serde_json::{Value, json};

pub struct Priority;

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn acts(&self) -> Acts {
        Acts::MutatesAndValidates
    }

    async fn mutate(&self, request: &Request<'_>, pod: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        if !request.creates("", "pods") {
            return Ok(());
        }
        let name = value::text(pod, &["spec", "priorityClassName"]).to_string();
        let class = if name.is_empty() {
            let all = request.objects("scheduling.k8s.io", "priorityclasses", None);
            let all: Vec<Value> = all.iter().filter(|c| c.mentions("\"globalDefault\":true")).map(|c| c.value()).collect();
            // Of several defaults the least holds, so that none gains by adding one.
            all.into_iter().filter(|c| value::flag(c, &["globalDefault"])).min_by_key(|c| value::int(c, &["value"]).unwrap_or(0))
        } else {
            let found = request.object("scheduling.k8s.io", "priorityclasses", "", &name);
            Some(found.ok_or_else(|| request.forbidden(format!("no PriorityClass with name {name} was found")))?.value())
        };
        let class = class.unwrap_or_default();
        let priority = value::int(&class, &["value"]).unwrap_or(0);
        if let Some(given) = value::int(pod, &["spec", "priority"])
            && given != priority
        {
            return Err(request.forbidden(format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
            )));
        }
        value::set(pod, &["spec", "priority"], priority);
        if name.is_empty() && !class.is_null() {
            value::set(pod, &["spec", "priorityClassName"], value::text(&class, &["metadata", "name"]));
        }
        let policy = match value::text(&class, &["preemptionPolicy"]) {
            "" => "PreemptLowerPriority",
            policy => policy,
        };
        let given = value::text(pod, &["spec", "preemptionPolicy"]);
        if !given.is_empty() && given != policy {
            return Err(request.forbidden(format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
            )));
        }
        value::set(pod, &["spec", "preemptionPolicy"], policy);
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, class: &Value, _: Option<&Value>) -> Result<(), ApiError> {
        if !(request.creates("scheduling.k8s.io", "priorityclasses") || request.updates("scheduling.k8s.io", "priorityclasses"))
            || !value::flag(class, &["globalDefault"])
        {
            return Ok(());
        }
        let all = request.values("scheduling.k8s.io", "priorityclasses", None);
        let other = all.iter().find(|c| value::flag(c, &["globalDefault"]) && value::text(c, &["metadata", "name"]) != request.name);
        other.map_or(Ok(()), |other| {
            let name = value::text(other, &["metadata", "name"]);
            Err(request.forbidden(format!("PriorityClass {name} is already marked as default. Only one default can exist")))
        })
    }
}

pub struct DefaultTolerationSeconds;

const SECONDS: u32 = 300;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn acts(&self) -> Acts {
        Acts::Mutates
    }

    async fn mutate(&self, request: &Request<'_>, pod: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        if !(request.creates("", "pods") || request.updates("", "pods")) {
            return Ok(());
        }
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            let covers = |t: &Value| {
                let (k, effect) = (value::text(t, &["key"]), value::text(t, &["effect"]));
                (k == key || k.is_empty()) && (effect == "NoExecute" || effect.is_empty())
            };
            if value::items(pod, &["spec", "tolerations"]).iter().any(covers) {
                continue;
            }
            if let Some(spec) = pod.get_mut("spec") {
                push(spec, "tolerations", json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}));
            }
        }
        Ok(())
    }
}

pub struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn acts(&self) -> Acts {
        Acts::Mutates
    }

    async fn mutate(&self, request: &Request<'_>, pod: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        let name = value::text(pod, &["spec", "runtimeClassName"]).to_string();
        if !request.creates("", "pods") {
            return Ok(());
        }
        if name.is_empty() {
            if value::at(pod, &["spec", "overhead"]).is_some_and(|o| o.as_object().is_some_and(|o| !o.is_empty())) {
                return Err(request.forbidden("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"));
            }
            return Ok(());
        }
        let found = request.object("node.k8s.io", "runtimeclasses", "", &name);
        let class = found.ok_or_else(|| request.forbidden(format!("pod rejected: RuntimeClass \"{name}\" not found")))?.value();
        let overhead = value::at(&class, &["overhead", "podFixed"]).cloned();
        match (value::at(pod, &["spec", "overhead"]), overhead) {
            (Some(given), wanted) if wanted.as_ref() != Some(given) => {
                return Err(request.forbidden("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"));
            }
            (_, Some(overhead)) => value::set(pod, &["spec", "overhead"], overhead),
            _ => {}
        }
        if let Some(Value::Object(wanted)) = value::at(&class, &["scheduling", "nodeSelector"]) {
            for (key, to) in wanted {
                let given = value::text(pod, &["spec", "nodeSelector", key]);
                if !given.is_empty() && Some(given) != to.as_str() {
                    return Err(request.forbidden("conflict: runtimeClass.scheduling.nodeSelector and the pod's nodeSelector"));
                }
                value::set(pod, &["spec", "nodeSelector", key], to.clone());
            }
        }
        let tolerations = value::items(&class, &["scheduling", "tolerations"]).to_vec();
        for toleration in tolerations {
            if !value::items(pod, &["spec", "tolerations"]).contains(&toleration)
                && let Some(spec) = pod.get_mut("spec")
            {
                push(spec, "tolerations", toleration);
            }
        }
        Ok(())
    }
}

/// A node that has just come is not used before its conditions are known.
pub struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn acts(&self) -> Acts {
        Acts::Mutates
    }

    async fn mutate(&self, request: &Request<'_>, node: &mut Value, _: Option<&Value>) -> Result<(), ApiError> {
        let key = "node.kubernetes.io/not-ready";
        if !request.creates("", "nodes") || value::items(node, &["spec", "taints"]).iter().any(|t| value::text(t, &["key"]) == key) {
            return Ok(());
        }
        value::object(node, &["spec"]);
        if let Some(spec) = node.get_mut("spec") {
            push(spec, "taints", json!({"key": key, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}
