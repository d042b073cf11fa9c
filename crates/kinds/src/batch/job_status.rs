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
    // What was wrong before does not stand in the way of other changes; only what changes is looked at.
    let changed = |name: &str| get(status, name) != get(before, name);
    let turned = |ty: &str| holds(ty) != held(ty);
    let (complete, failed) = (holds("Complete"), holds("Failed"));
    let (target, criteria) = (holds("FailureTarget"), holds("SuccessCriteriaMet"));
    let (finished, ended) = (complete || failed, (complete || failed) != (held("Complete") || held("Failed")));
    let mut refuse = |wrong: bool, message: &str| {
        if wrong {
            rules::invalid_unquoted(&conditions, message, &mut errors);
        }
    };
    let either = |a: &str, b: &str| turned(a) || turned(b);
    refuse(complete && failed && either("Complete", "Failed"), "cannot set Complete=True and Failed=true conditions");
    refuse(complete && target && either("Complete", "FailureTarget"), "cannot set Complete=True and FailureTarget=true conditions");
    let no_target = failed && !target && (turned("Failed") || changed("failedIndexes"));
    refuse(no_target, "cannot set Failed=True condition without the FailureTarget=true condition");
    let no_criteria = complete && !criteria && either("Complete", "SuccessCriteriaMet");
    refuse(no_criteria, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    refuse(criteria && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    refuse(criteria && target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    let unmet = complete && !criteria && spec.get("successPolicy").is_some();
    refuse(unmet, "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
    for ty in ["Failed", "Complete", "FailureTarget"] {
        refuse(held(ty) && !holds(ty), &format!("cannot disable the terminal {ty}=True condition"));
    }
    refuse(held("SuccessCriteriaMet") && !criteria, "cannot disable the SuccessCriteriaMet=True condition");
    refuse(
        held("Complete") && !held("SuccessCriteriaMet") && criteria,
        "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
    );
    times(new, old, complete, ended, &mut errors);
    for name in ["active", "terminating"] {
        if finished && int(name) > 0 && (ended || changed(name)) {
            errors.invalid(&at.child(name), int(name), &format!("{name}>0 is invalid for finished job"));
        }
    }
    if int("ready") > int("active") && (changed("ready") || changed("active")) {
        errors.invalid(&at.child("ready"), int("ready"), "cannot set more ready pods than active");
    }
    let pods = get(status, "uncountedTerminatedPods");
    let waiting = ["succeeded", "failed"].iter().any(|list| !value::items(pods, &[list]).is_empty());
    if finished && waiting && (ended || changed("uncountedTerminatedPods")) {
        errors.invalid(&at.child("uncountedTerminatedPods"), pods.clone(), "must be empty for finished job");
    }
    indexes(spec, status, before, &mut errors);
    // A job that is as wide as it is long can be scaled down, and then has succeeded less often.
    let elastic = job_spec::indexed(spec) && get(spec, "completions") == get(spec, "parallelism");
    for name in ["failed", "succeeded"] {
        if int(name) < value::int(before, &[name]).unwrap_or(0) && !(name == "succeeded" && elastic) {
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

fn times(new: &Value, old: &Value, complete: bool, ended: bool, errors: &mut FieldErrors) {
    let at = path("status");
    let of = |object, name| value::text(object, &["status", name]);
    let (start, end) = (of(new, "startTime"), of(new, "completionTime"));
    let end_at = at.child("completionTime");
    let changed = |name| of(new, name) != of(old, name);
    let completes = complete != (condition(old, "Complete") == "True") || changed("completionTime");
    if !end.is_empty() && !complete && completes {
        errors.invalid(&end_at, end, "cannot set completionTime when there is no Complete=True condition");
    }
    if end.is_empty() && complete && completes {
        errors.required(&end_at, "completionTime is required for Complete jobs");
    }
    if let (Ok(start), Ok(parsed)) = (meta::time::parse(start), meta::time::parse(end))
        && parsed < start
        && (changed("startTime") || changed("completionTime"))
    {
        errors.invalid(&end_at, end, "must be equal to or after `startTime`");
    }
    let nothing_to_do = value::flag(new, &["spec", "suspend"]) && value::int(new, &["spec", "completions"]) == Some(0);
    let finished = complete || condition(new, "Failed") == "True";
    if start.is_empty() && finished && (ended || changed("startTime")) && !nothing_to_do {
        errors.required(&at.child("startTime"), "startTime is required for finished job");
    }
    let was = of(old, "completionTime");
    if !end.is_empty() && !was.is_empty() && end != was {
        errors.invalid(&end_at, end, rules::IMMUTABLE);
    }
    let was = of(old, "startTime");
    let resumes = condition(old, "Suspended") == "True" && condition(new, "Suspended") == "False";
    if !was.is_empty() && start != was && !value::flag(new, &["spec", "suspend"]) && !resumes {
        errors.invalid(&at.child("startTime"), start, "field is immutable for unsuspended job once set");
    }
}

fn indexes(spec: &Value, status: &Value, before: &Value, errors: &mut FieldErrors) {
    let at = path("status");
    let (completed, failed) = (value::text(status, &["completedIndexes"]), get(status, "failedIndexes").as_str());
    let completions = value::int(spec, &["completions"]);
    let per_index = spec.get("backoffLimitPerIndex").is_some();
    let done_changed = completed != value::text(before, &["completedIndexes"]);
    let lost_changed = failed != get(before, "failedIndexes").as_str();
    if let Some(completions) = completions {
        if let (true, Err(e)) = (done_changed, count_indexes(completed, completions)) {
            errors.invalid(&at.child("completedIndexes"), completed, &format!("error parsing completedIndexes: {e}"));
        }
        if let (Some(failed), true) = (failed, per_index && lost_changed)
            && let Err(e) = count_indexes(failed, completions)
        {
            errors.invalid(&at.child("failedIndexes"), failed, &format!("error parsing failedIndexes: {e}"));
        }
        if let Some(failed) = failed.filter(|_| done_changed || lost_changed)
            && let (Ok(done), Ok(lost)) = (intervals(completed, completions), intervals(failed, completions))
        {
            let overlap = done.iter().flat_map(|a| lost.iter().map(move |b| (a, b))).find(|(a, b)| a.0 <= b.1 && b.0 <= a.1);
            if let Some((a, b)) = overlap {
                let message = format!("failedIndexes and completedIndexes overlap at index: {}", a.0.max(b.0));
                errors.invalid(&at.child("failedIndexes"), failed, &message);
            }
        }
    }
    if done_changed && !completed.is_empty() && !job_spec::indexed(spec) {
        let message = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.invalid(&at.child("completedIndexes"), completed, message);
    }
    if let (Some(failed), false) = (failed.filter(|_| lost_changed), per_index) {
        errors.invalid(&at.child("failedIndexes"), failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
}
