//! Pods that run to completion.

use super::{job_spec, job_status};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table, workload};
use jiff::Timestamp;
use meta::labels::Selector;
use meta::{FieldErrors, validate, value};
use serde_json::{Value, json};
use std::borrow::Cow;

pub struct Job;

const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
const UID_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];

impl Kind for Job {
    built_in!("io.k8s.api.batch.v1.Job", Names::new("batch", "v1", "Job", "jobs", Scope::Namespaced).categories(&["all"]));

    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        job_spec::default(object, &["spec"]);
        let labels = value::at(object, &["spec", "template", "metadata", "labels"]).cloned();
        let own = value::at(object, &["metadata", "labels"]).and_then(Value::as_object).is_some_and(|labels| !labels.is_empty());
        if let (Some(labels), false) = (labels, own) {
            value::set(object, &["metadata", "labels"], labels);
        }
    }

    /// Labels the pods with the job's name and UID, and selects them by the UID.
    fn prepare_create(&self, object: &mut Value) {
        value::remove(object, &["status"]);
        if value::flag(object, &["spec", "manualSelector"]) {
            return;
        }
        let name = value::text(object, &["metadata", "name"]).to_string();
        let uid = value::text(object, &["metadata", "uid"]).to_string();
        for (labels, text) in [(NAME_LABELS, &name), (UID_LABELS, &uid)] {
            for label in labels {
                value::default(object, &["spec", "template", "metadata", "labels", label], text.as_str());
            }
        }
        value::default(object, &["spec", "selector", "matchLabels", UID_LABELS[1]], uid);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        generated_selector(object, &mut errors);
        errors.extend(job_spec::validate(spec, &at));
        let selector = get(spec, "selector");
        if selector.is_null() {
            errors.required(&at.child("selector"), "");
        } else {
            errors.extend(validate::label_selector(selector, &at.child("selector")));
        }
        workload::selector_matches(spec, &at, None, &mut errors);
        let name = value::text(object, &["metadata", "name"]);
        if let (true, Some(completions @ 1..)) = (job_spec::indexed(spec), value::int(spec, &["completions"])) {
            let host = format!("{name}-{}", completions - 1);
            if !validate::dns_label(&host, false).is_empty() {
                errors.invalid(&path("metadata.name"), name, &format!("will not able to create pod with invalid DNS label: {host}"));
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, before, at) = (get(new, "spec"), get(old, "spec"), path("spec"));
        completions(spec, before, &mut errors);
        rules::immutable_fields(spec, before, &["selector"], &at, &mut errors);
        template(old, get(spec, "template"), get(before, "template"), &mut errors);
        let fixed = ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"];
        rules::immutable_fields(spec, before, &fixed, &at, &mut errors);
        errors
    }

    fn validate_status(&self, new: &Value, old: &Value) -> FieldErrors {
        job_status::validate(new, old)
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        let name = value::text(object, &["metadata", "name"]);
        let messages = validate::dns_label(name, false);
        if old.is_none() && !messages.is_empty() {
            warnings.push(format!(
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
                messages.join(" ")
            ));
        }
        warnings.extend(job_spec::warnings(get(object, "spec"), &path("spec")));
        warnings
    }

    fn selectable_fields(&self) -> Vec<Cow<'static, str>> {
        vec!["status.successful".into()]
    }

    fn selectable(&self, object: &Value, _field: &str) -> String {
        value::int(object, &["status", "succeeded"]).unwrap_or(0).to_string()
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::name()];
        columns.extend(["Status", "Completions", "Duration"].map(|name| Column::new(name, "string")));
        columns.push(Column::age());
        columns.extend(workload::wide_columns());
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (get(object, "spec"), get(object, "status"));
        let succeeded = value::int(status, &["succeeded"]).unwrap_or(0);
        let completions = match (value::int(spec, &["completions"]), value::int(spec, &["parallelism"]).unwrap_or(0)) {
            (Some(completions), _) => format!("{succeeded}/{completions}"),
            (None, parallelism @ 2..) => format!("{succeeded}/1 of {parallelism}"),
            (None, _) => format!("{succeeded}/1"),
        };
        let duration = match meta::time::parse(value::text(status, &["startTime"])) {
            Ok(start) => {
                let end = meta::time::parse(value::text(status, &["completionTime"])).unwrap_or(now);
                meta::time::human_duration(end.as_second() - start.as_second())
            }
            Err(_) => String::new(),
        };
        let mut cells =
            vec![table::name(object), phase(object).into(), completions.into(), duration.into(), table::age(object, now).into()];
        cells.extend(workload::wide_cells(spec));
        cells
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }

    /// As it was before foreground deletion existed.
    fn default_propagation(&self) -> &'static str {
        "Orphan"
    }
}

