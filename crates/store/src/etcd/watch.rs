//! A watch on etcd, in the seam's batches: a response is a batch. Fragments are not asked for, so a
//! revision is never split over two.

use super::{failed, key_text, key_value, revision_of, signed, unsigned};
use crate::{Error, WatchBatch, WatchEvent, WatchRequest, WatchStream};
use etcd_client::{Client, EventType, WatchOptions, WatchResponse};
use futures::StreamExt;
use std::time::Duration;

struct Watch {
    stream: etcd_client::WatchStream,
    from: u64,
    ended: bool,
}

/// How often progress is asked for. etcd before 3.4.25 answers such a request late or not at all; then
/// the periodic notification it sends by itself is what there is.
const PROGRESS: Duration = Duration::from_secs(5);

pub async fn start(client: Client, request: WatchRequest) -> Result<WatchStream, Error> {
    let mut options = WatchOptions::new().with_start_revision(signed(request.from)).with_progress_notify();
    if !request.end.is_empty() {
        options = options.with_range(request.end.clone());
    }
    if request.previous {
        options = options.with_prev_key();
    }
    let mut watches = client.watch_client();
    let opened = tokio::time::timeout(super::PATIENCE, watches.watch(request.start.clone(), Some(options))).await;
    let mut stream = opened.map_err(|_| Error::Timeout("etcd did not accept a watch in time".into()))?.map_err(|e| failed(&e))?;
    // The first response says that the watch is there, or why not.
    let first = tokio::time::timeout(super::PATIENCE, stream.message()).await;
    let first = first.map_err(|_| Error::Timeout("etcd did not confirm a watch in time".into()))?.map_err(|e| failed(&e))?;
    if let Some(error) = first.as_ref().and_then(|response| refused(response, request.from)) {
        return Err(error);
    }
    let watch = Watch { stream, from: request.from, ended: false };
    Ok(futures::stream::unfold(watch, |mut watch| async move { watch.step().await.map(|batch| (batch, watch)) }).boxed())
}

fn refused(response: &WatchResponse, from: u64) -> Option<Error> {
    if !response.canceled() {
        return None;
    }
    if response.compact_revision() > 0 {
        return Some(Error::Compacted { requested: from, oldest: unsigned(response.compact_revision()) });
    }
    Some(Error::Unavailable(format!("etcd ended the watch: {}", response.cancel_reason())))
}

impl Watch {
    async fn step(&mut self) -> Option<Result<WatchBatch, Error>> {
        if self.ended {
            return None;
        }
        let response = loop {
            match tokio::time::timeout(PROGRESS, self.stream.message()).await {
                Ok(response) => break response,
                Err(_) => {
                    if let Err(error) = self.stream.request_progress().await {
                        break Err(error);
                    }
                }
            }
        };
        let batch = match response {
            Ok(Some(response)) => match refused(&response, self.from) {
                Some(error) => Err(error),
                None => batch(&response),
            },
            Ok(None) => return None,
            Err(error) => Err(failed(&error)),
        };
        self.ended = batch.is_err();
        Some(batch)
    }
}

/// One response. Fragmentation was not asked for, so a revision is never split over two.
fn batch(response: &WatchResponse) -> Result<WatchBatch, Error> {
    let revision = revision_of(response.header());
    if response.events().is_empty() {
        return Ok(WatchBatch::Progress(revision));
    }
    let mut events = Vec::with_capacity(response.events().len());
    let mut last = 0;
    for event in response.events() {
        let Some(kv) = event.kv() else { continue };
        last = last.max(unsigned(kv.mod_revision()));
        let previous = event.prev_kv().map(key_value).transpose()?;
        events.push(match event.event_type() {
            EventType::Put => WatchEvent::Put { kv: key_value(kv)?, previous },
            EventType::Delete => WatchEvent::Delete { key: key_text(kv)?, revision: unsigned(kv.mod_revision()), previous },
        });
    }
    // The header may be ahead of the events that were sent so far.
    Ok(WatchBatch::Events { events, revision: last })
}
