//! One priority level: its seats, and who waits for them.
//!
//! While nobody waits, a seat is one compare-and-swap. Seats taken and requests waiting are halves of one
//! word, so that whoever gives a seat back either sees who waits, or is seen by them.

use super::dropped::Dropped;
use super::fair::{Place, Queues, Shape};
use super::share::Limits;
use crate::metrics::FlowSeries;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const SEAT: u64 = 1 << 32;

/// What happens to a request that finds no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    Reject,
    Queue(Shape),
}

/// Why a request was refused, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected(pub &'static str);

pub struct Level {
    pub name: String,
    /// Seats in the upper half, waiting requests in the lower.
    state: AtomicU64,
    limit: AtomicU32,
    pub exempt: AtomicBool,
    /// The most seats wanted at once since this was last read.
    peak: AtomicU32,
    response: Mutex<Response>,
    limits: Mutex<Limits>,
    queues: Mutex<Queues<Waiter>>,
    pub dropped: Dropped,
}

/// What a request that waits belongs to, and what can be told of it.
pub struct Flow {
    pub hash: u64,
    pub told: Told,
}

#[derive(Clone, Debug, Default)]
pub struct Told {
    pub schema: String,
    pub distinguisher: String,
    /// User, verb, path, namespace, name, group version, resource and subresource.
    pub request: [String; 8],
}

/// A request that waits.
pub struct Waits {
    pub queue: usize,
    pub index: usize,
    pub seats: u32,
    pub since: Timestamp,
    pub told: Told,
}

struct Waiter {
    go: oneshot::Sender<Permit>,
    told: Told,
    since: Timestamp,
    series: Arc<FlowSeries>,
    watch: bool,
}

/// A request's seats, given back when it is dropped.
pub struct Permit {
    level: Arc<Level>,
    series: Arc<FlowSeries>,
    seats: u32,
    /// The queue it came from.
    queue: Option<usize>,
    began: Instant,
    watch: bool,
}