fn phase(object: &Value) -> &'static str {
    let holds = |ty| rules::condition(object, ty) == "True";
    match () {
        () if holds("Complete") => "Complete",
        () if holds("Failed") => "Failed",
        () if value::at(object, &["metadata", "deletionTimestamp"]).is_some() => "Terminating",
        () if holds("Suspended") => "Suspended",
        () if holds("FailureTarget") => "FailureTarget",
        () if holds("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

/// Nobody may have put another job's labels where this one's belong.
fn generated_selector(object: &Value, errors: &mut FieldErrors) {
    if value::flag(object, &["spec", "manualSelector"]) || value::at(object, &["spec", "selector"]).is_none() {
        return;
    }
    let (name, uid) = (value::text(object, &["metadata", "name"]), value::text(object, &["metadata", "uid"]));
    if uid.is_empty() {
        errors.required(&path("metadata.uid"), "");
    }
    let mut expected = json!({});
    for (label, text) in [(UID_LABELS[0], uid), (NAME_LABELS[0], name), (UID_LABELS[1], uid), (NAME_LABELS[1], name)] {
        value::set(&mut expected, &[label], text);
        let at = path("spec.template.metadata.labels");
        match value::at(object, &["spec", "template", "metadata", "labels", label]).and_then(Value::as_str) {
            Some(found) if found == text => {}
            Some(found) => errors.invalid(&at.key(label), found, &format!("must be '{text}'")),
            None => errors.required(&at.key(label), &format!("must be '{text}'")),
        }
    }
    let selector = value::at(object, &["spec", "selector"]).unwrap_or(&Value::Null);
    if Selector::from_value(selector).is_ok_and(|s| !s.matches_labels(&expected)) {
        errors.invalid(&path("spec.selector"), selector.clone(), "`selector` not auto-generated");
    }
}

/// Indexed jobs may scale, completions and parallelism together.
fn completions(spec: &Value, before: &Value, errors: &mut FieldErrors) {
    let (now, was, at) = (get(spec, "completions"), get(before, "completions"), path("spec.completions"));
    if !job_spec::indexed(spec) {
        rules::immutable(now, was, &at, errors);
    } else if now != was && !now.is_null() && now != get(spec, "parallelism") {
        errors.invalid(&at, now.clone(), "can only be modified in tandem with spec.parallelism");
    }
}

/// The template is fixed, but while the job is suspended and has no pods, scheduling and resources may change.
fn template(old: &Value, now: &Value, was: &Value, errors: &mut FieldErrors) {
    let suspended = value::flag(old, &["spec", "suspend"])
        && (value::at(old, &["status", "startTime"]).is_none() || rules::condition(old, "Suspended") == "True")
        && value::int(old, &["status", "active"]).unwrap_or(0) == 0;
    if !suspended {
        rules::immutable(now, was, &path("spec.template"), errors);
        return;
    }
    let mut was = was.clone();
    for field in [
        &["spec", "affinity", "nodeAffinity"][..],
        &["spec", "nodeSelector"],
        &["spec", "tolerations"],
        &["spec", "schedulingGates"],
        &["metadata", "annotations"],
        &["metadata", "labels"],
    ] {
        value::carry(&mut was, now, field);
    }
    if value::at(&was, &["spec", "affinity"]).and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
        value::carry(&mut was, now, &["spec", "affinity"]);
    }
    for list in ["containers", "initContainers"] {
        let containers = value::items(now, &["spec", list]);
        let before = value::items_mut(&mut was, &["spec", list]);
        if containers.len() == before.len() {
            for (now, was) in containers.iter().zip(before).filter(|(now, was)| get(now, "name") == get(was, "name")) {
                value::carry(was, now, &["resources"]);
            }
        }
    }
    rules::immutable(get(now, "spec"), get(&was, "spec"), &path("spec.template.spec"), errors);
}
