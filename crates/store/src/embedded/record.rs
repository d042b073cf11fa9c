//! How changes lie in a file: records, and frames of records that are written, and hold, together.
//!
//! A file begins with a head. Frames follow, each numbered, eight bytes aligned, and checked twice: its own head, and
//! each record by itself, so that one record can be read and verified alone. A file's salt enters the checksum of
//! its frames' heads, so that no value can pass for a frame.

use crate::{LeaseId, Revision};

const MAGIC: [u8; 8] = *b"\x89socle\r\n";
const VERSION: u32 = 1;
/// Bytes of a file's head.
pub const HEAD: usize = 48;

const FRAME_MAGIC: u32 = 0xf7a3_e5d9;
/// Bytes of a frame's head.
pub const FRAME_HEAD: usize = 32;
const RECORD_HEAD: usize = 44;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Changes, in their order.
    Log,
    /// All that is kept at one moment.
    Base,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: FileKind,
    pub number: u32,
    /// Of a log, the number of its first frame; of a base, that of the first frame it does not include.
    pub first: u64,
    pub salt: u64,
}

impl Head {
    pub fn new(kind: FileKind, number: u32, first: u64) -> Self {
        use std::hash::{BuildHasher, Hasher};
        let salt = std::hash::RandomState::new().build_hasher().finish();
        Self { kind, number, first, salt }
    }

    pub fn encode(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[12..16].copy_from_slice(&u32::from(self.kind == FileKind::Base).to_le_bytes());
        head[16..20].copy_from_slice(&self.number.to_le_bytes());
        head[24..32].copy_from_slice(&self.first.to_le_bytes());
        head[32..40].copy_from_slice(&self.salt.to_le_bytes());
        let check = crc32fast::hash(&head[..40]);
        head[40..44].copy_from_slice(&check.to_le_bytes());
        head
    }

    pub fn decode(head: &[u8]) -> Result<Self, String> {
        if head.len() < HEAD || head[..8] != MAGIC {
            return Err("it does not begin as a file of a store does".into());
        }
        if u32_at(head, 40) != crc32fast::hash(&head[..40]) {
            return Err("the checksum of its head is wrong".into());
        }
        match u32_at(head, 8) {
            VERSION => {}
            other => return Err(format!("it is of version {other} of the format, and this program reads {VERSION}")),
        }
        let kind = if u32_at(head, 12) == 0 { FileKind::Log } else { FileKind::Base };
        Ok(Self { kind, number: u32_at(head, 16), first: u64_at(head, 24), salt: u64_at(head, 32) })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Put = 1,
    Delete = 2,
    /// A lease; its time to live, in milliseconds, is in `version`.
    Grant = 3,
    /// A lease has ended.
    Ended = 4,
    /// History up to `revision` is forgotten.
    Compacted = 5,
    /// Begins a base: `revision` is the store's, `create_revision` the one up to which history is forgotten.
    State = 6,
    /// Ends a base: `version` is how many records came before.
    End = 7,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub kind: Kind,
    pub key: &'a str,
    pub value: &'a [u8],
    pub revision: Revision,
    pub create_revision: Revision,
    pub version: u64,
    pub lease: LeaseId,
}

impl Record<'static> {
    /// A record that says something of the store, and of no key.
    pub fn plain(kind: Kind) -> Self {
        Self { kind, key: "", value: &[], revision: 0, create_revision: 0, version: 0, lease: 0 }
    }
}

impl<'a> Record<'a> {
    fn encode(&self, to: &mut Vec<u8>) -> u32 {
        let start = to.len();
        let mut head = [0; RECORD_HEAD];
        head[4..8].copy_from_slice(&u32::try_from(self.value.len()).unwrap_or(u32::MAX).to_le_bytes());
        head[8..10].copy_from_slice(&u16::try_from(self.key.len()).unwrap_or(u16::MAX).to_le_bytes());
        head[10] = self.kind as u8;
        head[12..20].copy_from_slice(&self.revision.to_le_bytes());
        head[20..28].copy_from_slice(&self.create_revision.to_le_bytes());
        head[28..36].copy_from_slice(&self.version.to_le_bytes());
        head[36..44].copy_from_slice(&self.lease.to_le_bytes());
        to.extend_from_slice(&head);
        to.extend_from_slice(self.key.as_bytes());
        to.extend_from_slice(self.value);
        let check = crc32fast::hash(&to[start + 4..]);
        to[start..start + 4].copy_from_slice(&check.to_le_bytes());
        check
    }

