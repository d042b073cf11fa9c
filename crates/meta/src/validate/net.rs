//! Addresses and ports.

use std::net::{IpAddr, Ipv6Addr};

const CANONICAL: &str = "must be in canonical form";

pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec!["must be between 1 and 65535, inclusive".into()] }
}

pub fn port_name(name: &str) -> Vec<String> {
    let mut errors: Vec<String> = Vec::new();
    if name.len() > 15 {
        errors.push("must be no more than 15 characters".into());
    }
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".into());
    }
    if name.contains("--") {
        errors.push("must not contain consecutive hyphens".into());
    }
    if name.starts_with('-') || name.ends_with('-') {
        errors.push("must not begin or end with a hyphen".into());
    }
    errors
}

/// An address as Go's old parser read it.
pub fn sloppy_ip(text: &str) -> Option<IpAddr> {
    parse_sloppy(text)
}

/// Go's old parser let leading zeros pass in IPv4 octets, and older objects have them.
fn parse_sloppy(text: &str) -> Option<IpAddr> {
    let tail = text.rsplit(':').next().unwrap_or(text);
    let plain: Vec<&str> = tail.split('.').collect();
    if plain.len() != 4 {
        return text.parse().ok();
    }
    let octets: Vec<&str> = plain.iter().map(|o| if o.len() > 1 { o.trim_start_matches('0') } else { o }).collect();
    let octets: Vec<&str> = octets.iter().map(|o| if o.is_empty() { "0" } else { o }).collect();
    if plain.iter().any(|o| o.is_empty()) {
        return None;
    }
    format!("{}{}", &text[..text.len() - tail.len()], octets.join(".")).parse().ok()
}

fn is_mapped(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// An address in its canonical form.
pub fn ip(text: &str) -> Vec<String> {
    let Some(parsed) = parse_sloppy(text) else {
        return vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()];
    };
    if text.parse::<IpAddr>().is_err() {
        return vec!["must not have leading 0s".into()];
    }
    if is_mapped(&parsed) {
        return vec!["must not be an IPv4-mapped IPv6 address".into()];
    }
    if parsed.to_string() != text {
        return vec![format!("{CANONICAL} (\"{parsed}\")")];
    }
    Vec::new()
}

/// An address as fields from before strict validation accept it: any form but an ambiguous one.
pub fn legacy_ip(text: &str) -> Vec<String> {
    ip(text).into_iter().filter(|message| !message.starts_with(CANONICAL)).collect()
}

fn parse_cidr(text: &str, sloppy: bool) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) || (!sloppy && length.len() > 1 && length.starts_with('0')) {
        return None;
    }
    let address = if sloppy { parse_sloppy(address)? } else { address.parse().ok()? };
    let length: u32 = length.parse().ok()?;
    let max = if address.is_ipv4() { 32 } else { 128 };
    (length <= max).then_some((address, length))
}

fn network(ip: IpAddr, length: u32) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

/// A network in its canonical form.
pub fn cidr(text: &str) -> Vec<String> {
    let Some((ip, length)) = parse_cidr(text, true) else {
        return vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".into()];
    };
    if parse_cidr(text, false).is_none() {
        return vec!["must not have leading 0s in IP or prefix length".into()];
    }
    if is_mapped(&ip) {
        return vec!["must not have an IPv4-mapped IPv6 address".into()];
    }
    if network(ip, length) != ip {
        return vec!["must not have bits set beyond the prefix length".into()];
    }
    let canonical = format!("{ip}/{length}");
    if canonical != text { vec![format!("{CANONICAL} (\"{canonical}\")")] } else { Vec::new() }
}

/// A network as fields from before strict validation accept it: any form but an ambiguous one.
pub fn legacy_cidr(text: &str) -> Vec<String> {
    cidr(text).into_iter().filter(|message| !message.starts_with(CANONICAL)).collect()
}
