//! Which pod holds which address: one small file for each, under a lock of the directory.
//!
//! The file's name says all that finding it needs (address, interface, container), so that giving out
//! and giving back read the directory and nothing else. Its content is what detaching needs. Addresses
//! go round: one that was just released is the last to be given out again, so that whoever still sends
//! to a pod that is gone does not reach its successor.

use super::CniError;
use super::request::PortMapping;
use ipnet::Ipv4Net;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";
const LAST: &str = "last";

/// Whose an address is: one interface of one pod sandbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    pub container: String,
    pub interface: String,
}

/// What is kept with an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    /// The path of the pod's network namespace; when it is gone, so is the pod.
    pub namespace: PathBuf,
    #[serde(default)]
    pub ports: Vec<PortMapping>,
}

/// The open, locked directory; the lock ends with it.
pub struct Leases {
    directory: PathBuf,
    _lock: Flock<File>,
}

impl Leases {
    pub fn open(state_dir: &Path) -> Result<Self, CniError> {
        let directory = state_dir.join("addresses");
        let lock_path = directory.join(LOCK);
        let open = || File::options().create(true).append(true).open(&lock_path);
        let file = open().or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => fs::create_dir_all(&directory).and_then(|()| open()),
            _ => Err(error),
        });
        let file = file.map_err(|source| CniError::State { action: "cannot open", path: lock_path.clone(), source })?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| CniError::State {
            action: "cannot lock",
            path: lock_path,
            source: errno.into(),
        })?;
        Ok(Self { directory, _lock: lock })
    }

    /// Gives the holder an address, or the one that it already holds.
    pub fn reserve(&self, pods: Ipv4Net, holder: &Holder, reservation: &Reservation) -> Result<Ipv4Addr, CniError> {
        let mut taken = self.list()?;
        let held = taken.iter().find(|(address, by)| *by == holder && pods.contains(*address)).map(|(address, _)| *address);
        let last = || fs::read_to_string(self.directory.join(LAST)).ok()?.trim().parse().ok();
        let address = match held {
            Some(address) => address,
            None => match next_free(pods, last(), &taken) {
                Some(address) => address,
                None => {
                    self.drop_stale(&taken)?;
                    taken = self.list()?;
                    next_free(pods, last(), &taken).ok_or(CniError::Exhausted(pods))?
                }
            },
        };
        let content = serde_json::to_vec(reservation).map_err(CniError::Decode)?;
        self.write(&file_name(address, holder), &content)?;
        self.write(LAST, address.to_string().as_bytes())?;
        Ok(address)
    }

    /// What the holder holds (more than one address only if the pod CIDR was changed under it).
    pub fn held_by(&self, holder: &Holder) -> Result<Vec<(Ipv4Addr, Reservation)>, CniError> {
        let held = self.list()?.into_iter().filter(|(_, by)| by == holder);
        Ok(held.map(|(address, by)| (address, self.read(address, &by))).collect())
    }

    /// Everything that is held now.
    pub fn all(&self) -> Result<Vec<(Ipv4Addr, Holder, Reservation)>, CniError> {
        let all = self.list()?.into_iter();
        Ok(all.map(|(address, holder)| (address, holder.clone(), self.read(address, &holder))).collect())
    }

    pub fn release(&self, holder: &Holder) -> Result<(), CniError> {
        for (address, by) in self.list()? {
            if by == *holder {
                self.remove(address, &by)?;
            }
        }
        Ok(())
    }

    /// Releases what belongs to pods whose network namespace is gone, as after a reboot.
    pub fn reconcile(&self) -> Result<usize, CniError> {
        self.drop_stale(&self.list()?)
    }

    fn drop_stale(&self, taken: &BTreeMap<Ipv4Addr, Holder>) -> Result<usize, CniError> {
        let mut dropped = 0;
        for (address, holder) in taken {
            let reservation = self.read(*address, holder);
            // Only a plain "not there" counts; an unreadable path proves nothing.
            if reservation.namespace.try_exists().is_ok_and(|exists| !exists) {
                self.remove(*address, holder)?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    fn list(&self) -> Result<BTreeMap<Ipv4Addr, Holder>, CniError> {
        let failed = |source| CniError::State { action: "cannot list", path: self.directory.clone(), source };
        let mut taken = BTreeMap::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            taken.extend(name.to_str().and_then(parse_name));
        }
        Ok(taken)
    }

    /// A reservation that cannot be read (power lost while it was written) keeps its address taken until
    /// its holder is detached.
    fn read(&self, address: Ipv4Addr, holder: &Holder) -> Reservation {
        let content = fs::read(self.directory.join(file_name(address, holder))).unwrap_or_default();
        serde_json::from_slice(&content).unwrap_or_default()
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), CniError> {
        let path = self.directory.join(name);
        fs::write(&path, content).map_err(|source| CniError::State { action: "cannot write", path, source })
    }

    fn remove(&self, address: Ipv4Addr, holder: &Holder) -> Result<(), CniError> {
        let path = self.directory.join(file_name(address, holder));
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CniError::State { action: "cannot remove", path, source }),
            _ => Ok(()),
        }
    }
}

