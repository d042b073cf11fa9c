//! As much of DER as a certificate takes.

pub const SEQUENCE: u8 = 0x30;
pub const OCTETS: u8 = 0x04;
pub const UTF8: u8 = 0x0c;
const BITS: u8 = 0x03;

pub fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
        out.push(0x80 | bytes.len() as u8);
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(content);
    out
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(SEQUENCE, &parts.concat())
}

/// An extension: its object identifier as encoded, without tag and length.
pub fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let mut content = tagged(0x06, id);
    if critical {
        content.extend_from_slice(&[0x01, 0x01, 0xff]);
    }
    content.extend(tagged(OCTETS, value));
    tagged(SEQUENCE, &content)
}

pub fn bits(bytes: &[u8]) -> Vec<u8> {
    let mut content = vec![0];
    content.extend_from_slice(bytes);
    tagged(BITS, &content)
}

/// Named bits, the first being 0, as many as are needed.
pub fn flags(set: &[u8]) -> Vec<u8> {
    let last = set.iter().copied().max().unwrap_or(0);
    let mut bytes = vec![0u8; usize::from(last / 8) + 1];
    for bit in set {
        bytes[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
    }
    let mut content = vec![7 - last % 8];
    content.extend(bytes);
    tagged(BITS, &content)
}

/// A positive integer.
pub fn integer(bytes: &[u8]) -> Vec<u8> {
    let mut content = bytes.to_vec();
    if content.first().is_none_or(|b| b & 0x80 != 0) {
        content.insert(0, 0);
    }
    tagged(0x02, &content)
}

/// Up to 2049 in the short form, as X.509 wants it.
pub fn time(at: jiff::Timestamp) -> Vec<u8> {
    let zoned = at.to_zoned(jiff::tz::TimeZone::UTC);
    let text = zoned.strftime("%Y%m%d%H%M%SZ").to_string();
    if (1950..2050).contains(&zoned.year()) { tagged(0x17, &text.as_bytes()[2..]) } else { tagged(0x18, text.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_bits_are_as_short_as_can_be() {
        assert_eq!(tagged(4, &[1]), [4, 1, 1]);
        assert_eq!(tagged(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(tagged(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(flags(&[0, 2]), [3, 2, 5, 0xa0]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
    }
}
