//! `JobSpec`, of a job and of a cron job's template.

use crate::rules::{self, get};
use crate::workload;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

const PARALLELISM_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
const MANY_COMPLETIONS: i64 = 100_000;
const PARALLELISM_OF_MANY: i64 = 10_000;
const FAILED_INDEXES_OF_MANY: i64 = 10_000;
const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const PATTERNS_MAX: usize = 20;
const INDEXES_LENGTH_MAX: usize = 64 * 1024;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

pub fn default(object: &mut Value, path: &[&str]) {
    let _ = value::object(object, path);
    let Some(spec) = value::at_mut(object, path) else { return };
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        value::set(spec, &["completions"], 1);
    }
    value::default(spec, &["parallelism"], 1);
    let limit = if spec.get("backoffLimitPerIndex").is_some() { i64::from(i32::MAX) } else { 6 };
    value::default(spec, &["backoffLimit"], limit);
    value::default(spec, &["completionMode"], "NonIndexed");
    value::default(spec, &["suspend"], false);
    value::default(spec, &["manualSelector"], false);
    for rule in value::items_mut(spec, &["podFailurePolicy", "rules"]) {
        for pattern in value::items_mut(rule, &["onPodConditions"]) {
            value::default(pattern, &["status"], "True");
        }
    }
    let replacement = if spec.get("podFailurePolicy").is_some() { "Failed" } else { "TerminatingOrFailed" };
    value::default(spec, &["podReplacementPolicy"], replacement);
    workload::default_template(spec, &["template"]);
}

pub fn indexed(spec: &Value) -> bool {
    value::text(spec, &["completionMode"]) == "Indexed"
}

pub fn warnings(spec: &Value, at: &FieldPath) -> Vec<String> {
    let mut warnings = Vec::new();
    let int = |name: &str| value::int(spec, &[name]);
    if let (true, Some(completions), Some(parallelism)) = (indexed(spec), int("completions"), int("parallelism"))
        && completions > MANY_COMPLETIONS
        && parallelism > PARALLELISM_OF_MANY
    {
        warnings.push(format!("{at}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"));
    }
    warnings.extend(workload::warnings(get(spec, "template"), &at.child("template")));
    warnings
}

