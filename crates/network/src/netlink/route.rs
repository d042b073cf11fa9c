//! Links, addresses and routes.

use super::{Attributes, Message, Socket};
use ipnet::Ipv4Net;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const REPLACE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
const UP: u32 = libc::IFF_UP as u32;

/// A hardware address.
pub type Mac = [u8; 6];

/// The address of a link that carries this IP: locally administered, and the same each time the IP is
/// given out, so that a neighbour entry that outlives a pod is still right for the next.
pub fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// What is known of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub mac: Option<Mac>,
    pub mtu: u32,
    pub up: bool,
}

/// A veth pair to be made: one end here, attached to a bridge and up, the other in a pod, still down.
pub struct Veth<'a> {
    pub host: &'a str,
    pub pod: &'a str,
    pub pod_mac: Mac,
    pub namespace: BorrowedFd<'a>,
    pub bridge: u32,
    pub mtu: u32,
}

impl Socket {
    pub fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = Message::new(libc::RTM_GETLINK, 0, &link_body(0, 0, 0));
        message.text(IFLA_IFNAME, name);
        Ok(self.get(message)?.as_deref().and_then(parse_link))
    }

    /// A link of a kind without parameters (`bridge`, `dummy`), up.
    pub fn add_link(&mut self, name: &str, kind: &str, mac: Option<Mac>, mtu: Option<u32>) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, CREATE, &link_body(0, UP, UP));
        message.text(IFLA_IFNAME, name);
        if let Some(mac) = mac {
            message.attribute(IFLA_ADDRESS, &mac);
        }
        if let Some(mtu) = mtu {
            message.number(IFLA_MTU, mtu);
        }
        message.nest(IFLA_LINKINFO, &[], |info| {
            info.text(IFLA_INFO_KIND, kind);
        });
        self.acknowledged(message)
    }

    pub fn add_veth(&mut self, veth: &Veth<'_>) -> io::Result<()> {
        match self.try_add_veth(veth, true) {
            // A kernel without IPv6.
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => self.try_add_veth(veth, false),
            other => other,
        }
    }

    fn try_add_veth(&mut self, veth: &Veth<'_>, ipv6: bool) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, CREATE, &link_body(0, UP, UP));
        message.text(IFLA_IFNAME, veth.host).number(IFLA_MTU, veth.mtu).number(IFLA_MASTER, veth.bridge);
        if ipv6 {
            // The end on the bridge needs no address of its own, so it spares the duplicate address detection.
            message.nest(IFLA_AF_SPEC, &[], |families| {
                families.nest(libc::AF_INET6 as u16, &[], |v6| {
                    v6.attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
                });
            });
        }
        message.nest(IFLA_LINKINFO, &[], |info| {
            info.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, &[], |data| {
                // Not up yet: the kernel opens no end that has no other.
                data.nest(VETH_INFO_PEER, &link_body(0, 0, 0), |peer| {
                    peer.text(IFLA_IFNAME, veth.pod)
                        .attribute(IFLA_ADDRESS, &veth.pod_mac)
                        .number(IFLA_MTU, veth.mtu)
                        .number(IFLA_NET_NS_FD, veth.namespace.as_raw_fd() as u32);
                });
            });
        });
        self.acknowledged(message)
    }

    /// `hairpin`: a frame may leave by the port it came in on.
    pub fn set_bridge_port(&mut self, index: u32, hairpin: bool) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &link_body(index, 0, 0));
        message.nest(IFLA_LINKINFO, &[], |info| {
            info.text(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, &[], |port| {
                port.attribute(IFLA_BRPORT_MODE, &[u8::from(hairpin)]);
            });
        });
        self.acknowledged(message)
    }

    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        self.acknowledged(Message::new(libc::RTM_NEWLINK, 0, &link_body(index, UP, UP)))
    }

    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, 0, &link_body(index, 0, 0));
        message.number(IFLA_MTU, mtu);
        self.acknowledged(message)
    }

    /// False when there was none.
    pub fn delete_link(&mut self, name: &str) -> io::Result<bool> {
        let mut message = Message::new(libc::RTM_DELLINK, 0, &link_body(0, 0, 0));
        message.text(IFLA_IFNAME, name);
        match self.acknowledged(message) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub fn add_address(&mut self, index: u32, address: Ipv4Net) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWADDR, REPLACE, &address_body(index, address.prefix_len()));
        let octets = address.addr().octets();
        message.attribute(IFA_LOCAL, &octets).attribute(IFA_ADDRESS, &octets);
        self.acknowledged(message)
    }

    pub fn delete_address(&mut self, index: u32, address: Ipv4Net) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_DELADDR, 0, &address_body(index, address.prefix_len()));
        message.attribute(IFA_LOCAL, &address.addr().octets());
        self.acknowledged(message)
    }

    pub fn addresses(&mut self, index: u32) -> io::Result<Vec<Ipv4Net>> {
        let mut found = Vec::new();
        self.dump(Message::new(libc::RTM_GETADDR, 0, &address_body(0, 0)), |payload| {
            let (Some(&[_, prefix, _, _]), Some(of)) = (payload.first_chunk::<4>(), number(payload, 4)) else { return };
            let local = Attributes::new(payload.get(8..).unwrap_or_default()).find(IFA_LOCAL).and_then(v4);
            if of == index {
                found.extend(local.and_then(|address| Ipv4Net::new(address, prefix).ok()));
            }
        })?;
        Ok(found)
    }

    /// A route of the main table, put in place of one to the same destination.
    pub fn set_route(&mut self, to: Ipv4Net, gateway: Option<Ipv4Addr>, index: u32, source: Option<Ipv4Addr>) -> io::Result<()> {
        let scope = if gateway.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
        let body = [libc::AF_INET as u8, to.prefix_len(), 0, 0, libc::RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0, 0, 0, 0];
        let mut message = Message::new(libc::RTM_NEWROUTE, REPLACE, &body);
        if to.prefix_len() > 0 {
            message.attribute(RTA_DST, &to.network().octets());
        }
        if let Some(gateway) = gateway {
            message.attribute(RTA_GATEWAY, &gateway.octets());
        }
        if let Some(source) = source {
            message.attribute(RTA_PREFSRC, &source.octets());
        }
        message.number(RTA_OIF, index);
        self.acknowledged(message)
    }
}

/// `struct ifinfomsg`.
fn link_body(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&change.to_ne_bytes());
    body
}

/// `struct ifaddrmsg`.
fn address_body(index: u32, prefix: u8) -> [u8; 8] {
    let mut body = [0; 8];
    body[0] = libc::AF_INET as u8;
    body[1] = prefix;
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body
}

fn parse_link(payload: &[u8]) -> Option<Link> {
    let index = number(payload, 4)?;
    let flags = number(payload, 8)?;
    let attributes = Attributes::new(payload.get(16..)?);
    Some(Link {
        index,
        mac: attributes.find(IFLA_ADDRESS).and_then(|bytes| bytes.try_into().ok()),
        mtu: attributes.find(IFLA_MTU).and_then(|bytes| number(bytes, 0)).unwrap_or_default(),
        up: flags & UP != 0,
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn v4(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}
