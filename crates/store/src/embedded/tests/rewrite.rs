//! Files that are rewritten while others read and write, and a disk that fails now and then.

use super::*;
use crate::WatchBatch;
use crate::embedded::disk::{Disk, DiskFile};
use std::io;

/// A disk with somebody who is asked before anything is written or synced.
pub struct Meddled {
    pub inner: Arc<dyn Disk>,
    pub before: Arc<dyn Fn() -> io::Result<()> + Send + Sync>,
}

struct MeddledFile {
    inner: Arc<dyn DiskFile>,
    before: Arc<dyn Fn() -> io::Result<()> + Send + Sync>,
}

impl Meddled {
    fn file(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(MeddledFile { inner, before: self.before.clone() })
    }
}

impl Disk for Meddled {
    fn path(&self) -> &Path {
        self.inner.path()
    }
    fn names(&self) -> io::Result<Vec<String>> {
        self.inner.names()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.inner.create(name)?))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.inner.open(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        (self.before)()?;
        self.inner.sync()
    }
}

impl DiskFile for MeddledFile {
    fn path(&self) -> &Path {
        self.inner.path()
    }
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }
    fn read_at(&self, at: u64, to: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(at, to)
    }
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(at, bytes)
    }
    fn set_size(&self, size: u64) -> io::Result<()> {
        self.inner.set_size(size)
    }
    fn sync(&self) -> io::Result<()> {
        (self.before)()?;
        self.inner.sync()
    }
}

async fn value(store: &Embedded, key: &str) -> Option<u64> {
    store.range(Range { start: key.into(), ..Range::default() }).await.unwrap().kvs.first().map(number)
}

