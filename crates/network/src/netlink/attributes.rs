//! Reading the attributes of a netlink message.

/// Walks (kind, payload) pairs; stops at the first that does not fit.
#[derive(Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn find(&self, wanted: u16) -> Option<&'a [u8]> {
        self.clone().find_map(|(kind, payload)| (kind == wanted).then_some(payload))
    }

    pub fn nested(&self, wanted: u16) -> Option<Attributes<'a>> {
        self.find(wanted).map(Attributes::new)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header: [u8; 4] = self.rest.get(..4)?.try_into().ok()?;
        let length = u16::from_ne_bytes([header[0], header[1]]) as usize;
        // The top two bits say "nested" and "network byte order".
        let kind = u16::from_ne_bytes([header[2], header[3]]) & 0x3fff;
        let payload = self.rest.get(4..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_lengths_end_the_walk() {
        assert_eq!(Attributes::new(&[1, 0]).count(), 0);
        assert_eq!(Attributes::new(&[3, 0, 1, 0]).count(), 0, "shorter than its own header");
        assert_eq!(Attributes::new(&[200, 0, 1, 0, 9, 9]).count(), 0, "longer than the message");
        assert_eq!(Attributes::new(&[5, 0, 1, 0, 9]).collect::<Vec<_>>(), vec![(1, &[9u8][..])], "the last needs no padding");
    }
}
