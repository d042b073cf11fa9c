//! The kernel's connection tracking table: reading the UDP flows and deleting some.
//!
//! A UDP flow has no end of its own. As long as a client goes on sending, the kernel goes on
//! translating to the endpoint it once chose, so flows to an endpoint that is gone must be forgotten.

use super::{Attributes, Message, Socket};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// `struct nfgenmsg`: family, version, resource id.
const BODY: [u8; 4] = [libc::AF_INET as u8, 0, 0, 0];

/// A UDP flow: whom the client addressed, and who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    pub destination: SocketAddrV4,
    pub answered_by: SocketAddrV4,
    /// The original direction as the kernel wrote it, to name the flow when deleting it.
    tuple: Vec<u8>,
    id: Option<Vec<u8>>,
}

impl Socket {
    /// The UDP flows over IPv4; those that `wanted` says no to are not kept.
    pub fn udp_flows(&mut self, wanted: impl Fn(&Flow) -> bool) -> io::Result<Vec<Flow>> {
        let mut flows = Vec::new();
        self.dump(Message::new(GET, 0, &BODY), |payload| {
            flows.extend(parse(payload).filter(|flow| wanted(flow)));
        })?;
        Ok(flows)
    }

    /// False when the flow had ended by itself.
    pub fn delete_flow(&mut self, flow: &Flow) -> io::Result<bool> {
        let mut message = Message::new(DELETE, 0, &BODY);
        message.nest(CTA_TUPLE_ORIG, &flow.tuple, |_| {});
        if let Some(id) = &flow.id {
            message.attribute(CTA_ID, id);
        }
        match self.acknowledged(message) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn parse(payload: &[u8]) -> Option<Flow> {
    let attributes = Attributes::new(payload.get(4..)?);
    let tuple = attributes.find(CTA_TUPLE_ORIG)?;
    let (_, destination) = ends(&Attributes::new(tuple))?;
    let (answered_by, _) = ends(&attributes.nested(CTA_TUPLE_REPLY)?)?;
    Some(Flow { destination, answered_by, tuple: tuple.to_vec(), id: attributes.find(CTA_ID).map(<[u8]>::to_vec) })
}

/// Source and destination of one direction, if it is UDP over IPv4.
fn ends(tuple: &Attributes<'_>) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let address = |kind| tuple.nested(CTA_TUPLE_IP)?.find(kind)?.try_into().ok().map(|b: [u8; 4]| Ipv4Addr::from(b));
    let protocol = tuple.nested(CTA_TUPLE_PROTO)?;
    if protocol.find(CTA_PROTO_NUM)? != [libc::IPPROTO_UDP as u8] {
        return None;
    }
    let port = |kind| protocol.find(kind)?.try_into().ok().map(u16::from_be_bytes);
    Some((
        SocketAddrV4::new(address(CTA_IP_V4_SRC)?, port(CTA_PROTO_SRC_PORT)?),
        SocketAddrV4::new(address(CTA_IP_V4_DST)?, port(CTA_PROTO_DST_PORT)?),
    ))
}
