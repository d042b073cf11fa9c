//! The process as the kernel sees it, read when it is asked for.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Opts, Registry};
use std::fs;

/// Ticks of the kernel's clock in a second, which is the same on every Linux that socle runs on.
const TICKS: f64 = 100.0;
const PAGE: f64 = 4096.0;

const NAMES: [(&str, &str); 7] = [
    ("process_cpu_seconds_total", "Processor time used."),
    ("process_resident_memory_bytes", "Memory that is resident."),
    ("process_virtual_memory_bytes", "Address space."),
    ("process_start_time_seconds", "When the process started, in seconds since 1970."),
    ("process_open_fds", "Open file descriptors."),
    ("process_max_fds", "The most file descriptors that may be open."),
    ("process_threads", "Threads."),
];

struct Process(Vec<Gauge>);

pub fn register(registry: &Registry) {
    let gauges = NAMES.iter().map(|(name, help)| Gauge::with_opts(Opts::new(*name, *help))).collect::<Result<Vec<_>, _>>();
    let registered = gauges.and_then(|gauges| registry.register(Box::new(Process(gauges))));
    if let Err(error) = registered {
        tracing::error!(%error, "the process cannot be measured");
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (gauge, value) in self.0.iter().zip(values().unwrap_or_default()) {
            gauge.set(value);
        }
        self.0.iter().flat_map(Collector::collect).collect()
    }
}

/// In the order of `NAMES`.
fn values() -> Option<[f64; 7]> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may hold anything, a parenthesis included.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok());
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let limit = limits.lines().find_map(|l| l.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok();
    #[allow(clippy::cast_precision_loss, reason = "nobody opens that many files")]
    let open = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64;
    Some([
        (number(11)? + number(12)?) / TICKS,
        number(21)? * PAGE,
        number(20)?,
        boot + number(19)? / TICKS,
        open,
        limit.unwrap_or(f64::INFINITY),
        number(17)?,
    ])
}
