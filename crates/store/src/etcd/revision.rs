//! The newest revision, for many at once: whoever asks while a question is on its way shares the next one. The
//! answer is of a moment after each of them has asked, so it is as linearizable as one of their own.

use super::convert::revision_of;
use super::members::{Members, PATIENCE};
use crate::{Error, Revision};
use etcd_client::GetOptions;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

type Answer = oneshot::Sender<Result<Revision, Error>>;

/// Questions that may be under way. More than one only while etcd is slow to answer.
const UNDER_WAY: usize = 4;

#[derive(Clone)]
pub struct Revisions(mpsc::UnboundedSender<Answer>);

impl Revisions {
    pub fn new(members: Arc<Members>) -> Self {
        let (sender, mut inbox) = mpsc::unbounded_channel::<Answer>();
        tokio::spawn(async move {
            let under_way = Arc::new(tokio::sync::Semaphore::new(UNDER_WAY));
            while let Ok(permit) = under_way.clone().acquire_owned().await {
                let Some(first) = inbox.recv().await else { return };
                let mut waiting = vec![first];
                while let Ok(answer) = inbox.try_recv() {
                    waiting.push(answer);
                }
                let members = members.clone();
                let question = async move {
                    let revision = ask(&members).await;
                    for answer in waiting {
                        // Who has stopped waiting needs no answer.
                        let _ = answer.send(revision.clone());
                    }
                    drop(permit);
                };
                tokio::spawn(question);
            }
        });
        Self(sender)
    }

    pub async fn newest(&self) -> Result<Revision, Error> {
        let gone = || Error::Unavailable("the connection to etcd is closed".into());
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).map_err(|_| gone())?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(answer) => answer.map_err(|_| gone())?,
            Err(_) => Err(Error::Timeout("etcdserver: request timed out".into())),
        }
    }
}

/// A linearizable read of a key that need not exist; only the header counts.
async fn ask(members: &Members) -> Result<Revision, Error> {
    let ask = |client: etcd_client::Client| async move { client.kv_client().get("\0", Some(GetOptions::new().with_count_only())).await };
    Ok(revision_of(members.read(ask).await?.header()))
}
