//! Pods with names and volumes of their own.

use crate::core::persistent_volume_claim;
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table, workload};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::{Value, json};

pub struct StatefulSet;

impl Kind for StatefulSet {
    built_in!(
        "io.k8s.api.apps.v1.StatefulSet",
        Names::new("apps", "v1", "StatefulSet", "statefulsets", Scope::Namespaced).short(&["sts"]).categories(&["all"])
    );

    fn has_generation(&self) -> bool {
        true
    }

    /// Pods take their host names from it.
    fn check_name(&self, name: &str, is_prefix: bool) -> Vec<String> {
        validate::dns_label(name, is_prefix)
    }

    fn default(&self, object: &mut Value) {
        value::default(object, &["spec", "podManagementPolicy"], "OrderedReady");
        if value::text(object, &["spec", "updateStrategy", "type"]).is_empty() {
            value::set(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
            value::default(object, &["spec", "updateStrategy", "rollingUpdate"], json!({}));
        }
        let rolling = ["spec", "updateStrategy", "rollingUpdate"];
        if value::text(object, &["spec", "updateStrategy", "type"]) == "RollingUpdate" && value::at(object, &rolling).is_some() {
            value::default(object, &["spec", "updateStrategy", "rollingUpdate", "partition"], 0);
        }
        for when in ["whenDeleted", "whenScaled"] {
            value::default(object, &["spec", "persistentVolumeClaimRetentionPolicy", when], "Retain");
        }
        value::default(object, &["spec", "replicas"], 1);
        value::default(object, &["spec", "revisionHistoryLimit"], 10);
        workload::default_template(object, &["spec", "template"]);
        for claim in value::items_mut(object, &["spec", "volumeClaimTemplates"]) {
            value::set(claim, &["apiVersion"], "v1");
            value::set(claim, &["kind"], "PersistentVolumeClaim");
            value::default(claim, &["spec", "volumeMode"], "Filesystem");
            value::default(claim, &["status", "phase"], "Pending");
        }
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        match value::text(spec, &["podManagementPolicy"]) {
            "" => errors.required(&at.child("podManagementPolicy"), ""),
            "OrderedReady" | "Parallel" => {}
            other => errors.invalid(&at.child("podManagementPolicy"), other, "must be 'OrderedReady' or 'Parallel'"),
        }
        update_strategy(get(spec, "updateStrategy"), &at.child("updateStrategy"), &mut errors);
        if let Some(policy) = spec.get("persistentVolumeClaimRetentionPolicy") {
            for when in ["whenDeleted", "whenScaled"] {
                let found = value::text(policy, &[when]);
                if !matches!(found, "Retain" | "Delete") {
                    let at = at.child("persistentVolumeClaimRetentionPolicy").child(when);
                    errors.not_supported(&at, found, &["Retain", "Delete"]);
                }
            }
        }
        rules::not_negative(spec, &["replicas", "minReadySeconds"], &at, &mut errors);
        rules::not_negative(get(spec, "ordinals"), &["start"], &at.child("ordinals"), &mut errors);
        workload::selector(spec, &at, true, "empty selector is invalid for statefulset", &mut errors);
        let template = at.child("template");
        if workload::selector_matches(spec, &at, Some(""), &mut errors) {
            errors.extend(workload::validate_template(&effective_template(spec), &template));
        }
        workload::always_running(get(spec, "template"), &template, "StatefulSet", &mut errors);
        errors
    }

    fn validate_create(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        let service = value::text(spec, &["serviceName"]);
        if !service.is_empty() {
            rules::messages(validate::dns_label(service, false), service, &at.child("serviceName"), &mut errors);
        }
        for (i, claim) in value::items(spec, &["volumeClaimTemplates"]).iter().enumerate() {
            let at = at.child("volumeClaimTemplates").index(i).child("spec");
            errors.extend(persistent_volume_claim::validate_spec(get(claim, "spec"), &at));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        const MUTABLE: [&str; 7] = [
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy",
            "minReadySeconds",
        ];
        let mut errors = FieldErrors::new();
        let (new, old) = (get(new, "spec"), get(old, "spec"));
        let names = ["selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"];
        if names.iter().any(|name| !rules::same(get(new, name), get(old, name))) {
            let (last, others) = (MUTABLE[6], MUTABLE[..6].iter().map(|m| format!("'{m}'")).collect::<Vec<_>>().join(", "));
            errors.forbidden(
                &path("spec"),
                &format!("updates to statefulset spec for fields other than {others} and '{last}' are forbidden"),
            );
        }
        errors
    }

    fn validate_status(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (status, at) = (get(new, "status"), path("status"));
        let counters = [
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "observedGeneration",
            "collisionCount",
        ];
        rules::not_negative(status, &counters, &at, &mut errors);
        for name in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
            rules::not_greater(status, name, "replicas", &at, "cannot be greater than status.replicas", &mut errors);
        }
        let message = "cannot be greater than status.readyReplicas";
        rules::not_greater(status, "availableReplicas", "readyReplicas", &at, message, &mut errors);
        rules::not_decremented(status, get(old, "status"), "collisionCount", &at, &mut errors);
        errors
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = workload::template_warnings(object, old, &["spec", "template"], false);
        for (i, claim) in value::items(object, &["spec", "volumeClaimTemplates"]).iter().enumerate() {
            let here = path("spec.volumeClaimTemplates").index(i);
            let here = if old.is_some() { here.child("Spec") } else { here };
            warnings.extend(persistent_volume_claim::spec_warnings(get(claim, "spec"), &here));
        }
        if value::int(object, &["spec", "revisionHistoryLimit"]).is_some_and(|limit| limit < 0) {
            warnings
                .push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".into());
        }
        warnings
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name(), Column::new("Ready", "string"), Column::age()];
        columns.extend(workload::wide_columns().into_iter().take(2));
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let number = |path: &[&str]| value::int(object, path).unwrap_or(0);
        let ready = format!("{}/{}", number(&["status", "readyReplicas"]), number(&["spec", "replicas"]));
        let mut cells = vec![table::name(object), ready.into(), table::age(object, now).into()];
        cells.extend(workload::wide_cells(get(object, "spec")).into_iter().take(2));
        cells
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![workload::scale(), Subresource::Status]
    }
}

