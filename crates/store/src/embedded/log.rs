//! The end of the log, where changes become durable: one write and one sync a frame.
//!
//! Frames overwrite zeros that were put there before, so that a sync has no new size of the file to make durable. How far the log is known to
//! be on the disk stands in a file of its own, the mark. It is not synced and may be behind; a log that ends before
//! it has lost something, where otherwise the end would pass for a write that a power cut has torn.

use super::disk::{self, Disk, DiskFile};
use super::record::{FileKind, Frame, HEAD, Head};
use crate::Error;
use std::io;
use std::sync::Arc;

/// A file of the log that is longer is followed by another.
const FILE_BYTES: u64 = 64 << 20;
/// How many zeros are put ahead at a time: a quarter of what is there, within these.
const AHEAD: (u64, u64) = (64 << 10, 1 << 20);
const MARK: &str = "mark";

pub struct Log {
    disk: Arc<dyn Disk>,
    pub active: Active,
    /// The number of the next frame.
    pub next: u64,
    /// Bytes of all files but the active one.
    pub sealed_bytes: u64,
    /// The number that was left free for a base, and may not have come to be one.
    spare: Option<u32>,
    /// The last write has failed. Nobody knows what of it is on the disk, so it is cut off before the next.
    broken: bool,
    mark: Arc<dyn DiskFile>,
}

/// The file that is written to.
pub struct Active {
    pub file: Arc<dyn DiskFile>,
    pub number: u32,
    pub salt: u64,
    /// Where the next frame goes.
    pub end: u64,
    /// The file's size. Zeros lie between.
    pub size: u64,
}

impl Active {
    /// A new file, which has its name only once it has its head.
    pub fn create(disk: &dyn Disk, number: u32, first: u64) -> Result<Self, Error> {
        let head = Head::new(FileKind::Log, number, first);
        let (young, name) = (name(number, "new"), name(number, "log"));
        let create = || -> io::Result<Arc<dyn DiskFile>> {
            let file = disk.create(&young)?;
            file.write_at(0, &head.encode())?;
            file.sync()?;
            disk.rename(&young, &name)?;
            disk.sync()?;
            disk.open(&name)
        };
        let file = create().map_err(|e| disk::failed(&disk.path().join(&name), &e))?;
        Ok(Self { file, number, salt: head.salt, end: HEAD as u64, size: HEAD as u64 })
    }

    fn failed(&self, error: &io::Error) -> Error {
        disk::failed(self.file.path(), error)
    }
}

/// The name of a file. Names sort as numbers do.
pub fn name(number: u32, extension: &str) -> String {
    format!("{number:08x}.{extension}")
}

impl Log {
    pub fn new(disk: Arc<dyn Disk>, active: Active, next: u64, sealed_bytes: u64) -> Result<Self, Error> {
        let open = || -> io::Result<Arc<dyn DiskFile>> {
            if disk.names()?.iter().any(|name| name == MARK) { disk.open(MARK) } else { disk.create(MARK) }
        };
        let mark = open().map_err(|e| disk::failed(&disk.path().join(MARK), &e))?;
        let mut log = Self { disk, active, next, sealed_bytes, spare: None, broken: false, mark };
        log.set_mark();
        Ok(log)
    }

    /// Bytes of the files, zeros that lie ahead aside.
    pub fn bytes(&self) -> u64 {
        self.sealed_bytes + self.active.end
    }

    /// Makes a frame durable. Answers in which file it lies, and where.
    pub fn append(&mut self, frame: &mut Frame) -> Result<(u32, u64), Error> {
        if self.broken {
            self.mend()?;
        } else if self.active.end > FILE_BYTES {
            self.roll()?;
        }
        let at = self.active.end;
        let bytes = frame.finish(self.next, self.active.salt);
        let end = at + bytes.len() as u64;
        self.broken = true;
        if end > self.active.size {
            // A disk that has no room for zeros may have some for what counts.
            let _ = self.zeros_ahead(end);
        }
        if let Err(error) = self.active.file.write_at(at, bytes).and_then(|()| self.active.file.sync()) {
            let error = self.active.failed(&error);
            // At once, so that what is refused now is not there after a kill; again before the next write.
            if let Err(also) = self.seal() {
                tracing::warn!(error = %also, "what a refused write left in the store's log could not be cut off yet");
            }
            return Err(error);
        }
        self.broken = false;
        self.active.end = end;
        self.active.size = self.active.size.max(end);
        self.next += 1;
        self.set_mark();
        Ok((self.active.number, at))
    }

    fn zeros_ahead(&mut self, end: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let size = end + (end / 4).clamp(AHEAD.0, AHEAD.1);
        while self.active.size < size {
            let piece = (size - self.active.size).min(ZEROS.len() as u64);
            self.active.file.write_at(self.active.size, &ZEROS[..piece as usize])?;
            self.active.size += piece;
        }
        Ok(())
    }

    /// Cuts off what a failed write may have left, so that it can never come back.
    fn mend(&mut self) -> Result<(), Error> {
        self.seal()?;
        // After a failed sync the kernel takes pages for written that are not: go on elsewhere.
        if self.active.end > HEAD as u64 {
            self.roll()?;
        }
        self.broken = false;
        Ok(())
    }

    fn seal(&mut self) -> Result<(), Error> {
        let active = &mut self.active;
        active.file.set_size(active.end).and_then(|()| active.file.sync()).map_err(|e| disk::failed(active.file.path(), &e))?;
        active.size = active.end;
        Ok(())
    }

    /// Ends the file and begins the next.
    fn roll(&mut self) -> Result<(), Error> {
        self.roll_to(self.active.number + 1)
    }

    fn roll_to(&mut self, number: u32) -> Result<(), Error> {
        self.seal()?;
        let next = Active::create(&*self.disk, number, self.next)?;
        self.sealed_bytes += self.active.end;
        self.active = next;
        Ok(())
    }

    /// Ends the file, and leaves a number free for the base that is going to stand for all files so far.
    pub fn roll_for_base(&mut self) -> Result<u32, Error> {
        if self.broken {
            self.mend()?;
        }
        // A base that has failed is tried again under its number, as long as nothing was written since: a full disk must not fill
        // with files that begin and hold nothing.
        if let Some(base) = self.spare.filter(|base| base + 1 == self.active.number && self.active.end == HEAD as u64) {
            return Ok(base);
        }
        let base = self.active.number + 1;
        self.roll_to(base + 1)?;
        self.spare = Some(base);
        Ok(base)
    }

    /// The base has its number for good.
    pub fn base_named(&mut self) {
        self.spare = None;
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    fn set_mark(&mut self) {
        // Without it less is noticed; no reason to refuse a write that is on the disk.
        if let Err(error) = self.mark.write_at(0, &encode_mark(self.next)) {
            tracing::debug!(%error, "the mark of the store's log could not be written");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.mark.sync() {
            tracing::debug!(%error, "the mark of the store's log could not be synced");
        }
    }
}

fn encode_mark(next: u64) -> [u8; 16] {
    let mut mark = [0; 16];
    mark[..8].copy_from_slice(&next.to_le_bytes());
    let check = crc32fast::hash(&mark[..8]);
    mark[8..12].copy_from_slice(&check.to_le_bytes());
    mark
}

/// The number of the frame that the log must reach at least, as far as the mark can be read.
pub fn read_mark(disk: &dyn Disk) -> Option<u64> {
    let mut mark = [0; 16];
    disk.open(MARK).ok()?.read_at(0, &mut mark).ok()?;
    let next = u64::from_le_bytes(mark[..8].try_into().ok()?);
    (encode_mark(next) == mark).then_some(next)
}
