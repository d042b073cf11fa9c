//! Changes as they happen: one JSON object a line, or frames of protobuf.

use super::select::Selection;
use super::{Call, revision, view};
use crate::body::{self, Body, BoxError};
use crate::catalog::Resource;
use crate::conversion;
use crate::features::Feature;
use crate::listener::Closing;
use crate::metrics::Watching;
use crate::negotiate::{self, Format, Output, Shape};
use crate::objects::Object;
use crate::watch_cache::{Change, Event, Watcher};
use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use kinds::wire;
use meta::{ApiError, FieldErrors, FieldPath, GroupKind};
use rand::RngExt;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};
use tokio_util::sync::CancellationToken;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf;stream=watch";
/// A watch that names no end lasts this long at least, and up to twice as long.
const LASTS: u64 = 1800;
const BOOKMARK: Duration = Duration::from_secs(50);
/// Events that are copied into one buffer; larger objects are handed on as they are.
const COPY: usize = 16 << 10;
/// Events that are there at once are sent at once, until they come to this.
const TOGETHER: usize = 64 << 10;

struct Stream {
    watcher: Watcher,
    resource: Arc<Resource>,
    selection: Selection,
    namespace: Option<Box<str>>,
    output: Output,
    /// Column definitions are sent once.
    columns: bool,
    bookmarks: Option<Interval>,
    /// Initial events still to come before the bookmark that ends them; none: no such bookmark.
    initial: Option<usize>,
    deadline: Pin<Box<Sleep>>,
    drain: CancellationToken,
    closing: CancellationToken,
    /// Events that will be sent together.
    gathered: BytesMut,
    ready: VecDeque<Bytes>,
    ended: bool,
    counted: Watching,
}

struct Wanted {
    bookmarks: bool,
    /// With the objects that are there now first.
    begin: bool,
    /// Tell where those end.
    mark_end: bool,
    from: Option<u64>,
}

