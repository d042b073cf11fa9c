//! The client's side of SPDY/3.1, as far as the runtime's streaming server needs it: streams that are
//! opened once and carry data. Headers that the server sends are not read, so nothing is unpacked.
//! Frames and header blocks are those of the SPDY protocol, draft 3.1, sections 2.2 and 2.6.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const FIN: u8 = 1;
/// The server sends in pieces of 32 KiB; what is longer than this is no frame of its.
const LONGEST: usize = 1 << 20;
/// A zlib stream that begins with SPDY's dictionary. What follows are stored blocks, which need none of it.
const ZLIB: [u8; 6] = [0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2];

#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Data { stream: u32, bytes: Bytes, last: bool },
    Reset { stream: u32 },
    Ping(Bytes),
    Other,
}

/// Opens streams; their ids are 1, 3, 5 and so on.
#[derive(Default)]
pub struct Opener {
    opened: u32,
}

impl Opener {
    pub fn open(&mut self, headers: &[(&str, &str)]) -> (u32, Bytes) {
        let id = self.opened * 2 + 1;
        let mut plain = BytesMut::new();
        plain.put_u32(u32::try_from(headers.len()).unwrap_or(0));
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.put_u32(u32::try_from(text.len()).unwrap_or(0));
            plain.put_slice(text.as_bytes());
        }
        let mut packed = BytesMut::new();
        if self.opened == 0 {
            packed.put_slice(&ZLIB);
        }
        stored(&mut packed, &plain);
        // An empty block makes the other side hand out what came before it.
        stored(&mut packed, &[]);
        self.opened += 1;
        let mut frame = control(SYN_STREAM, packed.len() + 10);
        frame.put_u32(id);
        frame.put_slice(&[0; 6]);
        frame.put_slice(&packed);
        (id, frame.freeze())
    }
}

fn stored(out: &mut BytesMut, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u8(0);
    out.put_u16_le(length);
    out.put_u16_le(!length);
    out.put_slice(&bytes[..usize::from(length)]);
}

fn control(kind: u16, length: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(8 + length);
    frame.put_u16(VERSION);
    frame.put_u16(kind);
    frame.put_u32(u32::try_from(length).unwrap_or(0) & 0x00ff_ffff);
    frame
}

pub fn data(stream: u32, bytes: &[u8], last: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + bytes.len());
    frame.put_u32(stream & 0x7fff_ffff);
    frame.put_u32((u32::from(if last { FIN } else { 0 }) << 24) | (u32::try_from(bytes.len()).unwrap_or(0) & 0x00ff_ffff));
    frame.put_slice(bytes);
    frame.freeze()
}

pub fn pong(ping: &Bytes) -> Bytes {
    let mut frame = control(PING, ping.len());
    frame.put_slice(ping);
    frame.freeze()
}

/// The next frame; `None` when the other side has closed between two.
pub async fn read(from: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<Option<Frame>> {
    loop {
        if let Some(frame) = parse(buffer)? {
            return Ok(Some(frame));
        }
        if from.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

fn parse(buffer: &mut BytesMut) -> io::Result<Option<Frame>> {
    if buffer.len() < 8 {
        return Ok(None);
    }
    let mut head = &buffer[..8];
    let (first, second) = (head.get_u32(), head.get_u32());
    let length = usize::try_from(second & 0x00ff_ffff).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(io::Error::other("a frame of the runtime is too long"));
    }
    if buffer.len() < 8 + length {
        buffer.reserve(8 + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(8);
    let mut body = buffer.split_to(length).freeze();
    if first & 0x8000_0000 == 0 {
        return Ok(Some(Frame::Data { stream: first, bytes: body, last: second >> 24 & u32::from(FIN) != 0 }));
    }
    let kind = u16::try_from(first & 0xffff).unwrap_or(0);
    Ok(Some(match kind {
        RST_STREAM if body.len() >= 4 => Frame::Reset { stream: body.get_u32() & 0x7fff_ffff },
        PING => Frame::Ping(body),
        _ => Frame::Other,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_opened_with_headers_that_any_zlib_reads() {
        let mut opener = Opener::default();
        let (first, frame) = opener.open(&[("streamtype", "error")]);
        assert_eq!(first, 1);
        assert_eq!(&frame[..4], [0x80, 3, 0, 1]);
        assert_eq!(&frame[8..12], [0, 0, 0, 1]);
        let packed = &frame[18..];
        // After zlib's head and the dictionary's checksum: one stored block, one empty one.
        assert_eq!(&packed[..6], ZLIB);
        assert_eq!(u16::from(packed[0]) * 256 % 31, (31 - u16::from(packed[1]) % 31) % 31);
        let length = usize::from(u16::from_le_bytes([packed[7], packed[8]]));
        let plain = &packed[11..11 + length];
        assert_eq!(plain, b"\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x05error");
        assert_eq!(&packed[11 + length..], [0, 0, 0, 0xff, 0xff]);
        let (second, frame) = opener.open(&[("streamtype", "stdin")]);
        assert_eq!((second, frame[18]), (3, 0), "the zlib stream goes on");
    }

    #[tokio::test]
    async fn frames_are_read_whatever_the_pieces_they_come_in() {
        let mut wire = Vec::new();
        wire.extend_from_slice(&data(5, b"hello", false));
        wire.extend_from_slice(&control(2, 0));
        wire.extend_from_slice(&pong(&Bytes::from_static(&[0, 0, 0, 2])));
        wire.extend_from_slice(&data(5, b"", true));
        let (mut near, mut far) = tokio::io::duplex(3);
        tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut far, &wire).await.unwrap() });
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        while let Some(frame) = read(&mut near, &mut buffer).await.unwrap() {
            frames.push(frame);
        }
        let wanted = [
            Frame::Data { stream: 5, bytes: Bytes::from_static(b"hello"), last: false },
            Frame::Other,
            Frame::Ping(Bytes::from_static(&[0, 0, 0, 2])),
            Frame::Data { stream: 5, bytes: Bytes::new(), last: true },
        ];
        assert_eq!(frames, wanted);
    }

    #[test]
    fn a_frame_that_is_too_long_is_an_error() {
        let mut buffer = BytesMut::from(&[0u8, 0, 0, 1, 0, 0xff, 0xff, 0xff][..]);
        assert!(parse(&mut buffer).is_err());
    }
}
