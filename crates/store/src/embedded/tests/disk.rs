//! A disk that knows what it has not been told to keep.

use super::Random;
use crate::embedded::disk::{Disk, DiskFile};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SECTOR: usize = 512;

/// Files by the number they got when they were created: a name may come to mean another.
#[derive(Clone, Debug, Default)]
struct Platters {
    files: Vec<Data>,
    names: HashMap<String, usize>,
    durable_names: HashMap<String, usize>,
    unsynced_names: Vec<Renaming>,
}

#[derive(Clone, Debug, Default)]
struct Data {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Size(usize),
    Data(usize, Vec<u8>),
}

#[derive(Clone, Debug)]
enum Renaming {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl Change {
    fn make(&self, to: &mut Vec<u8>) {
        match self {
            Self::Size(size) => to.resize(*size, 0),
            Self::Data(at, data) => {
                to.resize(to.len().max(at + data.len()), 0);
                to[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }
}

impl Renaming {
    fn make(&self, names: &mut HashMap<String, usize>) {
        match self {
            Self::Create(name, file) => drop(names.insert(name.clone(), *file)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

impl Data {
    fn change(&mut self, change: Change) {
        change.make(&mut self.live);
        self.unsynced.push(change);
    }

    /// What is left of it: changes that were not synced arrive in part, in any order, or torn.
    fn cut(&self, random: &mut Random) -> Vec<u8> {
        let mut left = self.durable.clone();
        for change in &self.unsynced {
            match (random.below(3), change) {
                (0, _) => {}
                (1, change) => change.make(&mut left),
                (_, Change::Size(_)) => change.make(&mut left),
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

impl Platters {
    fn rename(&mut self, renaming: Renaming) {
        renaming.make(&mut self.names);
        self.unsynced_names.push(renaming);
    }
}

#[derive(Clone, Debug, Default)]
pub struct Simulated(Arc<Mutex<Platters>>);

impl Simulated {
    /// What the disk holds after a power cut now. Names arrive in the order in which they were changed, as far as they do.
    pub fn cut(&self, random: &mut Random) -> Self {
        let platters = self.0.lock();
        let mut names = platters.durable_names.clone();
        let arrived = random.below(platters.unsynced_names.len() as u64 + 1) as usize;
        for renaming in &platters.unsynced_names[..arrived] {
            renaming.make(&mut names);
        }
        // Files that have no name any more are gone.
        let mut files = Vec::new();
        for file in names.values_mut() {
            let left = platters.files[*file].cut(random);
            files.push(Data { live: left.clone(), durable: left, unsynced: Vec::new() });
            *file = files.len() - 1;
        }
        Self(Arc::new(Mutex::new(Platters { files, durable_names: names.clone(), names, unsynced_names: Vec::new() })))
    }
}

impl Disk for Simulated {
    fn path(&self) -> &Path {
        Path::new("simulated")
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let platters = &mut *self.0.lock();
        platters.files.push(Data::default());
        let number = platters.files.len() - 1;
        platters.rename(Renaming::Create(name.into(), number));
        Ok(Arc::new(SimulatedFile { disk: self.clone(), number, path: name.into() }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let number = *self.0.lock().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), number, path: name.into() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.lock().rename(Renaming::Rename(from.into(), to.into()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().rename(Renaming::Remove(name.into()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let platters = &mut *self.0.lock();
        for renaming in platters.unsynced_names.drain(..) {
            renaming.make(&mut platters.durable_names);
        }
        Ok(())
    }
}

struct SimulatedFile {
    disk: Simulated,
    number: usize,
    path: PathBuf,
}

impl SimulatedFile {
    fn with<T>(&self, work: impl FnOnce(&mut Data) -> T) -> T {
        work(&mut self.disk.0.lock().files[self.number])
    }
}

impl DiskFile for SimulatedFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.with(|data| data.live.len() as u64))
    }

    fn read_at(&self, at: u64, to: &mut [u8]) -> io::Result<()> {
        let at = at as usize;
        self.with(|data| {
            to.copy_from_slice(data.live.get(at..at + to.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|data| data.change(Change::Data(at as usize, bytes.to_vec())));
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.with(|data| data.change(Change::Size(size as usize)));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|data| {
            for change in data.unsynced.drain(..) {
                change.make(&mut data.durable);
            }
        });
        Ok(())
    }
}
