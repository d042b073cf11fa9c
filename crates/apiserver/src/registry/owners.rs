//! Who owns which field, as far as a request says it.

use super::Task;
use meta::managed::{self, Writer};
use meta::{ApiError, time};
use serde_json::Value;

/// What an apply made of an object.
pub struct Applied(pub Value);

/// The main resource cannot change the status, the status nothing else.
fn reset(task: &Task<'_>) -> &'static [&'static str] {
    match (task.attributes.subresource.as_str(), task.resource.has_status) {
        ("status", _) if task.resource.custom => &["spec", "metadata"],
        ("status", _) => &["spec"],
        ("", true) => &["status"],
        _ => &[],
    }
}

fn with_writer<T>(task: &Task<'_>, work: impl FnOnce(Writer<'_>) -> T) -> T {
    let now = time::now();
    work(Writer {
        manager: &task.options.manager,
        api_version: &task.resource.api_version,
        subresource: &task.attributes.subresource,
        time: &now,
        reset: reset(task),
    })
}

pub fn apply(task: &Task<'_>, live: Option<&Value>, applied: &Value) -> Result<Applied, ApiError> {
    let force = task.options.force == Some(true);
    let live = live.unwrap_or(&Value::Null);
    let result = with_writer(task, |writer| managed::apply(&task.resource.kind.schema(), live, applied, force, writer));
    Ok(Applied(result?))
}

/// Records what a write other than an apply has changed. What cannot be tracked is written all the same.
pub fn track(task: &Task<'_>, old: Option<&Value>, new: &mut Value) {
    with_writer(task, |writer| managed::track_update(&task.resource.kind.schema(), new, old, writer));
}
