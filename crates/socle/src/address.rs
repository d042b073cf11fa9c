//! This machine's address, as the rest of the cluster sees it.

use anyhow::Context;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use std::net::Ipv4Addr;

/// The configured one, else that of the interface which the default route leaves by, else the first of
/// an interface that is up, else `fallback` (a machine without a network still runs pods).
pub fn node(configured: &str, fallback: Ipv4Addr, own: &[&str]) -> anyhow::Result<Ipv4Addr> {
    if !configured.is_empty() {
        return configured.parse().with_context(|| format!("node.address {configured:?} is not an IPv4 address"));
    }
    let route = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let default = default_interface(&route);
    let mut first = None;
    for interface in getifaddrs().context("listing the network interfaces")? {
        let usable = interface.flags.contains(InterfaceFlags::IFF_UP) && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let Some(address) = interface.address.as_ref().and_then(|a| a.as_sockaddr_in()).map(|a| a.ip()).filter(|_| usable) else {
            continue;
        };
        if own.contains(&interface.interface_name.as_str()) {
            continue;
        }
        if default.as_deref() == Some(interface.interface_name.as_str()) {
            return Ok(address);
        }
        first = first.or(Some(address));
    }
    Ok(first.unwrap_or(fallback))
}

/// The interface of the route to 0.0.0.0/0.
fn default_interface(table: &str) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000")).then(|| fields[0].to_string())
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_route_names_its_interface() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\nlo0\t0000FEA9\t0\t1\t0\t0\t0\t0000FFFF\neth1\t00000000\t0100A8C0\t3\t0\t0\t0\t00000000\n";
        assert_eq!(super::default_interface(table).as_deref(), Some("eth1"));
        assert_eq!(super::default_interface(""), None);
    }
}
