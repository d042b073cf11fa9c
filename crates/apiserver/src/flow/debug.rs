//! What the limiter is doing now, as tables of text for whoever debugs it.

use super::Dispatcher;
use std::fmt::Write;
use std::sync::atomic::Ordering;

const LEVELS: &str = "/debug/api_priority_and_fairness/dump_priority_levels";
const QUEUES: &str = "/debug/api_priority_and_fairness/dump_queues";
const REQUESTS: &str = "/debug/api_priority_and_fairness/dump_requests";
const LEVEL_COLUMNS: [&str; 10] = [
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];
const QUEUE_COLUMNS: [&str; 5] = ["PriorityLevelName", "Index", "PendingRequests", "SeatsInUse", "NextDispatchR"];

const REQUEST_COLUMNS: [&str; 10] = [
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];
const DETAIL_COLUMNS: [&str; 8] = ["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];

pub fn is_dump(path: &str) -> bool {
    matches!(path, LEVELS | QUEUES | REQUESTS)
}

/// The table of `path`; none: there is no such table. `details`: what each request is about, too.
pub fn dump(dispatcher: &Dispatcher, path: &str, details: bool) -> Option<String> {
    match path {
        LEVELS => Some(levels(dispatcher)),
        QUEUES => Some(queues(dispatcher)),
        REQUESTS => Some(requests(dispatcher, details)),
        _ => None,
    }
}

fn levels(dispatcher: &Dispatcher) -> String {
    let table = dispatcher.table.load();
    let rows = table.levels.iter().map(|level| {
        let schemas = || table.schemas.iter().filter(|s| s.level.name == level.name).map(|s| &s.series);
        let exempt = level.exempt.load(Ordering::Relaxed);
        let active = if exempt { "<none>".into() } else { level.queues().iter().filter(|(n, ..)| *n > 0).count().to_string() };
        let (seats, waiting) = level.usage();
        let rejected = |reason: &str| schemas().map(|s| s.rejections(reason)).sum::<u64>();
        let gave_up: u64 = schemas().map(|s| s.gave_up.get_sample_count()).sum();
        vec![
            level.name.clone(),
            active,
            (seats == 0 && waiting == 0).to_string(),
            "false".into(),
            waiting.to_string(),
            schemas().map(|s| s.executing.get()).sum::<i64>().to_string(),
            schemas().map(|s| s.dispatched.get()).sum::<u64>().to_string(),
            (rejected("queue-full") + rejected("concurrency-limit")).to_string(),
            rejected("time-out").to_string(),
            gave_up.saturating_sub(rejected("time-out")).to_string(),
        ]
    });
    text(&LEVEL_COLUMNS, rows)
}

fn queues(dispatcher: &Dispatcher) -> String {
    let table = dispatcher.table.load();
    let rows = table.levels.iter().flat_map(|level| {
        level.queues().into_iter().enumerate().map(|(i, (waiting, seats, start))| {
            vec![level.name.clone(), i.to_string(), waiting.to_string(), seats.to_string(), format!("{start:.8}ss")]
        })
    });
    text(&QUEUE_COLUMNS, rows)
}

fn requests(dispatcher: &Dispatcher, details: bool) -> String {
    let columns = if details { [&REQUEST_COLUMNS[..], &DETAIL_COLUMNS[..]].concat() } else { REQUEST_COLUMNS.to_vec() };
    let table = dispatcher.table.load();
    let rows = table.levels.iter().flat_map(|level| {
        level.waiting().into_iter().map(|w| {
            let since = w.since.to_string();
            let mut row = vec![level.name.clone(), w.told.schema, w.queue.to_string(), w.index.to_string(), w.told.distinguisher];
            row.extend([since.clone(), w.seats.to_string(), "0".into(), "0s".into(), since]);
            if details {
                row.extend(w.told.request);
            }
            row
        })
    });
    text(&columns, rows)
}

/// Columns parted by commas and aligned.
fn text(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut all = vec![columns.iter().map(|c| (*c).to_string()).collect::<Vec<_>>()];
    all.extend(rows);
    let widths: Vec<usize> = (0..columns.len()).map(|i| all.iter().map(|r| r[i].len()).max().unwrap_or(0) + 2).collect();
    let mut out = String::new();
    for row in all {
        let last = row.len() - 1;
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let cell = if i == last { cell.clone() } else { format!("{cell},") };
            // Writing into a string does not fail.
            let _ = write!(out, "{cell:<width$}");
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}
