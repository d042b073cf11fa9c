//! `/containerLogs`: what a container wrote, as the runtime keeps it in files.

use super::follow::Lines;
use super::query::Query;
use super::{Body, BoxError, Inner, Refusal, containers, wrap};
use crate::cri::api::ContainerState;
use crate::cri::{Runtime, RuntimeError};
use crate::pods::ContainerRef;
use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use jiff::{Span, Timestamp};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// How often a followed file is looked at, and after how many looks the container is asked for.
const LOOK: Duration = Duration::from_millis(200);
const ASK_EVERY: u32 = 3;
const BATCH: usize = 32 << 10;

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail: Option<u64>,
    since: Option<Timestamp>,
    limit: Option<u64>,
    /// `stdout` or `stderr` alone.
    stream: Option<&'static str>,
}

impl Options {
    fn of(query: &Query) -> Result<Self, String> {
        let natural = |name: &str| match query.number(name)?.map(u64::try_from) {
            Some(Err(_)) => Err(format!("{name} must be greater than or equal to 0")),
            Some(Ok(n)) => Ok(Some(n)),
            None => Ok(None),
        };
        let since = match (natural("sinceSeconds")?, query.get("sinceTime")) {
            (Some(_), Some(_)) => return Err("at most one of `sinceTime` or `sinceSeconds` may be specified".into()),
            (Some(seconds), None) => {
                let span = Span::new().try_seconds(i64::try_from(seconds).unwrap_or(i64::MAX)).map_err(|e| e.to_string())?;
                Some(Timestamp::now().checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH))
            }
            (None, Some(time)) => Some(time.parse().map_err(|_| format!("invalid time {time:?}"))?),
            (None, None) => None,
        };
        let stream = match query.get("stream") {
            None | Some("All") => None,
            Some("Stdout") => Some("stdout"),
            Some("Stderr") => Some("stderr"),
            Some(other) => return Err(format!("invalid stream {other:?}")),
        };
        Ok(Self {
            follow: query.flag("follow"),
            previous: query.flag("previous"),
            timestamps: query.flag("timestamps"),
            tail: natural("tailLines")?,
            since,
            limit: natural("limitBytes")?,
            stream,
        })
    }
}

pub async fn answer(inner: &Arc<Inner>, namespace: &str, pod: &str, container: &str, query: &Query) -> Result<Response<Body>, Refusal> {
    let options = Options::of(query).map_err(|e| Refusal(StatusCode::UNPROCESSABLE_ENTITY, e))?;
    let pod = containers::pod(&*inner.pods, namespace, pod)?;
    let found = containers::logged(&*inner.pods, &pod, container, options.previous)?;
    let lines = match Lines::open(&found.log_path, options.tail).await {
        Ok(lines) => Some(lines),
        // Nothing was written yet, or the file was removed with an old container.
        Err(error) if error.kind() == io::ErrorKind::NotFound && found.running => None,
        Err(error) => return Err(Refusal::internal(format!("failed to open the log of container {container:?}: {error}"))),
    };
    let (sender, receiver) = mpsc::channel(4);
    let runtime = inner.runtime.clone();
    tokio::spawn(async move {
        if let Err(error) = pump(&*runtime, &found, lines, &options, &sender).await {
            let _ = sender.send(Err(error.into())).await;
        }
    });
    let frames = ReceiverStream::new(receiver).map(|part: Result<Bytes, BoxError>| part.map(Frame::data));
    Ok(super::answer(StatusCode::OK, wrap(StreamBody::new(frames)), "text/plain"))
}

