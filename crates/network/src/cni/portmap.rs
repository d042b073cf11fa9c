//! Host ports: ports of the node that lead to one pod.
//!
//! They are elements of maps in a table of their own, so that opening and closing one costs the same
//! however many there are, and the Service tables can be rebuilt without touching them.

use super::CniError;
use super::request::PortMapping;
use crate::nft::{self, NftError};
use std::fmt::Write;
use std::net::Ipv4Addr;

pub const TABLE: &str = "socle-hostports";

/// Everything but the elements; applying it again changes nothing.
const SKELETON: &str = "\
table ip socle-hostports {
  map any-address {
    type inet_proto . inet_service : ipv4_addr . inet_service
  }
  map one-address {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
  }
  set hairpin {
    type ipv4_addr . ipv4_addr
  }
  chain lead {
  }
  chain prerouting {
    type nat hook prerouting priority dstnat
  }
  chain output {
    type nat hook output priority -100
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
  }
}
flush chain ip socle-hostports lead
flush chain ip socle-hostports prerouting
flush chain ip socle-hostports output
flush chain ip socle-hostports postrouting
table ip socle-hostports {
  chain lead {
    dnat ip to ip daddr . meta l4proto . th dport map @one-address
    dnat ip to meta l4proto . th dport map @any-address
  }
  chain prerouting {
    fib daddr type local ip daddr != 127.0.0.0/8 jump lead
  }
  chain output {
    fib daddr type local jump lead
  }
  chain postrouting {
    ct status & dnat == dnat ip saddr 127.0.0.0/8 oifname != \"lo\" masquerade
    ct status & dnat == dnat ip saddr . ip daddr @hairpin masquerade
  }
}
";

pub fn open(ports: &[PortMapping], pod: Ipv4Addr) -> Result<(), CniError> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut elements = String::new();
    add(&mut elements, ports, pod)?;
    match nft::apply(&elements) {
        // The table is there on a prepared host; somebody may have flushed the ruleset since.
        Err(NftError::Refused(_)) => Ok(nft::apply(&format!("{SKELETON}{elements}"))?),
        other => Ok(other?),
    }
}

pub fn close(ports: &[PortMapping], pod: Ipv4Addr) -> Result<(), CniError> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut script = String::new();
    // Adding first makes the deletion succeed for an element that is gone; one that by now leads to
    // another pod makes the addition fail, and then it is not ours to delete.
    for port in ports {
        let (map, key) = key(port)?;
        let _ = writeln!(script, "add element ip {TABLE} {map} {{ {key} : {pod} . {} }}", port.container_port);
        let _ = writeln!(script, "delete element ip {TABLE} {map} {{ {key} }}");
    }
    let _ = writeln!(script, "add element ip {TABLE} hairpin {{ {pod} . {pod} }}\ndelete element ip {TABLE} hairpin {{ {pod} . {pod} }}");
    match nft::apply(&script) {
        Err(NftError::Refused(message)) if message.contains("No such file") || message.contains("File exists") => Ok(()),
        other => Ok(other?),
    }
}

/// The table with exactly these pods' ports, as a node that starts needs it.
pub fn restore<'a>(pods: impl IntoIterator<Item = (Ipv4Addr, &'a [PortMapping])>) -> Result<(), CniError> {
    let mut script = SKELETON.to_string();
    for name in ["map ip socle-hostports any-address", "map ip socle-hostports one-address", "set ip socle-hostports hairpin"] {
        let _ = writeln!(script, "flush {name}");
    }
    for (pod, ports) in pods {
        if !ports.is_empty() {
            add(&mut script, ports, pod)?;
        }
    }
    Ok(nft::apply(&script)?)
}

fn add(script: &mut String, ports: &[PortMapping], pod: Ipv4Addr) -> Result<(), CniError> {
    for port in ports {
        let (map, key) = key(port)?;
        let _ = writeln!(script, "add element ip {TABLE} {map} {{ {key} : {pod} . {} }}", port.container_port);
    }
    let _ = writeln!(script, "add element ip {TABLE} hairpin {{ {pod} . {pod} }}");
    Ok(())
}

fn key(port: &PortMapping) -> Result<(&'static str, String), CniError> {
    let protocol = match port.protocol.as_str() {
        known @ ("tcp" | "udp" | "sctp") => known,
        other => return Err(CniError::Network(format!("port mapping with unknown protocol {other:?}"))),
    };
    Ok(match port.address()? {
        Some(address) => ("one-address", format!("{address} . {protocol} . {}", port.host_port)),
        None => ("any-address", format!("{protocol} . {}", port.host_port)),
    })
}
