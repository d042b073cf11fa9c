//! What the limiter is doing now, as tables of text for whoever debugs it.

use super::Dispatcher;
use std::fmt::Write;
use std::sync::atomic::Ordering;

const LEVELS: &str = "/debug/api_priority_and_fairness/dump_priority_levels";
const QUEUES: &str = "/debug/api_priority_and_fairness/dump_queues";
const LEVEL_COLUMNS: [&str; 9] = [
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
];
const QUEUE_COLUMNS: [&str; 5] = ["PriorityLevelName", "Index", "PendingRequests", "SeatsInUse", "NextDispatchR"];

pub fn is_dump(path: &str) -> bool {
    matches!(path, LEVELS | QUEUES)
}

/// The table of `path`; none: there is no such table.
pub fn dump(dispatcher: &Dispatcher, path: &str) -> Option<String> {
    match path {
        LEVELS => Some(levels(dispatcher)),
        QUEUES => Some(queues(dispatcher)),
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