pub fn validate(spec: &Value, at: &FieldPath) -> FieldErrors {
    let mut errors = FieldErrors::new();
    let int = |name: &str| value::int(spec, &[name]);
    let numbers = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    rules::not_negative(spec, &numbers, at, &mut errors);
    if int("maxFailedIndexes").is_some() && int("backoffLimitPerIndex").is_none() {
        errors.required(&at.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if let Some(manager) = get(spec, "managedBy").as_str() {
        rules::domain_prefixed_path(manager, &at.child("managedBy"), &mut errors);
        if manager.len() > 63 {
            errors.too_long(&at.child("managedBy"), 63);
        }
    }
    match value::text(spec, &["completionMode"]) {
        "Indexed" => indexed_limits(spec, at, &mut errors),
        mode => {
            if !matches!(mode, "" | "NonIndexed") {
                errors.not_supported(&at.child("completionMode"), mode, &["NonIndexed", "Indexed"]);
            } else {
                for name in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                    if let Some(found) = int(name) {
                        errors.invalid(&at.child(name), found, "requires indexed completion mode");
                    }
                }
            }
        }
    }
    if let Some(policy) = spec.get("podFailurePolicy") {
        failure_policy(spec, policy, &at.child("podFailurePolicy"), &mut errors);
    }
    if let Some(policy) = spec.get("successPolicy") {
        if indexed(spec) {
            success_policy(policy, int("completions").unwrap_or(0), &at.child("successPolicy").child("rules"), &mut errors);
        } else {
            errors.invalid(&at.child("successPolicy"), policy.clone(), "requires indexed completion mode");
        }
    }
    let replacement = value::text(spec, &["podReplacementPolicy"]);
    let allowed: &[&str] = if spec.get("podFailurePolicy").is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if spec.get("podReplacementPolicy").is_some() && !allowed.contains(&replacement) {
        errors.not_supported(&at.child("podReplacementPolicy"), replacement, allowed);
    }
    let template = at.child("template");
    errors.extend(workload::validate_template(get(spec, "template"), &template));
    let restart_at = template.child("spec").child("restartPolicy");
    match value::text(spec, &["template", "spec", "restartPolicy"]) {
        "" | "Always" => errors.required(&restart_at, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" if spec.get("podFailurePolicy").is_none() => {}
        "OnFailure" => errors.invalid(&restart_at, "OnFailure", "only \"Never\" is supported when podFailurePolicy is specified"),
        other => errors.not_supported(&restart_at, other, &["OnFailure", "Never"]),
    }
    errors
}

fn indexed_limits(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let int = |name: &str| value::int(spec, &[name]);
    let (completions, parallelism, failed) = (int("completions"), int("parallelism"), int("maxFailedIndexes"));
    if completions.is_none() {
        errors.required(&at.child("completions"), "when completion mode is Indexed");
    }
    if let Some(parallelism) = parallelism.filter(|p| *p > PARALLELISM_MAX) {
        let message = format!("must be less than or equal to {PARALLELISM_MAX} when completion mode is Indexed");
        errors.invalid(&at.child("parallelism"), parallelism, &message);
    }
    if let (Some(completions), Some(failed)) = (completions, failed)
        && failed > completions
    {
        errors.invalid(&at.child("maxFailedIndexes"), failed, "must be less than or equal to completions");
    }
    if let Some(failed) = failed.filter(|f| *f > FAILED_INDEXES_MAX) {
        errors.invalid(&at.child("maxFailedIndexes"), failed, &format!("must be less than or equal to {FAILED_INDEXES_MAX}"));
    }
    if completions.is_some_and(|c| c > MANY_COMPLETIONS) && int("backoffLimitPerIndex").is_some() {
        let suffix = format!("when completions are above {MANY_COMPLETIONS} and used with backoff limit per index");
        if failed.is_none() {
            errors.required(&at.child("maxFailedIndexes"), &format!("must be specified when completions is above {MANY_COMPLETIONS}"));
        }
        if let Some(parallelism) = parallelism.filter(|p| *p > PARALLELISM_OF_MANY) {
            errors.invalid(&at.child("parallelism"), parallelism, &format!("must be less than or equal to {PARALLELISM_OF_MANY} {suffix}"));
        }
        if let Some(failed) = failed.filter(|f| *f > FAILED_INDEXES_OF_MANY) {
            errors.invalid(
                &at.child("maxFailedIndexes"),
                failed,
                &format!("must be less than or equal to {FAILED_INDEXES_OF_MANY} {suffix}"),
            );
        }
    }
}

fn failure_policy(spec: &Value, policy: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let rules_at = at.child("rules");
    let rules = value::items(policy, &["rules"]);
    if rules.len() > RULES_MAX {
        errors.too_many(&rules_at, rules.len(), RULES_MAX);
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = rules_at.index(i);
        match value::text(rule, &["action"]) {
            "" => errors.required(&at.child("action"), "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
            "FailIndex" if spec.get("backoffLimitPerIndex").is_none() => {
                errors.invalid(&at.child("action"), "FailIndex", "requires the backoffLimitPerIndex to be set");
            }
            action if !ACTIONS.contains(&action) => errors.not_supported(&at.child("action"), action, &ACTIONS),
            _ => {}
        }
        let patterns = value::items(rule, &["onPodConditions"]);
        match (rule.get("onExitCodes"), patterns.is_empty()) {
            (Some(_), false) => rules::invalid_unquoted(&at, "specifying both OnExitCodes and OnPodConditions is not supported", errors),
            (None, true) => rules::invalid_unquoted(&at, "specifying one of OnExitCodes and OnPodConditions is required", errors),
            _ => {}
        }
        if let Some(codes) = rule.get("onExitCodes") {
            exit_codes(spec, codes, &at.child("onExitCodes"), errors);
        }
        pod_conditions(patterns, &at.child("onPodConditions"), errors);
    }
}

fn pod_conditions(patterns: &[Value], at: &FieldPath, errors: &mut FieldErrors) {
    if patterns.len() > PATTERNS_MAX {
        errors.too_many(at, patterns.len(), PATTERNS_MAX);
    }
    for (i, pattern) in patterns.iter().enumerate() {
        let at = at.index(i);
        let ty = value::text(pattern, &["type"]);
        rules::messages(validate::qualified_name(ty), ty, &at.child("type"), errors);
        match value::text(pattern, &["status"]) {
            "" => errors.required(&at.child("status"), "valid values: [\"False\" \"True\" \"Unknown\"]"),
            status if !STATUSES.contains(&status) => errors.not_supported(&at.child("status"), status, &STATUSES),
            _ => {}
        }
    }
}

fn exit_codes(spec: &Value, codes: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let operator = value::text(codes, &["operator"]);
    match operator {
        "" => errors.required(&at.child("operator"), "valid values: [\"In\" \"NotIn\"]"),
        "In" | "NotIn" => {}
        other => errors.not_supported(&at.child("operator"), other, &["In", "NotIn"]),
    }
    if let Some(container) = get(codes, "containerName").as_str() {
        let named = |list| value::items(spec, &["template", "spec", list]).iter().any(|c| value::text(c, &["name"]) == container);
        if !named("containers") && !named("initContainers") {
            let message = "must be one of the container or initContainer names in the pod template";
            errors.invalid(&at.child("containerName"), container, message);
        }
    }
    let values_at = at.child("values");
    let values: Vec<i64> = value::items(codes, &["values"]).iter().filter_map(Value::as_i64).collect();
    if values.is_empty() {
        errors.invalid(&values_at, get(codes, "values").clone(), "at least one value is required");
    } else if values.len() > EXIT_CODES_MAX {
        errors.too_many(&values_at, values.len(), EXIT_CODES_MAX);
    }
    for (i, code) in values.iter().enumerate() {
        if operator == "In" && *code == 0 {
            errors.invalid(&values_at.index(i), 0, "must not be 0 for the In operator");
        }
        if values[..i].contains(code) {
            errors.duplicate(&values_at.index(i), *code);
        }
    }
    if !values.is_sorted() {
        errors.invalid(&values_at, values, "must be ordered");
    }
}

fn success_policy(policy: &Value, completions: i64, at: &FieldPath, errors: &mut FieldErrors) {
    let rules = value::items(policy, &["rules"]);
    if rules.is_empty() {
        errors.required(at, "at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > RULES_MAX {
        errors.too_many(at, rules.len(), RULES_MAX);
    }
    for (i, rule) in rules.iter().enumerate() {
        let at = at.index(i);
        let (count, indexes) = (value::int(rule, &["succeededCount"]), get(rule, "succeededIndexes").as_str());
        if count.is_none() && indexes.is_none() {
            errors.required(&at, "at least one of succeededCount or succeededIndexes must be specified");
        }
        let mut total = None;
        if let Some(indexes) = indexes {
            let at = at.child("succeededIndexes");
            if indexes.len() > INDEXES_LENGTH_MAX {
                errors.too_long(&at, INDEXES_LENGTH_MAX);
            }
            match count_indexes(indexes, completions) {
                Ok(n) => total = Some(n),
                Err(e) => {
                    total = Some(0);
                    errors.invalid(&at, indexes, &format!("error parsing succeededIndexes: {e}"));
                }
            }
        }
        rules::not_negative(rule, &["succeededCount"], &at, errors);
        let at = at.child("succeededCount");
        if let Some(count) = count {
            if count > completions {
                let message = format!("must be less than or equal to {completions} (the number of specified completions)");
                errors.invalid(&at, count, &message);
            }
            if let Some(total) = total.filter(|total| count > *total) {
                let message =
                    format!("must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)");
                errors.invalid(&at, count, &message);
            }
        }
    }
}

/// How many indexes a text like `1,3-5` names.
pub fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    Ok(intervals(text, completions)?.iter().map(|(first, last)| last - first + 1).sum())
}

pub fn intervals(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, String> {
    let mut intervals: Vec<(i64, i64)> = Vec::new();
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let limits: Vec<&str> = interval.split('-').collect();
        if limits.len() > 2 {
            return Err(format!(
                "the fragment {interval:?} violates the requirement that an index interval can have at most two parts separated by '-'"
            ));
        }
        let number = |text: &str| -> Result<i64, String> {
            let n: i64 = text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
            if n >= completions { Err(format!("too large index: {text:?}")) } else { Ok(n) }
        };
        let first = number(limits[0])?;
        let last = limits.get(1).map_or(Ok(first), |text| number(text))?;
        if limits.len() > 1 && first >= last {
            return Err(format!("non-increasing order, previous: {first}, current: {last}"));
        }
        if let Some((_, previous)) = intervals.last()
            && *previous >= first
        {
            return Err(format!("non-increasing order, previous: {previous}, current: {first}"));
        }
        intervals.push((first, last));
    }
    Ok(intervals)
}
