//! Bodies of requests and answers, whatever transport carries them.

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use meta::ApiError;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

pub fn wrap<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    wrap(Full::new(bytes.into()))
}

pub fn empty() -> Body {
    wrap(Empty::new())
}

/// What one frame carries: with HTTP/2's frame header it fills a TLS record, and smaller ones would cost
/// more than copying.
pub const FRAME: usize = (16 << 10) - 9;

/// Buffers one after the other, the length known; gathered into frames as the client takes them.
pub fn parts(parts: impl IntoIterator<Item = Bytes>) -> Body {
    let parts: VecDeque<Bytes> = parts.into_iter().filter(|b| !b.is_empty()).collect();
    let left = parts.iter().map(|b| b.len() as u64).sum();
    wrap(Parts { parts, left })
}

struct Parts {
    parts: VecDeque<Bytes>,
    left: u64,
}

impl Parts {
    /// At most a frame; what is one already is not copied.
    fn gather(&mut self) -> Option<Bytes> {
        let first = self.parts.front_mut()?;
        if first.len() > FRAME {
            return Some(first.split_to(FRAME));
        }
        let first = self.parts.pop_front()?;
        if first.len() == FRAME || self.parts.is_empty() {
            return Some(first);
        }
        let mut frame = BytesMut::with_capacity(FRAME.min(usize::try_from(self.left).unwrap_or(FRAME)));
        frame.extend_from_slice(&first);
        while let Some(mut part) = self.parts.pop_front() {
            let room = FRAME - frame.len();
            if part.len() > room {
                frame.extend_from_slice(&part.split_to(room));
                self.parts.push_front(part);
                break;
            }
            frame.extend_from_slice(&part);
        }
        Some(frame.freeze())
    }
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = self.gather();
        if let Some(part) = &next {
            self.left -= part.len() as u64;
        }
        Poll::Ready(next.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A body that ends, in good order, when `drain` is cancelled. What `keep` is dropped with it.
pub fn lasting<K: Send + Unpin + 'static>(body: Body, drain: CancellationToken, keep: K) -> Body {
    wrap(Lasting { body, drain: Box::pin(drain.cancelled_owned()), ended: false, _keep: keep })
}

struct Lasting<K> {
    body: Body,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
    _keep: K,
}

impl<K: Unpin> http_body::Body for Lasting<K> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.ended = frame.is_none();
            return Poll::Ready(frame);
        }
        if this.drain.as_mut().poll(context).is_ready() {
            this.ended = true;
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// The most that a request may carry.
pub const LIMIT: usize = 3 << 20;

/// The whole body of a request.
pub async fn read(mut body: Body) -> Result<Bytes, ApiError> {
    let mut parts: Vec<Bytes> = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::bad_request(format!("unable to read the request: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > LIMIT {
            return Err(ApiError::too_large(format!("Request entity too large: limit is {LIMIT}")));
        }
        parts.push(data);
    }
    Ok(if parts.len() == 1 { parts.swap_remove(0) } else { parts.concat().into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;

    #[tokio::test]
    async fn parts_come_out_whole_in_frames_of_bounded_size() {
        let lengths = [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 10, 20];
        let buffers: Vec<Bytes> = lengths.iter().map(|n| (0..*n).map(|i| i as u8).collect::<Vec<u8>>().into()).collect();
        let mut body = parts(buffers.clone());
        assert_eq!(body.size_hint().exact(), Some(buffers.concat().len() as u64));
        let mut got = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!((1..=FRAME).contains(&data.len()));
            got.extend_from_slice(&data);
        }
        assert_eq!(got, buffers.concat());
        assert!(body.is_end_stream());
    }
}
