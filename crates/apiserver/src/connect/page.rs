//! Answers of a proxied server that are pages: their links are changed while they go through.

use super::html::{Rewriter, Through};
use crate::body::{self, Body, BoxError};
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder};
use http::{HeaderMap, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::io::{self, Write};

/// A page that was compressed may grow a thousandfold: it is read in pieces small enough for that.
const PIECE: usize = 1 << 10;

/// How the page is encoded.
enum Page {
    Plain(Rewriter),
    Gzip(MultiGzDecoder<Rewriter>),
    Deflate(DeflateDecoder<Rewriter>),
}

impl Page {
    fn of(headers: &HeaderMap, through: Through) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
        let coding = headers.get(header::CONTENT_ENCODING).map(|c| c.as_bytes());
        let rewriter = Rewriter::new(through);
        match (kind, coding) {
            ("text/html", None) => Some(Self::Plain(rewriter)),
            ("text/html", Some(b"gzip")) => Some(Self::Gzip(MultiGzDecoder::new(rewriter))),
            ("text/html", Some(b"deflate")) => Some(Self::Deflate(DeflateDecoder::new(rewriter))),
            _ => None,
        }
    }

    fn read(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let rewriter = match self {
            Self::Plain(plain) => {
                plain.write_all(bytes)?;
                plain
            }
            Self::Gzip(packed) => {
                packed.write_all(bytes)?;
                packed.get_mut()
            }
            Self::Deflate(packed) => {
                packed.write_all(bytes)?;
                packed.get_mut()
            }
        };
        Ok(std::mem::take(&mut rewriter.out))
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        let mut rewriter = match self {
            Self::Plain(plain) => plain,
            Self::Gzip(packed) => packed.finish()?,
            Self::Deflate(packed) => packed.finish()?,
        };
        rewriter.finish();
        Ok(rewriter.out)
    }
}

struct Reading {
    page: Option<Page>,
    body: Body,
    /// What has come and is not yet read.
    come: Bytes,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        loop {
            let written = if self.come.is_empty() {
                match self.body.frame().await {
                    Some(Ok(frame)) => {
                        self.come = frame.into_data().unwrap_or_default();
                        continue;
                    }
                    Some(Err(error)) => {
                        self.page = None;
                        return Some(Err(error));
                    }
                    None => self.page.take()?.finish(),
                }
            } else {
                let piece = self.come.split_to(self.come.len().min(PIECE));
                self.page.as_mut()?.read(&piece)
            };
            match written {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Some(Ok(Frame::data(bytes.into()))),
                Err(error) => {
                    (self.page, self.come) = (None, Bytes::new());
                    return Some(Err(error.into()));
                }
            }
        }
    }
}

/// The answer with its links changed, if it is a page; it then goes out uncompressed.
pub fn rewritten(mut response: Response<Body>, through: Through) -> Response<Body> {
    let Some(page) = Page::of(response.headers(), through) else { return response };
    for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        response.headers_mut().remove(name);
    }
    response.map(|body| {
        let reading = Reading { page: Some(page), body, come: Bytes::new() };
        let frames = futures::stream::unfold(reading, |mut reading| async move { reading.next().await.map(|frame| (frame, reading)) });
        body::wrap(StreamBody::new(frames))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    async fn through(coding: Option<&str>, kind: &str, bytes: Vec<u8>) -> Bytes {
        let mut response = Response::builder().header("content-type", kind).header("content-length", bytes.len());
        if let Some(coding) = coding {
            response = response.header("content-encoding", coding);
        }
        let response = response.body(body::full(bytes)).unwrap();
        let response = rewritten(response, Box::new(|link| Some(format!("/p{link}"))));
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn pages_are_rewritten_even_if_compressed_and_nothing_else_is() {
        let page = format!("{}<a href=\"/x\">x</a>", "text ".repeat(5000));
        let expected = page.replace("/x", "/p/x");
        assert_eq!(through(None, "text/html; charset=utf-8", page.clone().into()).await, expected);
        assert_eq!(through(None, "text/plain", page.clone().into()).await, page);
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(page.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(through(Some("gzip"), "text/html", packed.clone()).await, expected);
        assert_eq!(through(Some("br"), "text/html", packed.clone()).await, packed);
    }
}
