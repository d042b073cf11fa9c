//! Power cuts: what was written to the disk but not synced arrives in part, in any order, or torn.

use super::*;
use parking_lot::Mutex;
use redb::StorageBackend;
use std::collections::HashMap;
use std::io;

/// How many cuts; thousands for a night.
const CUTS: &str = "SOCLE_STORE_POWER_CUTS";
const SECTOR: usize = 512;
const WRITERS: u64 = 4;

/// A disk that knows what it has not been told to keep.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platters>>);

#[derive(Clone, Debug, Default)]
struct Platters {
    durable: Vec<u8>,
    live: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Data(usize, Vec<u8>),
}

impl Change {
    fn make(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(*length, 0),
            Self::Data(at, data) => {
                to.resize(to.len().max(at + data.len()), 0);
                to[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }
}

impl Platters {
    fn change(&mut self, change: Change) {
        change.make(&mut self.live);
        self.unsynced.push(change);
    }

    /// What the disk holds after a power cut now.
    fn cut(&self, random: &mut Random) -> Vec<u8> {
        let mut left = self.durable.clone();
        for change in &self.unsynced {
            match (random.below(3), change) {
                (0, _) => {}
                (1, change) => change.make(&mut left),
                (_, Change::Length(_)) => change.make(&mut left),
                // Torn: some of its sectors.
                (_, Change::Data(at, data)) => {
                    for (i, sector) in data.chunks(SECTOR).enumerate() {
                        if random.below(2) == 0 {
                            Change::Data(at + i * SECTOR, sector.to_vec()).make(&mut left);
                        }
                    }
                }
            }
        }
        left
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        let platters = self.0.lock();
        let data = platters.live.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(data);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.lock().change(Change::Length(length as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let platters = &mut *self.0.lock();
        for change in platters.unsynced.drain(..) {
            change.make(&mut platters.durable);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().change(Change::Data(offset as usize, data.to_vec()));
        Ok(())
    }
}

fn open(disk: &Disk) -> Embedded {
    let database = Database::builder().set_check_integrity_on_open(true).create_with_backend(disk.clone()).unwrap();
    if database.begin_read().unwrap().open_table(tables::COUNTERS).is_err() {
        tables::prepare(&database).unwrap();
    }
    Embedded::start("power".into(), database, 64 << 10).unwrap()
}

type Acknowledged = Arc<Mutex<HashMap<String, (u64, Revision)>>>;

fn writers(store: &Arc<Embedded>, from: u64, acknowledged: &Acknowledged) -> tokio::task::JoinSet<()> {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, acknowledged) = (store.clone(), acknowledged.clone());
        writers.spawn(async move {
            for number in from.. {
                let key = format!("/k/{writer}/{}", number % 20);
                let value = marked(&key, number, (number * 7919 % 5000) as usize);
                let done = store.write(Write { key: key.clone(), expected: None, op: Op::Put { value, lease: 0 } }).await;
                let Ok(WriteResult::Done { revision, .. }) = done else { panic!("{done:?}") };
                acknowledged.lock().insert(key, (number, revision));
            }
        });
    }
    writers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_power_cuts_and_torn_writes() {
    let acknowledged = Acknowledged::default();
    let mut disk = Disk::default();
    drop(open(&disk));
    let mut from = 0;
    for round in 0..rounds(CUTS, 150) {
        let mut random = Random(round);
        let store = Arc::new(open(&disk));
        let mut running = writers(&store, from, &acknowledged);
        let mut images = Vec::new();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_micros(random.below(4000))).await;
            // In this order: whatever is acknowledged before the cut has to survive it.
            let before = acknowledged.lock().clone();
            let platters = disk.0.lock().clone();
            images.push((before, platters.cut(&mut random)));
        }
        running.shutdown().await;
        drop(store);
        for (known, image) in images {
            disk = Disk(Arc::new(Mutex::new(Platters { durable: image.clone(), live: image, unsynced: Vec::new() })));
            let store = open(&disk);
            let found = store.range(Range::prefix("/k/")).await.unwrap();
            let stored: HashMap<&str, &KeyValue> = found.kvs.iter().map(|kv| (&*kv.key, kv)).collect();
            for kv in stored.values() {
                number(kv);
            }
            for (key, (last, revision)) in &known {
                let kv = stored.get(key.as_str()).unwrap_or_else(|| panic!("round {round}: {key} is gone"));
                assert!(kv.mod_revision >= *revision && number(kv) >= *last, "round {round}: {key} went back");
            }
            from = from.max(stored.values().map(|kv| number(kv)).max().unwrap_or(0) + 1);
            *acknowledged.lock() = stored.values().map(|kv| (kv.key.to_string(), (number(kv), kv.mod_revision))).collect();
        }
    }
    assert!(from > 100, "the writers wrote next to nothing");
}