fn wanted(call: &Call<'_>) -> Result<Wanted, ApiError> {
    let query = call.query;
    let from = revision(query.text("resourceVersion"))?;
    let bookmarks = query.flag("allowWatchBookmarks");
    let rule = query.text("resourceVersionMatch");
    let mut errors = FieldErrors::new();
    let path = FieldPath::new("resourceVersionMatch");
    let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
    let begins = call.server.inner.operations.features.on(Feature::WatchList);
    match initial {
        Some(_) if !begins => {
            errors.forbidden(
                &FieldPath::new("sendInitialEvents"),
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
            );
        }
        None if !rule.is_empty() => {
            errors.forbidden(&path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        }
        Some(_) if rule != "NotOlderThan" => {
            errors.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        Some(_) if !query.text("continue").is_empty() => {
            errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided")
        }
        _ => {}
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid(&GroupKind::new("meta.k8s.io", "ListOptions"), "", &errors));
    }
    let begin = initial.unwrap_or(matches!(from, None | Some(0)));
    Ok(Wanted { bookmarks, begin, mark_end: initial == Some(true) && bookmarks, from })
}

pub async fn watch(call: &Call<'_>, closing: Option<Closing>) -> Result<Response<Body>, ApiError> {
    let wanted = wanted(call)?;
    let selection = Selection::parse(call.resource, &call.context.attributes.label_selector, &call.context.attributes.field_selector)?;
    let seconds = match call.query.text("timeoutSeconds") {
        "" | "0" => rand::rng().random_range(LASTS..LASTS * 2),
        text => text.parse().map_err(|_| super::invalid_options("ListOptions", "timeoutSeconds", text, "must be a number of seconds"))?,
    };
    let cache = call.cache()?.clone();
    if call.output.format == Format::Protobuf && !call.in_protobuf() {
        return Err(negotiate::not_acceptable("application/json"));
    }
    let output = Output { gzip: false, pretty: false, ..call.output };
    let namespace = call.in_namespace();
    let watcher = if wanted.begin {
        call.server.settle(wanted.from).await?;
        cache.all_readable(namespace)?;
        Ok(Watcher::begin(cache, namespace))
    } else {
        let from = match wanted.from {
            Some(revision) if revision > 0 => revision,
            _ => {
                call.server.settle(None).await?;
                cache.revision()
            }
        };
        Watcher::resume(cache, &**call.server.store(), from).await
    };
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        // Told as an event: the watch itself was in order.
        Err(error) => return Ok(respond(output.format, body::full(event(output.format, "ERROR", &error_object(&error))))),
    };
    if call.resource.conversion.is_some() {
        let initial = conversion::read(call.resource, watcher.take_initial()).await?;
        watcher.put_initial(initial);
    }
    let bookmarks = wanted.bookmarks.then(|| {
        let mut interval = tokio::time::interval_at(Instant::now() + BOOKMARK, BOOKMARK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval
    });
    let stream = Stream {
        initial: wanted.mark_end.then(|| watcher.pending()),
        watcher,
        resource: call.resource.clone(),
        selection,
        namespace: namespace.map(Into::into),
        output,
        columns: true,
        bookmarks,
        deadline: Box::pin(tokio::time::sleep(Duration::from_secs(seconds))),
        drain: call.server.inner.drain.clone(),
        closing: closing.map_or_else(CancellationToken::new, |c| c.0),
        gathered: BytesMut::new(),
        ready: VecDeque::new(),
        ended: false,
        counted: {
            let names = call.resource.kind.names();
            call.server.inner.metrics.watches.of(&names.group, &names.version, &names.plural)
        },
    };
    let frames = futures::stream::unfold(stream, |mut stream| async move {
        let bytes = stream.next().await?;
        Some((Ok::<_, BoxError>(Frame::data(bytes)), stream))
    });
    Ok(respond(output.format, body::wrap(StreamBody::new(frames))))
}

fn respond(format: Format, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let media = if format == Format::Protobuf { PROTOBUF } else { "application/json" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

fn error_object(error: &ApiError) -> Bytes {
    error.to_status().to_string().into()
}

/// One event with an object whose JSON is given.
fn event(format: Format, ty: &str, object: &Bytes) -> Bytes {
    if format == Format::Protobuf { frame(ty, &envelope(object)) } else { line(ty, object) }
}

/// The protobuf of an object whose JSON is given; nothing where it has none.
fn envelope(object: &Bytes) -> Bytes {
    let object: Value = serde_json::from_slice(object).unwrap_or_default();
    match wire::encode(&object) {
        Ok(envelope) => envelope.into(),
        Err(error) => {
            tracing::error!(%error, kind = %object["kind"], "an event has no protobuf form");
            Bytes::new()
        }
    }
}

fn frame(ty: &str, envelope: &Bytes) -> Bytes {
    if envelope.is_empty() {
        return Bytes::new();
    }
    wire::frame(ty, envelope).map_or_else(
        |error| {
            tracing::error!(%error, "an event is too long for a frame");
            Bytes::new()
        },
        Bytes::from,
    )
}

fn line(ty: &str, object: &Bytes) -> Bytes {
    let mut line = BytesMut::new();
    write_line(&mut line, ty, object);
    line.freeze()
}

fn write_line(line: &mut BytesMut, ty: &str, object: &Bytes) {
    line.reserve(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(ty.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
}

impl Stream {
    /// None ends the watch.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.send_gathered();
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.ended {
                return None;
            }
            if self.initial == Some(0) {
                self.initial = None;
                self.bookmark(true);
                continue;
            }
            let tick = async {
                match &mut self.bookmarks {
                    Some(interval) => interval.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.drain.cancelled() => return None,
                () = self.closing.cancelled() => return None,
                () = &mut self.deadline => {
                    self.ended = true;
                    if self.bookmarks.is_some() && self.initial.is_none() {
                        self.watcher.advance();
                        self.bookmark(false);
                    }
                }
                change = self.watcher.next() => match change {
                    Ok(Some(change)) => {
                        let mut next = Some(change);
                        while let Some(change) = next.take() {
                            if let Err(error) = self.take(&change).await {
                                self.ended = true;
                                self.push("ERROR", &error_object(&error));
                            } else if self.gathered.len() < TOGETHER {
                                next = self.watcher.ready();
                            }
                        }
                    }
                    Ok(None) => return None,
                    Err(error) => {
                        self.ended = true;
                        self.push("ERROR", &error_object(&error));
                    }
                },
                _ = tick => if self.initial.is_none() {
                    self.watcher.advance();
                    if self.watcher.pending() == 0 {
                        self.bookmark(false);
                    }
                },
            }
        }
    }

    fn wants(&self, object: &Object) -> bool {
        self.namespace.as_deref().is_none_or(|n| n == object.namespace()) && self.selection.matches(object)
    }

    /// The object if the watcher is to see it.
    async fn seen(&self, object: Option<&Arc<Object>>) -> Result<Option<Arc<Object>>, ApiError> {
        let Some(object) = object.filter(|o| self.wants(o)) else { return Ok(None) };
        if !self.selection.is_of_served() {
            return Ok(Some(object.clone()));
        }
        Ok(self.selection.read(vec![object.clone()]).await?.pop())
    }

    async fn take(&mut self, change: &Change) -> Result<(), ApiError> {
        match change {
            Change::Initial(object) => {
                if let Some(left) = &mut self.initial {
                    *left -= 1;
                }
                if let Some(object) = self.seen(Some(object)).await? {
                    self.object("ADDED", object, None).await?;
                }
            }
            Change::Event(event) => {
                let before = self.seen(event.old.as_ref()).await?.is_some();
                match self.seen(event.new.as_ref()).await? {
                    Some(new) => self.object(if before { "MODIFIED" } else { "ADDED" }, new, Some(event)).await?,
                    None if before => {
                        if let Some(last) = event.last_state() {
                            self.object("DELETED", last, None).await?;
                        }
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// `event`: the one whose new object this is, if it is one's.
    async fn object(&mut self, ty: &str, object: Arc<Object>, event: Option<&Event>) -> Result<(), ApiError> {
        let object = if self.resource.conversion.is_some() { conversion::read_one(&self.resource, object).await? } else { object };
        let columns = std::mem::take(&mut self.columns);
        // Views of an object in other versions, and its metadata alone, are not what the event keeps.
        let whole = self.output.shape == Shape::Object && !self.resource.is_view();
        if let Some(event) = event.filter(|_| whole && self.output.format == Format::Protobuf) {
            self.counted.sent(object.bytes.len());
            self.gathered.extend_from_slice(&frame(ty, &event.new_on_the_wire(|| envelope(&object.bytes))));
            return Ok(());
        }
        let bytes = view::encoded(&self.resource, self.output.shape, &object.bytes, columns);
        self.push(ty, &bytes);
        Ok(())
    }

    fn push(&mut self, ty: &str, object: &Bytes) {
        self.counted.sent(object.len());
        if self.output.format == Format::Protobuf {
            self.gathered.extend_from_slice(&frame(ty, &envelope(object)));
            return;
        }
        if object.len() <= COPY {
            write_line(&mut self.gathered, ty, object);
            return;
        }
        self.send_gathered();
        self.ready.push_back(format!("{{\"type\":\"{ty}\",\"object\":").into());
        self.ready.push_back(object.clone());
        self.ready.push_back(Bytes::from_static(b"}\n"));
    }

    fn send_gathered(&mut self) {
        if !self.gathered.is_empty() {
            // No room is kept, since most watches are idle most of the time.
            self.ready.push_back(std::mem::take(&mut self.gathered).freeze());
        }
    }

    fn bookmark(&mut self, end_of_initial: bool) {
        let mut metadata = json!({"resourceVersion": self.watcher.revision().to_string()});
        if end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object: Value = view::bookmark(&self.resource, self.output.shape, metadata);
        self.push("BOOKMARK", &object.to_string().into());
    }
}
