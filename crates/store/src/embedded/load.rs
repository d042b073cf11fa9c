//! Opening: the files are read from end to end and verified, and the index is made from them.
//!
//! What a power cut may have torn is the last frame of the last file, for each frame is synced before the next is written. Only
//! that is cut off. Anything else that does not fit is damage, and nothing is changed then.

use super::disk::{self, Disk, DiskFile};
use super::files::{Files, Place};
use super::index::{Entry, Index};
use super::leases::Leases;
use super::log::{self, Active, Log, name};
use super::record::{FRAME_HEAD, FileKind, FrameHead, HEAD, Head, Kind, Record};
use crate::{Error, LeaseId, Revision};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Everything that is in the files.
pub struct Loaded {
    pub index: Index,
    pub leases: Leases,
    pub log: Log,
}

/// What has been read so far.
#[derive(Default)]
pub struct State {
    pub index: Index,
    /// With their time to live in milliseconds.
    pub leases: BTreeMap<LeaseId, u64>,
    files: Files,
    last_key: Option<Arc<str>>,
    /// Records of a base, and how many its end says there are.
    records: u64,
    ended: Option<u64>,
}

impl State {
    pub fn take(&mut self, record: &Record, place: Place) {
        if record.kind == Kind::End {
            self.ended = Some(record.version);
            return;
        }
        self.records += 1;
        match record.kind {
            Kind::Put | Kind::Delete => self.change(record, place),
            Kind::Grant => drop(self.leases.insert(record.lease, record.version)),
            Kind::Ended => drop(self.leases.remove(&record.lease)),
            Kind::Compacted => self.index.compacted = record.revision,
            Kind::State => (self.index.revision, self.index.compacted) = (record.revision, record.create_revision),
            Kind::End => {}
        }
    }

    fn change(&mut self, record: &Record, place: Place) {
        // Records of a key follow each other in a base; they share one string.
        let key = match &self.last_key {
            Some(known) if **known == *record.key => known.clone(),
            _ => self.index.shared_key(record.key),
        };
        let entry = Entry {
            revision: record.revision,
            deleted: record.kind == Kind::Delete,
            create_revision: record.create_revision,
            version: record.version,
            lease: record.lease,
            place,
        };
        self.index.push(&key, entry);
        self.index.revision = self.index.revision.max(record.revision);
        self.last_key = Some(key);
    }

    /// Forgets what is compacted, and looks whether all the rest is there.
    fn settle(&mut self) -> Result<(), Revision> {
        let compacted = self.index.compacted;
        self.index.compact(compacted, "", usize::MAX);
        self.index.settle()
    }
}

/// Reads the frames of a file in order. Answers where the first that is not whole begins, and what is wrong with it; none: the file ends
/// with a whole one.
fn read_frames(
    file: &dyn DiskFile,
    head: &Head,
    next: &mut u64,
    mut each: impl FnMut(&Record, Place),
) -> Result<(u64, Option<&'static str>), Error> {
    let failed = |e| disk::failed(file.path(), &e);
    let size = file.size().map_err(failed)?;
    let mut at = HEAD as u64;
    let (mut frame_head, mut body) = ([0; FRAME_HEAD], Vec::new());
    while at < size {
        if size - at < FRAME_HEAD as u64 {
            return Ok((at, Some("a frame is cut short")));
        }
        file.read_at(at, &mut frame_head).map_err(failed)?;
        let Some(frame) = FrameHead::decode(&frame_head, head.salt) else { return Ok((at, Some("the head of a frame cannot be read"))) };
        if frame.number != *next {
            return Ok((at, Some("a frame is out of order")));
        }
        let start = at + FRAME_HEAD as u64;
        if size - start < frame.rest() as u64 {
            return Ok((at, Some("a frame is cut short")));
        }
        body.resize(frame.rest(), 0);
        file.read_at(start, &mut body).map_err(failed)?;
        match frame.records(&body) {
            Ok(records) => {
                for (record, offset, length) in records {
                    each(&record, Place { at: start + offset as u64, file: head.number, length });
                }
            }
            Err(what) => return Ok((at, Some(what))),
        }
        at = start + frame.rest() as u64;
        *next += 1;
    }
    Ok((at, None))
}

