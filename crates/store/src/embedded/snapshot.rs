//! Snapshots: a file of their own that holds one moment of the store, and can be put in its place.
//!
//! A snapshot is a base. Writers neither wait for it nor show up halfway in it.

use super::base::{self, BaseWriter, Moment};
use super::disk::{self, Directory, Disk};
use super::record::{Kind, Record};
use super::{LOG, Shared, load, log, takeover};
use crate::{Error, Range, Revision};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How far a restored store's revisions move on. Clients remember revisions from after the snapshot was taken;
/// none of them may come to mean something else.
pub const RESTORED: Revision = 1_000_000_000;

/// How the name of a file begins that is a snapshot on its way to a reader.
const UNFINISHED: &str = "store.snapshot-";

/// What a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub revision: Revision,
    /// Keys that exist at that revision.
    pub keys: usize,
    pub size_bytes: u64,
}

#[derive(Clone, Debug)]
pub struct Restored {
    pub summary: Summary,
    /// The revision that the store goes on from.
    pub revision: Revision,
    /// Where what was there before is now.
    pub replaced: Option<PathBuf>,
}

/// Writes a moment of the store to a file that nobody else sees, and answers it, open at its beginning.
pub(super) fn write(shared: &Shared, moment: &Moment) -> Result<std::fs::File, Error> {
    let path = shared.dir.join(format!("{UNFINISHED}{:x}", super::unique()));
    let written = disk::create_file(&path)
        .and_then(|file| base::write(&shared.index, moment, file, 0, &AtomicBool::new(false), drop))
        .and_then(|()| std::fs::File::open(&path).map_err(|e| disk::failed(&path, &e)));
    // The open file is all that is needed, and it goes with its reader.
    disk::remove_file(&path)?;
    written
}

/// Verifies a snapshot, and says what is in it.
pub fn inspect(path: &Path) -> Result<Summary, Error> {
    let size_bytes = std::fs::metadata(path).map_err(|e| disk::failed(path, &e))?.len();
    if is_etcd(path) {
        return Err(Error::Other(format!("{} is a snapshot of etcd; `etcdutl snapshot status` reads it", path.display())));
    }
    let read = |base: &Path| load::read_snapshot(&*disk::open_file(base)?);
    let state = with_base(path, read).map_err(|error| not_whole(path, error))?;
    let (_, _, keys) = state.index.range(&Range { start: "\0".into(), end: "\u{10ffff}".into(), limit: 1, revision: 0 });
    Ok(Summary { revision: state.index.revision, keys, size_bytes })
}

/// A snapshot as a base: itself, or what becomes of an old one.
fn with_base<T>(snapshot: &Path, work: impl FnOnce(&Path) -> Result<T, Error>) -> Result<T, Error> {
    if !takeover::is_old(snapshot) {
        return work(snapshot);
    }
    // Opening it may write, and the snapshot is to stay as it is.
    beside(snapshot, "verify", |copy| {
        std::fs::copy(snapshot, copy).map_err(|e| disk::failed(copy, &e))?;
        beside(snapshot, "converted", |base| {
            takeover::convert(copy, disk::create_file(base)?, 0, 1)?;
            work(base)
        })
    })
}

fn not_whole(path: &Path, error: Error) -> Error {
    match error {
        Error::Corrupt(what) => Error::Corrupt(format!("{} is no whole snapshot; take an older one ({what})", path.display())),
        other => other,
    }
}

/// Puts a snapshot in the place of the store in `dir`, which nobody may have open. What was there is kept beside it.
pub fn restore(snapshot: &Path, dir: &Path) -> Result<Restored, Error> {
    let summary = inspect(snapshot)?;
    std::fs::create_dir_all(dir).map_err(|e| disk::failed(dir, &e))?;
    let _lock = super::lock(dir)?;
    let _old_lock = takeover::lock(dir)?;
    let logs = Directory::make(dir.join(LOG))?;
    let names = logs.names().map_err(|e| disk::failed(logs.path(), &e))?;
    let replaced = keep_old(dir, &names)?;
    // It has the highest number, and with its name it stands for all that is there, whole or not.
    let number = ["log", "base"].iter().filter_map(|kind| load::numbers(&names, kind).pop()).max().unwrap_or(0) + 1;
    let first = log::read_mark(&logs).unwrap_or(1);
    let revision = summary.revision + RESTORED;
    let (young, name) = (log::name(number, "new"), log::name(number, "base"));
    let file = logs.create(&young).map_err(|e| disk::failed(&logs.path().join(&young), &e))?;
    with_base(snapshot, |base| copy_moved_on(base, file, number, first, revision)).inspect_err(|_| drop(logs.remove(&young)))?;
    disk::put_in_place(&logs.path().join(young), &logs.path().join(name))?;
    takeover::set_aside(dir, replaced.as_deref().filter(|path| !path.exists()))?;
    Ok(Restored { summary, revision, replaced })
}

/// Copies a base and makes everything before its state the forgotten past.
fn copy_moved_on(from: &Path, to: Arc<dyn disk::DiskFile>, number: u32, first: u64, revision: Revision) -> Result<(), Error> {
    let from = disk::open_file(from)?;
    let mut writer = BaseWriter::new(to, number, first, revision, revision)?;
    let mut outcome = Ok(());
    load::read_base(&*from, |record, _| {
        if outcome.is_ok() && !matches!(record.kind, Kind::State | Kind::End | Kind::Compacted) {
            outcome = writer.push(&Record { ..*record }).map(drop);
        }
    })?;
    outcome?;
    writer.finish()
}

/// Links the files of a store into a directory of their own.
fn keep_old(dir: &Path, names: &[String]) -> Result<Option<PathBuf>, Error> {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let old: Vec<&String> = names.iter().filter(|name| name.ends_with(".log") || name.ends_with(".base")).collect();
    if old.is_empty() {
        return Ok(takeover::old_file(dir).map(|file| file.with_extension(format!("redb.replaced-{seconds}"))));
    }
    let kept = dir.join(format!("{LOG}.replaced-{seconds}"));
    std::fs::create_dir_all(&kept).map_err(|e| disk::failed(&kept, &e))?;
    for name in old {
        let to = kept.join(name);
        match std::fs::hard_link(dir.join(LOG).join(name), &to) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(disk::failed(&to, &e)),
            _ => {}
        }
    }
    Ok(Some(kept))
}

/// Whether a file is an etcd database (bbolt): its magic number is in the first page.
fn is_etcd(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0u8; 20];
    let read = std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut head));
    read.is_ok() && head[16..20] == 0xED0C_DAED_u32.to_le_bytes()
}

/// Removes what a process that was killed has left of snapshots.
pub(super) fn remove_unfinished(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            // It is in nobody's way.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Does something with a file beside another, which is gone afterwards.
fn beside<T>(path: &Path, extension: &str, work: impl FnOnce(&Path) -> Result<T, Error>) -> Result<T, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    let file = PathBuf::from(name);
    let done = work(&file);
    disk::remove_file(&file)?;
    done
}