/// Until the end is reached, the client leaves, or, for a followed log, the container has ended.
async fn pump(
    runtime: &dyn Runtime,
    container: &ContainerRef,
    mut lines: Option<Lines>,
    options: &Options,
    sender: &mpsc::Sender<Result<Bytes, BoxError>>,
) -> io::Result<()> {
    let mut output = Output { options, left: options.limit, whole: true, batch: BytesMut::new() };
    let mut looks = 0;
    let mut ended = !container.running || options.previous;
    loop {
        if let Some(lines) = &mut lines {
            let replaced = options.follow && lines.replaced().await;
            while let Some(line) = lines.next().await? {
                let full = output.put(line);
                if (full || output.batch.len() >= BATCH) && sender.send(Ok(output.batch.split().freeze())).await.is_err() {
                    return Ok(());
                }
                if full {
                    return Ok(());
                }
            }
            if !output.batch.is_empty() && sender.send(Ok(output.batch.split().freeze())).await.is_err() {
                return Ok(());
            }
            if replaced {
                lines.reopen().await?;
                continue;
            }
        } else {
            lines = Lines::open(&container.log_path, options.tail).await.ok();
            if lines.is_some() {
                continue;
            }
        }
        if !options.follow || ended {
            return Ok(());
        }
        tokio::select! {
            () = sender.closed() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
        looks += 1;
        if looks % ASK_EVERY == 0 {
            // What was written before it ended is read once more.
            ended = has_ended(runtime, &container.id).await;
        }
    }
}

async fn has_ended(runtime: &dyn Runtime, id: &str) -> bool {
    match runtime.container_status(id).await {
        Ok(status) => status.state() != ContainerState::ContainerRunning,
        Err(RuntimeError::NotFound(_)) => true,
        // It runs on while the runtime is restarted.
        Err(_) => false,
    }
}

struct Output<'a> {
    options: &'a Options,
    left: Option<u64>,
    /// The line before was complete, so the next one is the beginning of another.
    whole: bool,
    batch: BytesMut,
}

impl Output<'_> {
    /// Takes one line of the file; true if the client has all that it asked for.
    fn put(&mut self, line: &[u8]) -> bool {
        let Some(entry) = Entry::of(line) else { return false };
        if self.options.stream.is_some_and(|s| s.as_bytes() != entry.stream) {
            return false;
        }
        if self.options.since.is_some_and(|since| entry.time().is_some_and(|t| t < since)) {
            return false;
        }
        if self.options.timestamps && self.whole {
            self.add(entry.timestamp);
            self.add(b" ");
        }
        self.add(entry.text);
        if !entry.partial {
            self.add(b"\n");
        }
        self.whole = !entry.partial;
        self.left == Some(0)
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = self.left.map_or(bytes.len(), |left| usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()));
        self.batch.extend_from_slice(&bytes[..room]);
        if let Some(left) = &mut self.left {
            *left -= room as u64;
        }
    }
}

/// `<time> <stream> <tags> <text>`, of the tags `P` says that the line goes on in the next entry.
struct Entry<'a> {
    timestamp: &'a [u8],
    stream: &'a [u8],
    partial: bool,
    text: &'a [u8],
}

impl<'a> Entry<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut parts = line.splitn(4, |b| *b == b' ');
        let (timestamp, stream, tags) = (parts.next()?, parts.next()?, parts.next()?);
        let partial = tags.split(|b| *b == b':').next() == Some(b"P");
        Some(Self { timestamp, stream, partial, text: parts.next().unwrap_or_default() })
    }

    fn time(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.timestamp).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: [&[u8]; 3] = [
        b"2026-01-01T00:00:00.000000001Z stdout F first line\n",
        b"2026-01-01T00:00:01.5Z stderr P one \n",
        b"2026-01-01T00:00:02.5+00:00 stderr F two\n",
    ];

    fn read(query: &str) -> String {
        let options = Options::of(&Query::of(&format!("/x?{query}").parse().unwrap())).unwrap();
        let mut output = Output { options: &options, left: options.limit, whole: true, batch: BytesMut::new() };
        let _ = LOG.iter().any(|line| output.put(line));
        String::from_utf8(output.batch.to_vec()).unwrap()
    }

    #[test]
    fn entries_become_what_the_container_wrote() {
        assert_eq!(read(""), "first line\none two\n");
        assert_eq!(read("timestamps=true"), "2026-01-01T00:00:00.000000001Z first line\n2026-01-01T00:00:01.5Z one two\n");
        assert_eq!(read("sinceTime=2026-01-01T00:00:01Z"), "one two\n");
        assert_eq!(read("limitBytes=13"), "first line\non");
        assert_eq!(read("stream=Stdout"), "first line\n");
        assert!(Options::of(&Query::of(&"/x?tailLines=-1".parse().unwrap())).is_err());
    }
}
