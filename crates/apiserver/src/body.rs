//! Bodies of requests and answers, whatever transport carries them.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use meta::ApiError;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

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

/// Buffers one after the other, none copied; the length is known.
pub fn parts(parts: impl IntoIterator<Item = Bytes>) -> Body {
    let parts: VecDeque<Bytes> = parts.into_iter().filter(|b| !b.is_empty()).collect();
    let left = parts.iter().map(|b| b.len() as u64).sum();
    wrap(Parts { parts, left })
}

struct Parts {
    parts: VecDeque<Bytes>,
    left: u64,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = self.parts.pop_front();
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
