//! What the status of a job may say, and how it may change.

use super::job_spec::{self, count_indexes, intervals};
use crate::rules::{self, condition, get, path};
use meta::{FieldErrors, value};
use serde_json::Value;

pub fn validate(new: &Value, old: &Value) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let (spec, status, before, at) = (get(new, "spec"), get(new, "status"), get(old, "status"), path("status"));
    let conditions = at.child("conditions");
    let holds = |ty: &str| condition(new, ty) == "True";
    let held = |ty: &str| condition(old, ty) == "True";
    let int = |name: &str| value::int(status, &[name]).unwrap_or(0);
    rules::not_negative(status, &["active", "succeeded", "failed", "ready", "terminating"], &at, &mut errors);
    uncounted(status, &mut errors);
    let (complete, failed) = (holds("Complete"), holds("Failed"));
    let (target, criteria) = (holds("FailureTarget"), holds("SuccessCriteriaMet"));
    let mut refuse = |wrong: bool, message: &str| {
        if wrong {
            rules::invalid_unquoted(&conditions, message, &mut errors);
        }
    };
    refuse(complete && failed, "cannot set Complete=True and Failed=true conditions");
    refuse(complete && target, "cannot set Complete=True and FailureTarget=true conditions");
    refuse(failed && !held("Failed") && !target, "cannot set Failed=True condition without the FailureTarget=true condition");
    refuse(complete && !held("Complete") && !criteria, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    refuse(criteria && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    refuse(criteria && target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    for ty in ["Failed", "Complete", "FailureTarget"] {
        refuse(held(ty) && !holds(ty), &format!("cannot disable the terminal {ty}=True condition"));
    }
    refuse(held("SuccessCriteriaMet") && !criteria, "cannot disable the SuccessCriteriaMet=True condition");
    refuse(
        held("Complete") && !held("SuccessCriteriaMet") && criteria,
        "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
    );
    times(new, old, complete, complete || failed, &mut errors);
    let finished = complete || failed;
    if finished && int("active") > 0 {
        errors.invalid(&at.child("active"), int("active"), "active>0 is invalid for finished job");
    }
    if finished && int("terminating") > 0 {
        errors.invalid(&at.child("terminating"), int("terminating"), "terminating>0 is invalid for finished job");
    }
    if int("ready") > int("active") {
        errors.invalid(&at.child("ready"), int("ready"), "cannot set more ready pods than active");
    }
    let pods = get(status, "uncountedTerminatedPods");
    if finished && ["succeeded", "failed"].iter().any(|list| !value::items(pods, &[list]).is_empty()) {
        errors.invalid(&at.child("uncountedTerminatedPods"), pods.clone(), "must be empty for finished job");
    }
    indexes(spec, status, &mut errors);
    for name in ["failed", "succeeded"] {
        if int(name) < value::int(before, &[name]).unwrap_or(0) {
            errors.invalid(&at.child(name), int(name), &format!("cannot decrease the {name} counter"));
        }
    }
    errors
}

fn uncounted(status: &Value, errors: &mut FieldErrors) {
    let mut seen: Vec<&str> = Vec::new();
    for list in ["succeeded", "failed"] {
        for (i, uid) in value::items(status, &["uncountedTerminatedPods", list]).iter().enumerate() {
            let at = path("status.uncountedTerminatedPods").child(list).index(i);
            match uid.as_str().unwrap_or_default() {
                "" => errors.invalid(&at, "", "must not be empty"),
                uid if seen.contains(&uid) => errors.duplicate(&at, uid),
                uid => seen.push(uid),
            }
        }
    }
}

fn times(new: &Value, old: &Value, complete: bool, finished: bool, errors: &mut FieldErrors) {
    let at = path("status");
    let of = |object, name| value::text(object, &["status", name]);
    let (start, end) = (of(new, "startTime"), of(new, "completionTime"));
    let end_at = at.child("completionTime");
    if !end.is_empty() && !complete {
        errors.invalid(&end_at, end, "cannot set completionTime when there is no Complete=True condition");
    }
    if end.is_empty() && complete {
        errors.required(&end_at, "completionTime is required for Complete jobs");
    }
    if let (Ok(start), Ok(parsed)) = (meta::time::parse(start), meta::time::parse(end))
        && parsed < start
    {
        errors.invalid(&end_at, end, "must be equal to or after `startTime`");
    }
    if start.is_empty() && finished {
        errors.required(&at.child("startTime"), "startTime is required for finished job");
    }
    let was = of(old, "completionTime");
    if !end.is_empty() && !was.is_empty() && end != was {
        errors.invalid(&end_at, end, rules::IMMUTABLE);
    }
    let was = of(old, "startTime");
    if !was.is_empty() && start != was && !value::flag(new, &["spec", "suspend"]) {
        errors.invalid(&at.child("startTime"), start, "field is immutable for unsuspended job once set");
    }
}

fn indexes(spec: &Value, status: &Value, errors: &mut FieldErrors) {
    let at = path("status");
    let (completed, failed) = (value::text(status, &["completedIndexes"]), get(status, "failedIndexes").as_str());
    let completions = value::int(spec, &["completions"]);
    let per_index = spec.get("backoffLimitPerIndex").is_some();
    if let Some(completions) = completions {
        if let Err(e) = count_indexes(completed, completions) {
            errors.invalid(&at.child("completedIndexes"), completed, &format!("error parsing completedIndexes: {e}"));
        }
        if let (Some(failed), true) = (failed, per_index)
            && let Err(e) = count_indexes(failed, completions)
        {
            errors.invalid(&at.child("failedIndexes"), failed, &format!("error parsing failedIndexes: {e}"));
        }
        if let Some(failed) = failed
            && let (Ok(done), Ok(lost)) = (intervals(completed, completions), intervals(failed, completions))
        {
            let overlap = done.iter().flat_map(|a| lost.iter().map(move |b| (a, b))).find(|(a, b)| a.0 <= b.1 && b.0 <= a.1);
            if let Some((a, b)) = overlap {
                let message = format!("failedIndexes and completedIndexes overlap at index: {}", a.0.max(b.0));
                errors.invalid(&at.child("failedIndexes"), failed, &message);
            }
        }
    }
    if !completed.is_empty() && !job_spec::indexed(spec) {
        let message = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.invalid(&at.child("completedIndexes"), completed, message);
    }
    if let (Some(failed), false) = (failed, per_index) {
        errors.invalid(&at.child("failedIndexes"), failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
}