fn file_name(address: Ipv4Addr, holder: &Holder) -> String {
    format!("{address},{},{}", holder.interface, holder.container)
}

fn parse_name(name: &str) -> Option<(Ipv4Addr, Holder)> {
    let mut parts = name.splitn(3, ',');
    let address = parts.next()?.parse().ok()?;
    let interface = parts.next()?.to_string();
    Some((address, Holder { interface, container: parts.next()?.to_string() }))
}

/// The next address after the one given out last; never the network's, the bridge's or the broadcast.
fn next_free(pods: Ipv4Net, last: Option<Ipv4Addr>, taken: &BTreeMap<Ipv4Addr, Holder>) -> Option<Ipv4Addr> {
    let first = u32::from(crate::config::gateway_of(pods)) + 1;
    let end = u32::from(pods.broadcast());
    let last = last.map_or(first, |last| u32::from(last).saturating_add(1));
    let start = if (first..end).contains(&last) { last } else { first };
    (start..end).chain(first..start).map(Ipv4Addr::from).find(|address| !taken.contains_key(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(id: u32) -> Holder {
        Holder { container: format!("c{id}"), interface: "eth0".into() }
    }

    fn here() -> Reservation {
        Reservation { namespace: "/proc/self/ns/net".into(), ports: Vec::new() }
    }

    #[test]
    fn addresses_go_round_and_are_reused_last() {
        let directory = tempfile::tempdir().unwrap();
        let pods: Ipv4Net = "10.42.0.0/29".parse().unwrap();
        let leases = Leases::open(directory.path()).unwrap();
        let reserve = |id| leases.reserve(pods, &holder(id), &here()).unwrap().octets()[3];
        assert_eq!((reserve(1), reserve(2)), (2, 3));
        assert_eq!(reserve(1), 2, "a repeated request gets the same address");
        leases.release(&holder(1)).unwrap();
        leases.release(&holder(1)).unwrap();
        assert_eq!((reserve(3), reserve(4)), (4, 5), "free, but .2 was released a moment ago");
        assert_eq!((reserve(5), reserve(6)), (6, 2));
        assert!(matches!(leases.reserve(pods, &holder(7), &here()), Err(CniError::Exhausted(_))));
        leases.release(&holder(4)).unwrap();
        assert_eq!(reserve(7), 5);
    }

    #[test]
    fn a_namespace_that_is_gone_frees_its_address() {
        let directory = tempfile::tempdir().unwrap();
        let pods: Ipv4Net = "10.42.0.0/30".parse().unwrap();
        let leases = Leases::open(directory.path()).unwrap();
        let gone = Reservation { namespace: directory.path().join("gone"), ports: Vec::new() };
        leases.reserve(pods, &holder(1), &gone).unwrap();
        assert_eq!(leases.reserve(pods, &holder(2), &here()).unwrap().octets()[3], 2, "the only address, stale");
        assert_eq!(leases.reconcile().unwrap(), 0);
        assert_eq!(leases.all().unwrap(), vec![(Ipv4Addr::new(10, 42, 0, 2), holder(2), here())]);
    }

    #[test]
    fn foreign_and_broken_files_do_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let leases = Leases::open(directory.path()).unwrap();
        fs::write(directory.path().join("addresses/notes.txt"), "hello").unwrap();
        fs::write(directory.path().join("addresses/10.42.0.2,eth0,c9"), "{torn").unwrap();
        let pods: Ipv4Net = "10.42.0.0/24".parse().unwrap();
        assert_eq!(leases.reserve(pods, &holder(1), &here()).unwrap().octets()[3], 3);
        leases.release(&holder(9)).unwrap();
        assert_eq!(leases.all().unwrap().len(), 1);
    }
}