/// Whether a frame that came after the one at `from` was ever written: then that one had been synced, and is damaged, not torn.
fn later_frame(file: &dyn DiskFile, salt: u64, from: u64, number: u64) -> Result<bool, Error> {
    let failed = |e| disk::failed(file.path(), &e);
    let size = file.size().map_err(failed)?;
    const PIECE: usize = 1 << 20;
    let mut at = from;
    let mut piece = Vec::new();
    while at + (FRAME_HEAD as u64) <= size {
        piece.resize((size - at).min((PIECE + FRAME_HEAD) as u64) as usize, 0);
        file.read_at(at, &mut piece).map_err(failed)?;
        let heads = (0..piece.len().saturating_sub(FRAME_HEAD - 1)).step_by(8);
        if heads.filter_map(|i| FrameHead::decode(&piece[i..], salt)).any(|frame| frame.number > number) {
            return Ok(true);
        }
        at += PIECE as u64;
    }
    Ok(false)
}

fn read_head(file: &dyn DiskFile) -> Result<Head, Error> {
    let mut head = [0; HEAD];
    if file.size().map_err(|e| disk::failed(file.path(), &e))? < HEAD as u64 {
        return Err(disk::damaged(file.path(), "it is shorter than its head"));
    }
    file.read_at(0, &mut head).map_err(|e| disk::failed(file.path(), &e))?;
    Head::decode(&head).map_err(|what| disk::damaged(file.path(), what))
}

/// Reads a base, or a snapshot, which is one. All of it must be there.
pub fn read_base(file: &dyn DiskFile, mut each: impl FnMut(&Record, Place)) -> Result<Head, Error> {
    let head = read_head(file)?;
    if head.kind != FileKind::Base {
        return Err(disk::damaged(file.path(), "it is a piece of a store's log, which says little alone"));
    }
    let (mut next, mut state) = (0, State::default());
    let (at, wrong) = read_frames(file, &head, &mut next, |record, place| {
        (state.records, state.ended) = match record.kind {
            Kind::End => (state.records, Some(record.version)),
            _ => (state.records + 1, None),
        };
        each(record, place);
    })?;
    match wrong {
        Some(what) => Err(disk::damaged(file.path(), format!("{what}, at byte {at}"))),
        None if state.ended != Some(state.records) => Err(disk::damaged(file.path(), format!("it ends too early, at byte {at}"))),
        None => Ok(head),
    }
}

/// What a snapshot holds.
pub fn read_snapshot(file: &dyn DiskFile) -> Result<State, Error> {
    let mut state = State::default();
    read_base(file, |record, place| state.take(record, place))?;
    state.settle().map_err(|revision| disk::damaged(file.path(), format!("revision {revision} is missing")))?;
    Ok(state)
}

