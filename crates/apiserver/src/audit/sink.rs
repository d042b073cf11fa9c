//! Where events go: a file that is turned over when it is large, or standard output. Requests hand events
//! over and go on; when the disk cannot follow, events are dropped and counted, and nobody waits.

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use prometheus::IntCounter;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// Upstream's buffer.
const WAITING: usize = 10_000;

/// A file, and when it is turned over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// `-` is standard output.
    pub path: PathBuf,
    pub max_size_megabytes: u64,
    /// Older files are removed; 0: none for its age.
    pub max_age_days: u64,
    /// More files than this are removed, the oldest first; 0: none for their number.
    pub max_backups: usize,
}

impl LogFile {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_size_megabytes: 100, max_age_days: 0, max_backups: 0 }
    }
}

pub struct Sink {
    send: Option<SyncSender<Bytes>>,
    writer: Option<JoinHandle<()>>,
    dropped: IntCounter,
}

impl Sink {
    /// Opens the file, so that a path that cannot be written is known at the start.
    pub fn open(config: &LogFile, dropped: IntCounter) -> io::Result<Self> {
        let mut output = Output::open(config)?;
        let (send, receive) = sync_channel(WAITING);
        let failed = dropped.clone();
        let writer = std::thread::Builder::new().name("audit".into()).spawn(move || output.run(&receive, &failed))?;
        Ok(Self { send: Some(send), writer: Some(writer), dropped })
    }

    /// One line. Never waits.
    pub fn write(&self, line: Bytes) {
        if self.send.as_ref().is_none_or(|send| send.try_send(line).is_err()) {
            self.dropped.inc();
        }
    }
}

impl Drop for Sink {
    /// What was handed over is written.
    fn drop(&mut self) {
        self.send = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

enum Target {
    Stdout(io::Stdout),
    File { file: BufWriter<File>, size: u64 },
}

struct Output {
    config: LogFile,
    target: Target,
}

impl Output {
    fn open(config: &LogFile) -> io::Result<Self> {
        let target = if config.path == Path::new("-") {
            Target::Stdout(io::stdout())
        } else {
            let (file, size) = append(&config.path)?;
            Target::File { file, size }
        };
        Ok(Self { config: config.clone(), target })
    }

    fn run(&mut self, receive: &Receiver<Bytes>, failed: &IntCounter) {
        let mut said = false;
        while let Ok(first) = receive.recv() {
            // As many as there are, then to the disk.
            let lines = std::iter::once(first).chain(receive.try_iter());
            let mut outcome = Ok(());
            for line in lines {
                if let Err(error) = self.line(&line) {
                    failed.inc();
                    outcome = Err(error);
                }
            }
            match outcome.and_then(|()| self.flush()) {
                Ok(()) => said = false,
                Err(error) if !said => {
                    tracing::error!(%error, path = %self.config.path.display(), "the audit log cannot be written");
                    said = true;
                }
                Err(_) => {}
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let limit = self.config.max_size_megabytes << 20;
        if let Target::File { size, .. } = &self.target
            && limit > 0
            && *size > 0
            && *size + line.len() as u64 > limit
        {
            self.turn()?;
        }
        match &mut self.target {
            Target::Stdout(out) => out.write_all(line),
            Target::File { file, size } => {
                *size += line.len() as u64;
                file.write_all(line)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::Stdout(out) => out.flush(),
            Target::File { file, .. } => file.flush(),
        }
    }

    /// The file gets a name with the time in it, and a new one begins.
    fn turn(&mut self) -> io::Result<()> {
        self.flush()?;
        let path = self.config.path.clone();
        let time = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H-%M-%S%.3f").to_string();
        let mut backup = backup_name(&path, &time);
        let mut more = 0;
        while backup.exists() {
            more += 1;
            backup = backup_name(&path, &format!("{time}-{more}"));
        }
        fs::rename(&path, &backup)?;
        let (file, size) = append(&path)?;
        self.target = Target::File { file, size };
        for old in surplus(&self.config, &backups(&path)?, SystemTime::now()) {
            let _ = fs::remove_file(old);
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    let file = File::options().create(true).append(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((BufWriter::new(file), size))
}

/// `audit.log` becomes `audit-<time>.log`.
fn backup_name(path: &Path, time: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
    path.with_file_name(format!("{stem}-{time}{extension}"))
}

/// The files that were turned over, the oldest first, with when that was.
fn backups(path: &Path) -> io::Result<Vec<(PathBuf, SystemTime)>> {
    let start = format!("{}-2", path.file_stem().unwrap_or_default().to_string_lossy());
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let same = entry.path().extension() == path.extension();
        if same && entry.file_name().to_string_lossy().starts_with(&start) {
            found.push((entry.path(), entry.metadata()?.modified()?));
        }
    }
    found.sort();
    Ok(found)
}

fn surplus(config: &LogFile, backups: &[(PathBuf, SystemTime)], now: SystemTime) -> Vec<PathBuf> {
    let age = Duration::from_secs(config.max_age_days * 86_400);
    let kept = if config.max_backups == 0 { backups.len() } else { config.max_backups };
    let too_many = backups.len().saturating_sub(kept);
    let too_old = |modified: &SystemTime| config.max_age_days > 0 && now.duration_since(*modified).is_ok_and(|a| a > age);
    let gone = backups.iter().enumerate().filter(|(i, (_, modified))| *i < too_many || too_old(modified));
    gone.map(|(_, (path, _))| path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_turned_over_and_only_the_newest_are_kept() {
        let dir = std::env::temp_dir().join(format!("audit-{}", uuid::Uuid::new_v4()));
        let config = LogFile { max_size_megabytes: 1, max_backups: 2, ..LogFile::new(dir.join("audit.log")) };
        let dropped = IntCounter::new("dropped", "none").unwrap();
        let sink = Sink::open(&config, dropped.clone()).unwrap();
        let line = Bytes::from(format!("{}\n", "x".repeat((400 << 10) - 1)));
        for _ in 0..10 {
            sink.write(line.clone());
        }
        drop(sink);
        let turned = backups(&config.path).unwrap();
        assert_eq!((turned.len(), dropped.get()), (2, 0));
        assert!(turned.iter().all(|(path, _)| fs::metadata(path).unwrap().len() == 800 << 10));
        let old = LogFile { max_age_days: 1, ..config };
        let later = SystemTime::now() + Duration::from_secs(2 * 86_400);
        assert_eq!(surplus(&old, &turned, later).len(), 2);
        fs::remove_dir_all(dir).unwrap();
    }
}
