//! Defragmentation. A member that defragments answers nobody meanwhile, so it is done to one at a time, followers
//! first, only while all others are well, and by one client only.

use super::Etcd;
use super::convert::unsigned;
use super::members::failure;
use crate::{Error, Op, Store, Write, WriteResult};
use bytes::Bytes;
use etcd_client::{Client, StatusResponse};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Whoever holds this key, by a lease, may defragment.
const KEY: &str = "socle_defragmentation";
/// What it may take: some seconds a gigabyte, on slow disks.
const AT_MOST: Duration = Duration::from_secs(300);
const STATUS: Duration = Duration::from_secs(5);
/// How long a member may take to be well again.
const RECOVERY: Duration = Duration::from_secs(60);

pub async fn defragment(etcd: &Etcd) -> Result<usize, Error> {
    let members = etcd.members.all();
    let statuses = every_status(etcd).await?;
    let mut wanted: Vec<usize> = (0..members.len()).filter(|i| fragmented(&statuses[*i], etcd.defragment_above)).collect();
    if wanted.is_empty() {
        return Ok(0);
    }
    let leads = |i: &usize| statuses[*i].header().is_some_and(|h| h.member_id() == statuses[*i].leader());
    wanted.sort_by_key(leads);
    let lease = etcd.lease_grant(AT_MOST * u32::try_from(members.len()).unwrap_or(1)).await?;
    let claim = Write { key: KEY.into(), expected: Some(0), op: Op::Put { value: Bytes::from_static(b"defragmenting"), lease } };
    if !matches!(etcd.write(claim).await?, WriteResult::Done { .. }) {
        // Another is at it.
        etcd.lease_revoke(lease).await?;
        return Ok(0);
    }
    let done = one_by_one(etcd, &wanted).await;
    etcd.lease_revoke(lease).await?;
    done
}

async fn one_by_one(etcd: &Etcd, wanted: &[usize]) -> Result<usize, Error> {
    for (done, i) in wanted.iter().enumerate() {
        // Nobody may be missing already when the next one is away for a while.
        let well = Instant::now() + RECOVERY;
        while let Err(error) = every_status(etcd).await {
            if Instant::now() > well {
                tracing::warn!(%error, "defragmentation stops, since not every member is well");
                return Ok(done);
            }
            sleep(Duration::from_millis(500)).await;
        }
        let (endpoint, client) = &etcd.members.all()[*i];
        tracing::info!(endpoint, "defragmenting a member of etcd");
        match timeout(AT_MOST, client.maintenance_client().defragment()).await {
            Ok(answer) => answer.map(drop).map_err(|e| failure(&e).error())?,
            Err(_) => return Err(Error::Timeout(format!("{endpoint} is still defragmenting after {} s", AT_MOST.as_secs()))),
        }
    }
    Ok(wanted.len())
}

/// The state of all members; an error if one of them is not well.
async fn every_status(etcd: &Etcd) -> Result<Vec<StatusResponse>, Error> {
    let ask = |(endpoint, client): &(String, Client)| {
        let (endpoint, client) = (endpoint.clone(), client.clone());
        async move {
            match timeout(STATUS, client.maintenance_client().status()).await {
                Ok(Ok(status)) if status.leader() != 0 && status.errors().is_empty() => Ok(status),
                Ok(Ok(status)) => Err(Error::Unavailable(format!("{endpoint} is not well: {:?}", status.errors()))),
                Ok(Err(error)) => Err(failure(&error).error()),
                Err(_) => Err(Error::Timeout(format!("{endpoint} does not say how it is"))),
            }
        }
    };
    futures::future::try_join_all(etcd.members.all().iter().map(ask)).await
}

fn fragmented(status: &StatusResponse, above: u64) -> bool {
    let (size, used) = (unsigned(status.db_size()), unsigned(status.raft_used_db_size()));
    size > above && used < size / 2
}