/// Numbers of the files with this extension, rising.
pub fn numbers(names: &[String], extension: &str) -> Vec<u32> {
    let number = |name: &String| {
        let (number, rest) = name.split_once('.')?;
        if rest == extension && number.len() == 8 { u32::from_str_radix(number, 16).ok() } else { None }
    };
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// Reads the store that lies in `disk`, or makes an empty one.
pub fn load(disk: Arc<dyn Disk>) -> Result<Loaded, Error> {
    let io_failed = |e| disk::failed(disk.path(), &e);
    let names = disk.names().map_err(io_failed)?;
    for unfinished in names.iter().filter(|name| name.ends_with(".new")) {
        disk.remove(unfinished).map_err(io_failed)?;
    }
    let (bases, mut logs) = (numbers(&names, "base"), numbers(&names, "log"));
    let mark = log::read_mark(&*disk);
    let (mut state, mut next) = (State::default(), 1);
    state.index.revision = 1;
    let base = bases.last().copied();
    if let Some(base) = base {
        let file = open(&*disk, base, "base")?;
        next = read_base(&*file, |record, place| state.take(record, place))?.first;
        state.files.0.insert(base, file);
    } else if logs.is_empty() && mark.is_some_and(|mark| mark > 1) {
        return Err(disk::damaged(disk.path(), "the files of the store are missing from it"));
    }
    logs.retain(|number| base.is_none_or(|base| *number > base));
    let mut active = None;
    for number in &logs {
        active = Some(read_log(&*disk, *number, logs.last() == Some(number), &mut next, &mut state)?);
    }
    if let Some(mark) = mark.filter(|mark| *mark > next) {
        let (path, end) = active.as_ref().map_or((disk.path(), 0), |a| (a.file.path(), a.end));
        let lost = mark - next;
        return Err(disk::damaged(path, format!("the log ends at byte {end}, and {lost} more commits had been synced")));
    }
    state.settle().map_err(|revision| {
        disk::damaged(disk.path(), format!("revision {revision} is missing, and the newest is {}", state.index.revision))
    })?;
    let active = match active {
        Some(active) => cut_torn(active)?,
        None => Active::create(&*disk, base.unwrap_or(0) + 1, next)?,
    };
    // Covered by the base that has been read.
    for (numbers, extension) in [(&bases, "base"), (&numbers(&names, "log"), "log")] {
        for number in numbers.iter().filter(|number| base.is_some_and(|base| **number < base)) {
            disk.remove(&name(*number, extension)).map_err(io_failed)?;
        }
    }
    finish(disk, state, active, next)
}

fn open(disk: &dyn Disk, number: u32, extension: &str) -> Result<Arc<dyn DiskFile>, Error> {
    let name = name(number, extension);
    disk.open(&name).map_err(|e| disk::failed(&disk.path().join(&name), &e))
}

fn read_log(disk: &dyn Disk, number: u32, last: bool, next: &mut u64, state: &mut State) -> Result<Active, Error> {
    let file = open(disk, number, "log")?;
    let head = read_head(&*file)?;
    if head.kind != FileKind::Log || head.number != number {
        return Err(disk::damaged(file.path(), format!("it is not file {number:x} of a log")));
    }
    if head.first != *next {
        return Err(disk::damaged(
            file.path(),
            format!("it begins with commit {}, and the one before ends with {}", head.first, *next - 1),
        ));
    }
    let (end, wrong) = read_frames(&*file, &head, next, |record, place| state.take(record, place))?;
    if let Some(what) = wrong
        && (!last || later_frame(&*file, head.salt, end, *next)?)
    {
        return Err(disk::damaged(file.path(), format!("{what}, at byte {end}, and more follows")));
    }
    state.files.0.insert(number, file.clone());
    let size = file.size().map_err(|e| disk::failed(file.path(), &e))?;
    Ok(Active { file, number, salt: head.salt, end, size })
}

/// Cuts off what follows the last whole frame, unless that is nothing but the zeros that are put ahead.
fn cut_torn(mut active: Active) -> Result<Active, Error> {
    let failed = |e| disk::failed(active.file.path(), &e);
    let mut at = active.end;
    let mut piece = vec![0; 64 << 10];
    while at < active.size {
        let length = (active.size - at).min(piece.len() as u64) as usize;
        active.file.read_at(at, &mut piece[..length]).map_err(failed)?;
        if piece[..length].iter().any(|byte| *byte != 0) {
            let file = active.file.path().display();
            tracing::info!(%file, at = active.end, "the last write was cut short by the end of the process or of power, and is dropped; nobody was told of it");
            active.file.set_size(active.end).and_then(|()| active.file.sync()).map_err(failed)?;
            active.size = active.end;
        } else {
            at += length as u64;
        }
    }
    Ok(active)
}

fn finish(disk: Arc<dyn Disk>, state: State, active: Active, next: u64) -> Result<Loaded, Error> {
    let State { mut index, leases: stored, mut files, .. } = state;
    files.0.insert(active.number, active.file.clone());
    let sealed = files.0.iter().filter(|(number, _)| **number != active.number).map(|(_, file)| file.size().unwrap_or(0)).sum();
    index.files = Arc::new(files);
    let mut leases = Leases::default();
    for (lease, millis) in stored {
        // Its clock starts anew: while the store was closed nobody could have kept it alive.
        leases.add(lease, Duration::from_millis(millis));
    }
    for (key, lease) in index.leased() {
        leases.attach(lease, key);
    }
    Ok(Loaded { index, leases, log: Log::new(disk, active, next, sealed)? })
}
