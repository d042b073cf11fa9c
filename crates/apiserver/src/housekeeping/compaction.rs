//! The end of old history, and of space that it leaves unused.
//!
//! Several servers share one store, upstream's among them. As upstream has it, whoever writes the key of the round
//! compacts in it; the others see that it was written, and wait for the next.

use crate::server::ApiServer;
use bytes::Bytes;
use std::time::Duration;
use store::{Error, Op, Revision, Store, Write, WriteResult};

/// Upstream's; its value is the revision of the round before.
const KEY: &str = "compact_rev_key";
/// Upstream's `--etcd-compaction-interval`: history is kept for one to two of these.
const INTERVAL: Duration = Duration::from_secs(300);

/// What one server knows of the rounds.
#[derive(Default)]
pub struct Compactor {
    /// The key's revision when it was last seen.
    seen: Revision,
    /// The store's revision then: history up to it is old in the next round.
    then: Revision,
}

impl Compactor {
    /// One round. The revision up to which history was forgotten, if it was this server's to do.
    pub async fn round(&mut self, store: &dyn Store) -> Result<Option<Revision>, Error> {
        let op = Op::Put { value: Bytes::from(self.then.to_string()), lease: 0 };
        match store.write(Write { key: KEY.into(), expected: Some(self.seen), op }).await? {
            WriteResult::Conflict { revision, current } => {
                self.seen = current.map_or(0, |kv| kv.mod_revision);
                self.then = revision;
                Ok(None)
            }
            WriteResult::Done { revision, .. } => {
                self.seen = revision;
                let old = std::mem::replace(&mut self.then, revision);
                if old == 0 {
                    return Ok(None);
                }
                match store.compact(old).await {
                    Ok(()) => Ok(Some(old)),
                    // Somebody who knows no rounds was here.
                    Err(Error::Compacted { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

pub async fn run(server: ApiServer) {
    let (store, stop) = (server.store().clone(), server.inner.stop.clone());
    drop(server);
    let mut compactor = Compactor::default();
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        match compactor.round(&*store).await {
            Ok(Some(revision)) => tracing::debug!(revision, "history before it is forgotten"),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "old history could not be forgotten"),
        }
        match store.defragment().await {
            Ok(0) => {}
            Ok(members) => tracing::info!(members, "the store has given unused space back"),
            Err(error) => tracing::warn!(%error, "the store could not be defragmented"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Embedded;

    #[tokio::test]
    async fn of_several_servers_one_compacts_in_each_round() {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path()).unwrap();
        let mut servers = [Compactor::default(), Compactor::default(), Compactor::default()];
        let mut done = Vec::new();
        for round in 0..4 {
            for i in 0..servers.len() {
                // Whoever comes first changes from round to round.
                done.push((round, servers[(i + round) % 3].round(&store).await.unwrap()));
            }
        }
        let compacted: Vec<_> = done.iter().filter_map(|(round, revision)| revision.map(|r| (*round, r))).collect();
        assert!(compacted.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{done:?}");
        assert!(compacted.len() >= 2, "{done:?}");
    }
}
