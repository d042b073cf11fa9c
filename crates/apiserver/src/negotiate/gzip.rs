//! Packing an answer as it goes out: neither is the whole held twice, nor does packing it keep others from
//! their turn.

use crate::body::{self, Body, BoxError, FRAME};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Frame;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pub fn packed(body: Body) -> Body {
    body::wrap(Packed { body, packer: Some(GzEncoder::new(Vec::with_capacity(FRAME), Compression::fast())) })
}

struct Packed {
    body: Body,
    /// None once the end has been sent.
    packer: Option<GzEncoder<Vec<u8>>>,
}

impl http_body::Body for Packed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if self.packer.is_none() {
                return Poll::Ready(None);
            }
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)?) else {
                let last = self.packer.take().map(GzEncoder::finish);
                return Poll::Ready(last.map(|last| Ok(Frame::data(last?.into()))));
            };
            let (Some(packer), Ok(data)) = (&mut self.packer, frame.into_data()) else { continue };
            packer.write_all(&data)?;
            if packer.get_ref().len() >= FRAME {
                let full = std::mem::replace(packer.get_mut(), Vec::with_capacity(FRAME));
                return Poll::Ready(Some(Ok(Frame::data(full.into()))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.packer.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn packed_parts_are_the_parts() {
        let mut parts: Vec<Bytes> = (0..200_u32).map(|i| i.wrapping_mul(2_654_435_761).to_string().repeat(97).into()).collect();
        parts.push(Bytes::new());
        let packed = packed(body::parts(parts.clone())).collect().await.unwrap().to_bytes();
        let mut got = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut got).unwrap();
        assert_eq!(got, parts.concat());
    }
}
