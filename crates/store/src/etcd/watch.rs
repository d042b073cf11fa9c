//! A watch on etcd, in the seam's batches: a response is a batch. Fragments are not asked for, so a revision is
//! never split over two.
//!
//! Every key is watched, whatever the range: then each revision shows as an event, and the watch knows how far it
//! has seen without asking. What etcd before 3.4.25 answers to such a question may be ahead of its events.

use super::convert::{key_text, key_value, signed, unsigned};
use super::members::{Members, failure};
use crate::{Error, Revision, WatchBatch, WatchEvent, WatchRequest, WatchStream};
use etcd_client::{Client, EventType, WatchOptions, WatchResponse};
use futures::StreamExt;
use std::sync::Arc;

struct Watch {
    members: Arc<Members>,
    at: usize,
    stream: etcd_client::WatchStream,
    request: WatchRequest,
    ended: bool,
}

pub async fn start(members: Arc<Members>, request: WatchRequest) -> Result<WatchStream, Error> {
    let mut options = WatchOptions::new().with_start_revision(signed(request.from)).with_all_keys();
    if request.previous {
        options = options.with_prev_key();
    }
    let options = &options;
    let (owner, from) = (members.clone(), request.from);
    let ask = |client: Client| async move {
        let mut stream = client.watch_client().watch("\0", Some(options.clone())).await?;
        // The first response says that the watch is there, or why not.
        let first = stream.message().await?;
        Ok((stream, first))
    };
    let (stream, first) = owner.read(ask).await?;
    if let Some(error) = first.as_ref().and_then(|response| refused(response, from)) {
        return Err(error);
    }
    // The place is for blame only; that the choice has moved on meanwhile does no harm.
    let at = members.current().0;
    let watch = Watch { members, at, stream, request, ended: false };
    Ok(futures::stream::unfold(watch, |mut watch| async move { watch.step().await.map(|batch| (batch, watch)) }).boxed())
}

fn refused(response: &WatchResponse, from: Revision) -> Option<Error> {
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
        let message = loop {
            match self.stream.message().await {
                Ok(Some(response)) if response.events().is_empty() && !response.canceled() => {}
                message => break message,
            }
        };
        let batch = match message {
            Ok(Some(response)) => match refused(&response, self.request.from) {
                Some(error) => Err(error),
                None => self.batch(&response),
            },
            Ok(None) => Err(Error::Unavailable("etcd ended the watch".into())),
            Err(error) => Err(failure(&error).error()),
        };
        if matches!(batch, Err(Error::Unavailable(_) | Error::Timeout(_))) {
            self.members.avoid(self.at);
        }
        self.ended = batch.is_err();
        Some(batch)
    }

    fn wants(&self, key: &[u8]) -> bool {
        let (start, end) = (self.request.start.as_bytes(), self.request.end.as_bytes());
        if end.is_empty() { key == start } else { key >= start && key < end }
    }

    fn batch(&self, response: &WatchResponse) -> Result<WatchBatch, Error> {
        let mut events = Vec::new();
        let mut last = 0;
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            last = last.max(unsigned(kv.mod_revision()));
            if !self.wants(kv.key()) {
                continue;
            }
            let previous = event.prev_kv().map(key_value).transpose()?;
            events.push(match event.event_type() {
                EventType::Put => WatchEvent::Put { kv: key_value(kv)?, previous },
                EventType::Delete => WatchEvent::Delete { key: key_text(kv)?, revision: unsigned(kv.mod_revision()), previous },
            });
        }
        // The header may be ahead of what was sent so far.
        Ok(if events.is_empty() { WatchBatch::Progress(last) } else { WatchBatch::Events { events, revision: last } })
    }
}
