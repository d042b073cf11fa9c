//! IP addresses and networks.

use super::Opaque;
use crate::error::EvalError;
use crate::functions::{Function, T, function, of, on};
use crate::value::Value;
use ipnet::IpNet;
use std::net::IpAddr;

pub const IP: &str = "net.IP";
pub const CIDR: &str = "net.CIDR";
pub const NAMES: &[&str] = &[IP, CIDR];

type Done<'a> = Result<Value<'a>, EvalError>;
const I: T = T::Opaque(IP);
const C: T = T::Opaque(CIDR);

pub const FUNCTIONS: &[Function] = &[
    function("ip", &[of(&[T::String], I), on(&[C], I)], |args| match args {
        [Value::String(text)] => Ok(ip(parse_ip(text.as_str())?)),
        [Value::Opaque(Opaque::Cidr(net))] => Ok(ip(net.addr())),
        _ => Err(EvalError::overload()),
    }),
    function("ip.isCanonical", &[of(&[T::String], T::Bool)], |args| match args {
        [Value::String(text)] => Ok(Value::Bool(parse_ip(text.as_str())?.to_string() == text.as_str())),
        _ => Err(EvalError::overload()),
    }),
    function("isIP", &[of(&[T::String], T::Bool)], |args| match args {
        [Value::String(text)] => Ok(Value::Bool(parse_ip(text.as_str()).is_ok())),
        _ => Err(EvalError::overload()),
    }),
    function("family", &[on(&[I], T::Int)], |args| with_ip(args, |ip| Value::Int(if ip.is_ipv4() { 4 } else { 6 }))),
    function("isUnspecified", &[on(&[I], T::Bool)], |args| with_ip(args, |ip| Value::Bool(ip.is_unspecified()))),
    function("isLoopback", &[on(&[I], T::Bool)], |args| with_ip(args, |ip| Value::Bool(ip.is_loopback()))),
    function("isLinkLocalMulticast", &[on(&[I], T::Bool)], |args| with_ip(args, |ip| Value::Bool(link_local_multicast(ip)))),
    function("isLinkLocalUnicast", &[on(&[I], T::Bool)], |args| with_ip(args, |ip| Value::Bool(link_local(ip)))),
    function("isGlobalUnicast", &[on(&[I], T::Bool)], |args| {
        with_ip(args, |ip| {
            let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
            Value::Bool(!(broadcast || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local(ip)))
        })
    }),
    function("cidr", &[of(&[T::String], C)], |args| match args {
        [Value::String(text)] => parse_cidr(text.as_str())
            .map(cidr)
            .map_err(|error| EvalError::failed(format!("network address parse error during conversion from string: {error}"))),
        _ => Err(EvalError::overload()),
    }),
    function("isCIDR", &[of(&[T::String], T::Bool)], |args| match args {
        [Value::String(text)] => Ok(Value::Bool(parse_cidr(text.as_str()).is_ok())),
        _ => Err(EvalError::overload()),
    }),
    function("containsIP", &[on(&[C, T::String], T::Bool), on(&[C, I], T::Bool)], |args| {
        let (net, other) = match args {
            [Value::Opaque(Opaque::Cidr(net)), Value::String(text)] => (net, parse_ip(text.as_str())?),
            [Value::Opaque(Opaque::Cidr(net)), Value::Opaque(Opaque::Ip(ip))] => (net, *ip),
            _ => return Err(EvalError::overload()),
        };
        Ok(Value::Bool(net.contains(&other)))
    }),
    function("containsCIDR", &[on(&[C, T::String], T::Bool), on(&[C, C], T::Bool)], |args| {
        let (net, other) = match args {
            [Value::Opaque(Opaque::Cidr(net)), Value::String(text)] => (net, parse_cidr(text.as_str()).map_err(EvalError::failed)?),
            [Value::Opaque(Opaque::Cidr(net)), Value::Opaque(Opaque::Cidr(other))] => (net, *other),
            _ => return Err(EvalError::overload()),
        };
        Ok(Value::Bool(net.contains(&other.network()) && net.prefix_len() <= other.prefix_len()))
    }),
    function("prefixLength", &[on(&[C], T::Int)], |args| with_cidr(args, |net| Value::Int(i64::from(net.prefix_len())))),
    function("masked", &[on(&[C], C)], |args| with_cidr(args, |net| cidr(net.trunc()))),
];

fn ip<'a>(ip: IpAddr) -> Value<'a> {
    Value::Opaque(Opaque::Ip(ip))
}

fn cidr<'a>(net: IpNet) -> Value<'a> {
    Value::Opaque(Opaque::Cidr(net))
}

fn with_ip<'a>(args: &[Value<'a>], read: impl FnOnce(&IpAddr) -> Value<'a>) -> Done<'a> {
    match args {
        [Value::Opaque(Opaque::Ip(ip))] => Ok(read(ip)),
        _ => Err(EvalError::overload()),
    }
}

fn with_cidr<'a>(args: &[Value<'a>], read: impl FnOnce(&IpNet) -> Value<'a>) -> Done<'a> {
    match args {
        [Value::Opaque(Opaque::Cidr(net))] => Ok(read(net)),
        _ => Err(EvalError::overload()),
    }
}

fn link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn link_local_multicast(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

/// Neither a zone nor an IPv4 address dressed as IPv6.
fn parse_ip(text: &str) -> Result<IpAddr, EvalError> {
    let parsed: IpAddr = text.parse().map_err(|_| {
        EvalError::failed(format!("IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"))
    })?;
    if matches!(parsed, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
        return Err(EvalError::failed(format!("IPv4-mapped IPv6 address {text:?} is not allowed")));
    }
    Ok(parsed)
}

fn parse_cidr(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text.parse().map_err(|_| format!("netip.ParsePrefix({text:?}): no '/' or bad bits"))?;
    if matches!(net, IpNet::V6(net) if net.addr().to_ipv4_mapped().is_some()) {
        return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
    }
    Ok(net)
}