impl Level {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            state: AtomicU64::new(0),
            limit: AtomicU32::new(0),
            exempt: AtomicBool::new(false),
            peak: AtomicU32::new(0),
            response: Mutex::new(Response::Reject),
            limits: Mutex::default(),
            queues: Mutex::new(Queues::new(Shape { queues: 1, hand: 1, length: 0 })),
            dropped: Dropped::default(),
        }
    }

    pub fn configure(&self, exempt: bool, response: Response, limits: Limits) {
        self.exempt.store(exempt, Ordering::Relaxed);
        *self.response.lock() = response;
        let before = std::mem::replace(&mut *self.limits.lock(), limits);
        if let Response::Queue(shape) = response {
            self.queues.lock().reshape(shape);
        }
        if before != limits {
            self.limit.store(limits.nominal, Ordering::Relaxed);
        }
    }

    pub fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    pub fn response(&self) -> Response {
        *self.response.lock()
    }

    pub fn current(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// More seats let waiting requests go at once.
    pub fn set_current(self: &Arc<Self>, seats: u32) {
        self.limit.store(seats, Ordering::SeqCst);
        self.dispatch();
    }

    /// Seats taken, and requests waiting.
    pub fn usage(&self) -> (u32, u32) {
        let state = self.state.load(Ordering::Relaxed);
        ((state >> 32) as u32, state as u32)
    }

    /// The high mark since this was last called, which begins anew from what is wanted now.
    pub fn take_peak(&self) -> u32 {
        let waiting = self.queues.lock().waiting_seats();
        let now = self.usage().0.saturating_add(u32::try_from(waiting).unwrap_or(u32::MAX));
        self.peak.swap(now, Ordering::Relaxed).max(now)
    }

    /// The lengths of the queues in use.
    pub fn queues(&self) -> Vec<(usize, u64, f64)> {
        self.queues.lock().lengths()
    }

    /// Who waits now. Requests that run hold their seats and nothing that could be told.
    pub fn waiting(&self) -> Vec<Waits> {
        let queues = self.queues.lock();
        let told =
            |(queue, index, seats, w): (usize, usize, u32, &Waiter)| Waits { queue, index, seats, since: w.since, told: w.told.clone() };
        queues.waiting().map(told).collect()
    }

    fn note(&self, wanted: u32) {
        if wanted > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(wanted, Ordering::Relaxed);
        }
    }

    /// Takes seats if there are enough, and nobody waits (or whoever waits is being served by the caller).
    fn take(&self, seats: u32, from_queue: bool) -> bool {
        let limit = if self.exempt.load(Ordering::Relaxed) { u32::MAX } else { self.limit.load(Ordering::SeqCst) };
        let taken = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| {
            let (in_use, waiting) = ((state >> 32) as u32, state as u32);
            // A request that is wider than the level runs when it is alone.
            let fits = in_use == 0 || in_use.checked_add(seats).is_some_and(|all| all <= limit);
            match from_queue {
                false => (fits && waiting == 0).then(|| state + u64::from(seats) * SEAT),
                true => fits.then(|| state + u64::from(seats) * SEAT - 1),
            }
        });
        taken.is_ok_and(|before| {
            self.note((before >> 32) as u32 + seats);
            true
        })
    }

    /// A seat, at once or after waiting no longer than `patience`. `flow`: asked for where it has to wait.
    pub async fn admit(
        self: &Arc<Self>,
        series: &Arc<FlowSeries>,
        seats: u32,
        watch: bool,
        flow: impl FnOnce() -> Flow,
        patience: Duration,
    ) -> Result<Permit, Rejected> {
        if self.take(seats, false) {
            return Ok(self.permit(series.clone(), seats, watch, None));
        }
        if self.response() == Response::Reject {
            series.rejected("concurrency-limit");
            return Err(Rejected("concurrency-limit"));
        }
        let (go, mut ready) = oneshot::channel();
        let Flow { hash, told } = flow();
        let joined = {
            let mut queues = self.queues.lock();
            let waiter = Waiter { go, told, since: Timestamp::now(), series: series.clone(), watch };
            let joined = queues.push(hash, seats, waiter);
            if joined.is_ok() {
                self.state.fetch_add(1, Ordering::SeqCst);
                self.note(self.usage().0.saturating_add(u32::try_from(queues.waiting_seats()).unwrap_or(u32::MAX)));
                // Whoever gave a seat back before it could see us.
                self.serve(&mut queues);
            }
            joined
        };
        let Ok((place, before)) = joined else {
            series.rejected("queue-full");
            return Err(Rejected("queue-full"));
        };
        #[allow(clippy::cast_precision_loss, reason = "queues are short")]
        series.length.observe(before as f64 + 1.0);
        let leaves = Leaves { level: self, place, series, seats, waiting: Some(Instant::now()) };
        series.waiting.inc();
        series.waiting_seats.add(seats.into());
        match tokio::time::timeout(patience, &mut ready).await {
            Ok(Ok(permit)) => {
                leaves.served();
                Ok(permit)
            }
            _ => {
                // It may have been served in this very moment.
                drop(leaves);
                if let Ok(permit) = ready.try_recv() {
                    return Ok(permit);
                }
                series.rejected("time-out");
                Err(Rejected("time-out"))
            }
        }
    }

    fn permit(self: &Arc<Self>, series: Arc<FlowSeries>, seats: u32, watch: bool, queue: Option<usize>) -> Permit {
        series.dispatched.inc();
        series.executing.inc();
        series.executing_seats.add(seats.into());
        series.width.observe(seats.into());
        Permit { level: self.clone(), series, seats, queue, began: Instant::now(), watch }
    }

    fn dispatch(self: &Arc<Self>) {
        if self.usage().1 > 0 {
            self.serve(&mut self.queues.lock());
        }
    }

    /// Lets go who fits. A waiter that leaves takes itself out of the queues first, so everybody in them
    /// still listens.
    fn serve(self: &Arc<Self>, queues: &mut Queues<Waiter>) {
        while let Some(seats) = queues.peek() {
            if !self.take(seats, true) {
                return;
            }
            let Some((queue, seats, waiter)) = queues.pop() else { return };
            let permit = self.permit(waiter.series, seats, waiter.watch, Some(queue));
            if let Err(mut unheard) = waiter.go.send(permit) {
                // Dropping it here would lock the queues twice.
                unheard.queue = None;
                queues.finished(queue, seats, Duration::ZERO);
                let level = self.clone();
                tokio::spawn(async move { drop((level, unheard)) });
            }
        }
    }
}

/// Takes a waiter out of its queue when it stops waiting.
struct Leaves<'a> {
    level: &'a Arc<Level>,
    place: Place,
    series: &'a Arc<FlowSeries>,
    seats: u32,
    waiting: Option<Instant>,
}

impl Leaves<'_> {
    fn served(mut self) {
        if let Some(since) = self.waiting.take() {
            self.series.waited.observe(since.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.series.waiting.dec();
        self.series.waiting_seats.sub(self.seats.into());
        let Some(since) = self.waiting else { return };
        let mut queues = self.level.queues.lock();
        if queues.remove(self.place).is_some() {
            self.level.state.fetch_sub(1, Ordering::SeqCst);
            self.series.gave_up.observe(since.elapsed().as_secs_f64());
            // It may have been too wide for the seats that are free.
            self.level.serve(&mut queues);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.series.executing.dec();
        self.series.executing_seats.sub(self.seats.into());
        let histogram = if self.watch { &self.series.watch_execution } else { &self.series.execution };
        histogram.observe(took.as_secs_f64());
        if let Some(queue) = self.queue {
            self.level.queues.lock().finished(queue, self.seats, took);
        }
        self.level.state.fetch_sub(u64::from(self.seats) * SEAT, Ordering::SeqCst);
        self.level.dispatch();
    }
}