    /// The record that `bytes` begin with, and its length.
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, usize), &'static str> {
        let head = bytes.get(..RECORD_HEAD).ok_or("a record is cut short")?;
        let key_end = RECORD_HEAD + usize::from(u16::from_le_bytes([head[8], head[9]]));
        let end = key_end + u32_at(head, 4) as usize;
        let whole = bytes.get(..end).ok_or("a record is cut short")?;
        if crc32fast::hash(&whole[4..]) != u32_at(head, 0) {
            return Err("the checksum of a record is wrong");
        }
        let kind = match head[10] {
            1 => Kind::Put,
            2 => Kind::Delete,
            3 => Kind::Grant,
            4 => Kind::Ended,
            5 => Kind::Compacted,
            6 => Kind::State,
            7 => Kind::End,
            _ => return Err("a record is of no known kind"),
        };
        let record = Self {
            kind,
            key: std::str::from_utf8(&whole[RECORD_HEAD..key_end]).map_err(|_| "a key is no text")?,
            value: &whole[key_end..],
            revision: u64_at(head, 12),
            create_revision: u64_at(head, 20),
            version: u64_at(head, 28),
            lease: u64_at(head, 36).cast_signed(),
        };
        Ok((record, end))
    }
}

/// A frame on its way to a file.
pub struct Frame {
    bytes: Vec<u8>,
    count: u32,
    checks: crc32fast::Hasher,
}

impl Default for Frame {
    fn default() -> Self {
        Self { bytes: vec![0; FRAME_HEAD], count: 0, checks: crc32fast::Hasher::new() }
    }
}

impl Frame {
    /// Adds a record. Answers where in the frame it lies, and its length.
    pub fn push(&mut self, record: &Record) -> (u64, u32) {
        let at = self.bytes.len();
        let check = record.encode(&mut self.bytes);
        self.checks.update(&check.to_le_bytes());
        self.count += 1;
        (at as u64, (self.bytes.len() - at) as u32)
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole frame, numbered, for a file with this salt.
    pub fn finish(&mut self, number: u64, salt: u64) -> &[u8] {
        let length = (self.bytes.len() - FRAME_HEAD) as u32;
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let checks = self.checks.clone().finalize();
        let head = &mut self.bytes[..FRAME_HEAD];
        head[..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        head[4..8].copy_from_slice(&length.to_le_bytes());
        head[8..16].copy_from_slice(&number.to_le_bytes());
        head[16..20].copy_from_slice(&self.count.to_le_bytes());
        head[20..24].copy_from_slice(&checks.to_le_bytes());
        let check = head_check(head, salt);
        head[24..28].copy_from_slice(&check.to_le_bytes());
        &self.bytes
    }

    /// Makes it an empty one; what it took once it does not take again.
    pub fn clear(&mut self) {
        self.bytes.truncate(FRAME_HEAD);
        // One batch of large values must not be paid for ever after.
        self.bytes.shrink_to(1 << 20);
        self.count = 0;
        self.checks = crc32fast::Hasher::new();
    }
}

fn head_check(head: &[u8], salt: u64) -> u32 {
    let mut check = crc32fast::Hasher::new();
    check.update(&salt.to_le_bytes());
    check.update(&head[..24]);
    check.finalize()
}

/// The head of a frame as it was read.
#[derive(Clone, Copy, Debug)]
pub struct FrameHead {
    pub number: u64,
    count: u32,
    length: usize,
    checks: u32,
}

impl FrameHead {
    /// `None` is no frame's head.
    pub fn decode(head: &[u8], salt: u64) -> Option<Self> {
        let head = head.get(..FRAME_HEAD)?;
        if u32_at(head, 0) != FRAME_MAGIC || u32_at(head, 24) != head_check(head, salt) {
            return None;
        }
        Some(Self { number: u64_at(head, 8), count: u32_at(head, 16), length: u32_at(head, 4) as usize, checks: u32_at(head, 20) })
    }

    /// Bytes that follow the head, up to the next frame.
    pub fn rest(&self) -> usize {
        (self.length + FRAME_HEAD).next_multiple_of(8) - FRAME_HEAD
    }

    /// The records of the frame, with where each lies in `body` and how long it is, if all of them are whole.
    pub fn records<'a>(&self, body: &'a [u8]) -> Result<Vec<(Record<'a>, usize, u32)>, &'static str> {
        let mut rest = body.get(..self.length).ok_or("a frame is cut short")?;
        let mut records = Vec::with_capacity(self.count.min(4096) as usize);
        let mut checks = crc32fast::Hasher::new();
        while !rest.is_empty() {
            let (record, length) = Record::decode(rest)?;
            checks.update(&rest[..4]);
            records.push((record, self.length - rest.len(), length as u32));
            rest = &rest[length..];
        }
        if records.len() != self.count as usize || checks.finalize() != self.checks {
            return Err("the records of a frame are not those it was written with");
        }
        Ok(records)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
