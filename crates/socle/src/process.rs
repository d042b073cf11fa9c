//! Other processes, found through `/proc`: what `down` and the runtime's keeper need to know.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The processes whose command line satisfies `wanted`.
pub fn find(wanted: impl Fn(&[String]) -> bool) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| wanted(&command_line(*pid))).collect()
}

pub fn command_line(pid: i32) -> Vec<String> {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    raw.split(|b| *b == 0).filter(|part| !part.is_empty()).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// The direct children of a process, its threads' included.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .collect()
}

pub fn alive(pid: i32) -> bool {
    // A zombie has ended; only its parent has not looked yet.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    match stat.rsplit_once(") ") {
        Some((_, rest)) => !rest.starts_with(['Z', 'X']),
        None => false,
    }
}

pub fn signal(pid: i32, signal: Signal) {
    // A process that is already gone is what was wanted.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Asks with SIGTERM, waits, and insists with SIGKILL.
pub fn stop(pid: i32, patience: Duration) {
    signal(pid, Signal::SIGTERM);
    if !gone_within(pid, patience) {
        signal(pid, Signal::SIGKILL);
        gone_within(pid, Duration::from_secs(5));
    }
}

pub fn gone_within(pid: i32, patience: Duration) -> bool {
    let start = Instant::now();
    while alive(pid) {
        if start.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Mount points at or below one of `roots`, deepest first.
pub fn mounts_below(roots: &[&Path]) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<String> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\"))
        .filter(|point| roots.iter().any(|root| Path::new(point).starts_with(root)))
        .collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.len()));
    points
}
