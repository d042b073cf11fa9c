//! Jobs by the clock.

use super::{job_spec, schedule};
use crate::kind::built_in;
use crate::rules::{self, get, path};
use crate::{Column, Kind, Names, Scope, Subresource, table, workload};
use jiff::Timestamp;
use meta::{FieldErrors, FieldPath, validate, value};
use serde_json::Value;

pub struct CronJob;

/// A job's name is this with 11 characters more, and must be a label.
const NAME_MAX: usize = 52;

impl Kind for CronJob {
    built_in!(
        "io.k8s.api.batch.v1.CronJob",
        Names::new("batch", "v1", "CronJob", "cronjobs", Scope::Namespaced).short(&["cj"]).categories(&["all"])
    );

    fn has_generation(&self) -> bool {
        true
    }

    /// The defaults of the jobs themselves wait until they are made.
    fn default(&self, object: &mut Value) {
        value::default(object, &["spec", "concurrencyPolicy"], "Allow");
        value::default(object, &["spec", "suspend"], false);
        value::default(object, &["spec", "successfulJobsHistoryLimit"], 3);
        value::default(object, &["spec", "failedJobsHistoryLimit"], 1);
        workload::default_template(object, &["spec", "jobTemplate", "spec", "template"]);
    }

    fn validate(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let (spec, at) = (get(object, "spec"), path("spec"));
        schedule(spec, &at, &mut errors);
        rules::not_negative(spec, &["startingDeadlineSeconds"], &at, &mut errors);
        time_zone(get(spec, "timeZone"), &at.child("timeZone"), &mut errors);
        rules::one_of(
            value::text(spec, &["concurrencyPolicy"]),
            &["Allow", "Forbid", "Replace"],
            &at.child("concurrencyPolicy"),
            &mut errors,
        );
        let (job, job_at) = (value::at(spec, &["jobTemplate", "spec"]).unwrap_or(&Value::Null), at.child("jobTemplate").child("spec"));
        errors.extend(job_spec::validate(job, &job_at));
        if let Some(selector) = job.get("selector") {
            errors.invalid(&job_at.child("selector"), selector.clone(), "`selector` will be auto-generated");
        }
        if value::flag(job, &["manualSelector"]) {
            errors.not_supported(&job_at.child("manualSelector"), true, &["nil", "false"]);
        }
        rules::not_negative(spec, &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"], &at, &mut errors);
        errors
    }

    fn validate_create(&self, object: &Value) -> FieldErrors {
        let mut errors = FieldErrors::new();
        let name = value::text(object, &["metadata", "name"]);
        if name.len() > NAME_MAX {
            errors.invalid(&path("metadata.name"), name, &format!("must be no more than {NAME_MAX} characters"));
        }
        errors
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        let messages = validate::dns_label(value::text(object, &["metadata", "name"]), false);
        if old.is_none() && !messages.is_empty() {
            warnings.push(format!(
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
                messages.join(" ")
            ));
        }
        let job = value::at(object, &["spec", "jobTemplate", "spec"]).unwrap_or(&Value::Null);
        warnings.extend(job_spec::warnings(job, &path("spec.jobTemplate.spec")));
        warnings
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![
            Column::name(),
            Column::new("Schedule", "string"),
            Column::new("Timezone", "string"),
            Column::new("Suspend", "boolean"),
            Column::new("Active", "integer"),
            Column::new("Last Schedule", "string"),
            Column::age(),
        ];
        columns.extend(workload::wide_columns());
        columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let spec = get(object, "spec");
        let suspend = match get(spec, "suspend") {
            Value::Bool(true) => "True",
            Value::Bool(false) => "False",
            _ => "<unset>",
        };
        let last = value::text(object, &["status", "lastScheduleTime"]);
        let mut cells = vec![
            table::name(object),
            table::text(spec, &["schedule"]),
            table::text_or(spec, &["timeZone"], "<none>"),
            suspend.into(),
            value::items(object, &["status", "active"]).len().into(),
            if last.is_empty() { "<none>".into() } else { table::since_text(last, now).into() },
            table::age(object, now).into(),
        ];
        cells.extend(workload::wide_cells(value::at(spec, &["jobTemplate", "spec"]).unwrap_or(&Value::Null)));
        cells
    }

    fn subresources(&self) -> Vec<Subresource> {
        vec![Subresource::Status]
    }
}

fn schedule(spec: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let at = at.child("schedule");
    let text = value::text(spec, &["schedule"]);
    if text.is_empty() {
        errors.required(&at, "");
        return;
    }
    if let Err(e) = schedule::check(text) {
        errors.invalid(&at, text, &e);
    }
    if text.contains("TZ") {
        errors.invalid(&at, text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    }
}

/// Whether a zone exists is for whoever has the zones to say; here it must only look like one.
fn time_zone(zone: &Value, at: &FieldPath, errors: &mut FieldErrors) {
    let Some(zone) = zone.as_str() else { return };
    if zone.is_empty() {
        errors.invalid(at, zone, "timeZone must be nil or non-empty string");
        return;
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+');
    let bad = |part: &str| matches!(part, "" | "." | "..") || part.starts_with('-') || part.len() > 14 || !part.bytes().all(allowed);
    if zone.split('/').any(bad) {
        errors.invalid(at, zone, &format!("unknown time zone {zone}"));
    } else if zone.eq_ignore_ascii_case("Local") {
        errors.invalid(at, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    }
}
