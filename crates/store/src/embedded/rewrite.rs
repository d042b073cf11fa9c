//! Space that only the forgotten past takes is given back: what is kept is copied into a base, in a thread of its own, and the files before it go.
//!
//! Writers go on in a new file of the log. Readers follow as the index learns, slice by slice, where things lie now.

use super::base;
use super::committer::{Command, moment};
use super::disk;
use super::index::Found;
use super::leases::Leases;
use super::log::{Log, name};
use super::{Shared, disk::Disk};
use crate::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Records that are found again under one lock.
const SLICE: usize = 1000;
/// How long to leave it after it has failed.
const PAUSE: Duration = Duration::from_secs(10);

/// A base that is whole and has its name.
pub struct Rewritten {
    number: u32,
    /// Where everything lies in it.
    places: Vec<Found>,
}

pub struct Rewrite {
    commands: mpsc::Sender<Command>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// What the index has still to learn, from the back.
    moving: Option<Rewritten>,
    not_before: Option<Instant>,
}

impl Rewrite {
    /// Setting `stop` ends what is under way.
    pub fn new(commands: mpsc::Sender<Command>, stop: Arc<AtomicBool>) -> Self {
        Self { commands, stop, thread: None, moving: None, not_before: None }
    }

    pub fn has_work(&self) -> bool {
        self.moving.is_some()
    }

    /// One slice of what is to be done after a commit.
    pub fn step(&mut self, shared: &Arc<Shared>, log: &mut Log, leases: &Leases) {
        if self.moving.is_some() {
            self.move_on(shared, log);
        } else if self.thread.is_none() && self.worth(shared, log) {
            self.not_before = None;
            if let Err(error) = self.begin(shared, log, leases) {
                self.failed(&error);
            }
        }
    }

    /// Once the files hold twice what is kept, and somewhat more.
    fn worth(&self, shared: &Shared, log: &Log) -> bool {
        let kept = {
            let index = shared.index.read();
            index.live_bytes + index.past_bytes
        };
        log.bytes() > 2 * kept + shared.past_bytes / 4 && self.not_before.is_none_or(|time| Instant::now() > time)
    }

    fn begin(&mut self, shared: &Arc<Shared>, log: &mut Log, leases: &Leases) -> Result<(), Error> {
        let number = log.roll_for_base()?;
        let moment = moment(shared, log, leases);
        let (shared, disk, stop, commands) = (shared.clone(), log.disk().clone(), self.stop.clone(), self.commands.clone());
        let work = move || {
            let written = write(&shared, &*disk, &moment, number, &stop);
            // Nobody is left to hear of it when the store is being closed; the file counts when it is next opened.
            let _ = commands.send(Command::Rewritten(written));
        };
        let thread = std::thread::Builder::new().name("store-rewrite".into()).spawn(work);
        self.thread = Some(thread.map_err(|e| Error::Other(format!("starting a thread of the store: {e}")))?);
        Ok(())
    }

    fn failed(&mut self, error: &Error) {
        tracing::warn!(%error, "the store's log could not be shortened; it will be tried again");
        self.not_before = Some(Instant::now() + PAUSE);
    }

    /// The thread has done its part.
    pub fn written(&mut self, shared: &Shared, outcome: Result<Rewritten, Error>) {
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has already said so.
            let _ = thread.join();
        }
        let opened = outcome.and_then(|written| {
            let file = shared.disk.open(&name(written.number, "base")).map_err(|e| disk::failed(shared.disk.path(), &e))?;
            Arc::make_mut(&mut shared.index.write().files).0.insert(written.number, file);
            Ok(written)
        });
        match opened {
            Ok(written) => self.moving = Some(written),
            Err(error) => self.failed(&error),
        }
    }

    fn move_on(&mut self, shared: &Shared, log: &mut Log) {
        let Some(Rewritten { number, places }) = &mut self.moving else { return };
        log.base_named();
        {
            let mut index = shared.index.write();
            for found in places.drain(places.len().saturating_sub(SLICE)..) {
                index.relocate(&found);
            }
        }
        if !places.is_empty() {
            return;
        }
        let number = *number;
        self.moving = None;
        let old = {
            let mut index = shared.index.write();
            let files = Arc::make_mut(&mut index.files);
            let kept = files.0.split_off(&number);
            std::mem::replace(&mut files.0, kept)
        };
        let files = shared.index.read().files.clone();
        let sealed = files.0.iter().filter(|(number, _)| **number != log.active.number);
        log.sealed_bytes = sealed.map(|(_, file)| file.size().unwrap_or(0)).sum();
        for file in old.values() {
            let removed = file.path().file_name().map(|name| shared.disk.remove(&name.to_string_lossy()));
            if let Some(Err(error)) = removed {
                tracing::warn!(%error, "an old file of the store could not be removed; it goes when the store is next opened");
            }
        }
    }

    /// Waits for the thread.
    pub fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(shared: &Shared, disk: &dyn Disk, moment: &base::Moment, number: u32, stop: &AtomicBool) -> Result<Rewritten, Error> {
    let (young, name) = (name(number, "new"), name(number, "base"));
    let failed = |e| disk::failed(&disk.path().join(&name), &e);
    let mut places = Vec::new();
    let file = disk.create(&young).map_err(failed)?;
    let written = base::write(&shared.index, moment, file, number, stop, |found| places.push(found));
    let named = written.and_then(|()| disk.rename(&young, &name).and_then(|()| disk.sync()).map_err(failed));
    if let Err(error) = named {
        // It is no part of the store.
        let _ = disk.remove(&young);
        return Err(error);
    }
    Ok(Rewritten { number, places })
}
