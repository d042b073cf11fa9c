//! Building a netlink request: a header, a fixed body, and attributes that nest.

/// Every part of a message starts on a multiple of this.
const ALIGNMENT: usize = 4;
const HEADER: usize = 16;
/// Marks an attribute whose payload is attributes.
const NESTED: u16 = 0x8000;

pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// `flags` beyond `NLM_F_REQUEST`, which every message here carries.
    pub fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    pub fn attribute(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        let length = (payload.len() + 4) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(payload);
        self.pad();
        self
    }

    pub fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// A name, with the zero byte that ends it.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut payload = value.as_bytes().to_vec();
        payload.push(0);
        self.attribute(kind, &payload)
    }

    /// An attribute made of `body` (a fixed structure, often empty) and the attributes that `fill` adds.
    pub fn nest(&mut self, kind: u16, body: &[u8], fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(body);
        self.pad();
        fill(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
        self
    }

    /// The bytes to send, with the length and the sequence number in place.
    pub(super) fn finish(mut self, sequence: u32, flags: u16) -> Vec<u8> {
        debug_assert!(self.bytes.len() >= HEADER);
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | flags;
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Attributes;
    use super::*;

    #[test]
    fn attributes_nest_and_are_padded() {
        let mut message = Message::new(16, 0, &[1, 2, 3]);
        message.text(3, "eth0").nest(18, &[], |inner| {
            inner.text(1, "veth").number(2, 7);
        });
        let bytes = message.finish(9, 4);
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[0..4], &(bytes.len() as u32).to_ne_bytes());
        assert_eq!(u16::from_ne_bytes([bytes[6], bytes[7]]), 5, "the request flag and the one given at the end");

        let outer: Vec<_> = Attributes::new(&bytes[HEADER + 4..]).collect();
        assert_eq!(outer[0], (3, &b"eth0\0"[..]));
        assert_eq!(outer[1].0, 18);
        let inner: Vec<_> = Attributes::new(outer[1].1).collect();
        assert_eq!(inner, vec![(1, &b"veth\0"[..]), (2, &7u32.to_ne_bytes()[..])]);
    }
}