fn update_strategy(strategy: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let rolling = strategy.get("rollingUpdate");
    let rolling_at = at.child("rollingUpdate");
    match value::text(strategy, &["type"]) {
        "" => errors.required(at, ""),
        "OnDelete" => {
            if let Some(rolling) = rolling {
                errors.invalid(&rolling_at, rolling.clone(), "only allowed for updateStrategy 'RollingUpdate'");
            }
        }
        "RollingUpdate" => {
            let Some(rolling) = rolling else { return };
            rules::not_negative(rolling, &["partition"], &rolling_at, errors);
            if let Some(unavailable) = rolling.get("maxUnavailable") {
                let at = rolling_at.child("maxUnavailable");
                rules::positive_int_or_percent(unavailable, &at, errors);
                if rules::int_or_percent(unavailable) == 0 {
                    errors.invalid(&at, unavailable.clone(), "cannot be 0");
                }
                rules::not_more_than_100_percent(unavailable, &at, errors);
            }
        }
        _ => errors.invalid(at, strategy.clone(), "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

/// The template as its pods will have it: host names are the controller's, and each claim is a volume.
fn effective_template(spec: &Value) -> Value {
    let mut template = get(spec, "template").clone();
    value::remove(&mut template, &["spec", "subdomain"]);
    value::remove(&mut template, &["spec", "hostname"]);
    let claims: Vec<&str> = value::items(spec, &["volumeClaimTemplates"]).iter().map(|c| value::text(c, &["metadata", "name"])).collect();
    if !claims.is_empty() {
        let own = value::items(&template, &["spec", "volumes"]).iter().filter(|v| !claims.contains(&value::text(v, &["name"]))).cloned();
        let volumes: Vec<Value> =
            claims.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}})).chain(own).collect();
        value::set(&mut template, &["spec", "volumes"], volumes);
    }
    template
}