async fn write(store: &Embedded, key: &str, number: u64) -> Result<Revision, Error> {
    let op = Op::Put { value: marked(key, number, 2000), lease: 0 };
    match store.write(Write { key: key.into(), expected: None, op }).await? {
        WriteResult::Done { revision, .. } => Ok(revision),
        conflict => panic!("{conflict:?}"),
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_goes_on_while_files_are_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, passes) = std::sync::mpsc::channel::<()>();
    let (passes, reached) = (parking_lot::Mutex::new(passes), Arc::new(AtomicBool::new(false)));
    let at_gate = reached.clone();
    let before = move || {
        // The copying thread waits where it has written, and synced nothing.
        if std::thread::current().name() == Some("store-rewrite") {
            at_gate.store(true, Ordering::Release);
            // Until the other end is dropped.
            let _ = passes.lock().recv();
        }
        Ok(())
    };
    let inner: Arc<dyn Disk> = Arc::new(Directory::make(dir.path().join(LOG)).unwrap());
    let disk = Arc::new(Meddled { inner, before: Arc::new(before) });
    let store = Arc::new(Embedded::start(dir.path(), disk, None, 256 << 10).unwrap());
    write(&store, "/k/old", 1).await.unwrap();
    write(&store, "/k/deleted", 1).await.unwrap();
    let mut newest = 0;
    while !reached.load(Ordering::Acquire) {
        newest += 1;
        write(&store, "/k/busy", newest).await.unwrap();
    }
    // The copy is held up. All of this has to go on.
    let from = write(&store, "/k/old", 2).await.unwrap();
    let op = Op::Delete;
    store.write(Write { key: "/k/deleted".into(), expected: None, op }).await.unwrap();
    for _ in 0..50 {
        newest += 1;
        write(&store, "/k/busy", newest).await.unwrap();
    }
    store.compact(store.revision().await.unwrap()).await.unwrap();
    write(&store, "/k/new", 7).await.unwrap();
    assert_eq!((value(&store, "/k/old").await, value(&store, "/k/busy").await), (Some(2), Some(newest)));
    assert!(matches!(store.range(Range { revision: from, ..Range::prefix("/k/") }).await, Err(Error::Compacted { .. })));
    let files = || std::fs::read_dir(dir.path().join(LOG)).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some()).count();
    assert_eq!(files(), 3, "two of the log and the unfinished copy");
    let first = dir.path().join(LOG).join("00000001.log");
    assert!(first.exists());
    drop(gate);
    until("the old files have not gone", || !first.exists()).await;
    let moved = || {
        let index = store.shared.index.read();
        index.files.0.len() == 2 && index.newest("/k/old").is_some()
    };
    until("the index still has old places", moved).await;
    let all = async |store: &Embedded| {
        [value(store, "/k/old").await, value(store, "/k/busy").await, value(store, "/k/new").await, value(store, "/k/deleted").await]
    };
    let expected = [Some(2), Some(newest), Some(7), None];
    assert_eq!(all(&store).await, expected);
    drop(store);
    assert_eq!(all(&Embedded::open(dir.path()).unwrap()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_the_disk_refused_is_not_there_and_the_next_one_is() {
    let failing = Arc::new(AtomicBool::new(false));
    let fails = failing.clone();
    let before = move || if fails.load(Ordering::Acquire) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) };
    let simulated = super::disk::Simulated::default();
    let disk: Arc<dyn Disk> = Arc::new(Meddled { inner: Arc::new(simulated.clone()), before: Arc::new(before) });
    let store = Embedded::start("meddled".as_ref(), disk, None, PAST_BYTES).unwrap();
    let first = write(&store, "/k/a", 1).await.unwrap();
    let mut watch = store.watch(WatchRequest { start: "/k/".into(), end: "/k0".into(), from: 0, previous: false }).await.unwrap();
    failing.store(true, Ordering::Release);
    for refused in 2..5 {
        assert!(matches!(write(&store, "/k/a", refused).await, Err(Error::Unavailable(_))));
    }
    assert!(store.compact(first).await.is_err());
    assert_eq!(value(&store, "/k/a").await, Some(1), "a write that was refused is read");
    // Were the process killed now, nothing refused might come back.
    let mut left = simulated.cut(&mut Random(1));
    assert_eq!(value(&Embedded::start("cut".as_ref(), Arc::new(left), None, PAST_BYTES).unwrap(), "/k/a").await, Some(1));
    failing.store(false, Ordering::Release);
    assert_eq!(write(&store, "/k/a", 9).await.unwrap(), first + 1);
    assert!(matches!(watch.next().await, Some(Ok(WatchBatch::Events { revision, .. })) if revision == first + 1));
    left = simulated.cut(&mut Random(2));
    assert_eq!(value(&Embedded::start("cut".as_ref(), Arc::new(left), None, PAST_BYTES).unwrap(), "/k/a").await, Some(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_cannot_be_written_costs_nobody_anything() {
    let dir = tempfile::tempdir().unwrap();
    let tries = Arc::new(AtomicU64::new(0));
    let tried = tries.clone();
    let before = move || {
        if std::thread::current().name() == Some("store-rewrite") {
            tried.fetch_add(1, Ordering::AcqRel);
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    };
    let inner: Arc<dyn Disk> = Arc::new(Directory::make(dir.path().join(LOG)).unwrap());
    let disk = Arc::new(Meddled { inner, before: Arc::new(before) });
    let store = Embedded::start(dir.path(), disk, None, 64 << 10).unwrap();
    let mut last = 0;
    while tries.load(Ordering::Acquire) == 0 {
        last += 1;
        write(&store, "/k/busy", last).await.unwrap();
    }
    write(&store, "/k/busy", last + 1).await.unwrap();
    assert_eq!(value(&store, "/k/busy").await, Some(last + 1));
    drop(store);
    let store = Embedded::open(dir.path()).unwrap();
    assert_eq!(value(&store, "/k/busy").await, Some(last + 1));
    assert!(
        !std::fs::read_dir(dir.path().join(LOG)).unwrap().any(|e| e.unwrap().path().extension().is_some_and(|e| e == "new" || e == "base"))
    );
}
