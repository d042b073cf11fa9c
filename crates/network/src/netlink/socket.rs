//! One netlink socket: a request and its answer at a time.

use super::Message;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, socket};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const HEADER: usize = 16;
const ACK: u16 = libc::NLM_F_ACK as u16;
const DUMP: u16 = libc::NLM_F_DUMP as u16;
const MULTI: u16 = libc::NLM_F_MULTI as u16;
const ERROR: u16 = libc::NLMSG_ERROR as u16;
const DONE: u16 = libc::NLMSG_DONE as u16;

/// Belongs to the network namespace of the thread that opened it, whatever namespace its user is in.
pub struct Socket {
    descriptor: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub fn route() -> io::Result<Self> {
        Self::open(SockProtocol::NetlinkRoute)
    }

    pub fn netfilter() -> io::Result<Self> {
        Self::open(SockProtocol::NetlinkNetFilter)
    }

    fn open(protocol: SockProtocol) -> io::Result<Self> {
        let descriptor = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(descriptor.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self { descriptor, sequence: 0, buffer: Vec::new() })
    }

    /// Sends a request and waits for its acknowledgement.
    pub fn acknowledged(&mut self, message: Message) -> io::Result<()> {
        self.exchange(message, ACK, |_| {})
    }

    /// Sends a request for one object; `None` when there is no such thing.
    pub fn get(&mut self, message: Message) -> io::Result<Option<Vec<u8>>> {
        let mut found = None;
        match self.exchange(message, ACK, |payload| found = Some(payload.to_vec())) {
            Ok(()) => Ok(found),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request for many objects and hands each payload over as it comes.
    pub fn dump(&mut self, message: Message, each: impl FnMut(&[u8])) -> io::Result<()> {
        self.exchange(message, DUMP, each)
    }

    fn exchange(&mut self, message: Message, flags: u16, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = message.finish(self.sequence, flags);
        sendto(self.descriptor.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        self.buffer.resize(64 * 1024, 0);
        loop {
            let received = match recv(self.descriptor.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            let mut rest = self.buffer.get(..received).unwrap_or_default();
            while let Some(reply) = Reply::parse(rest) {
                rest = rest.get(reply.length.next_multiple_of(4)..).unwrap_or_default();
                // Leftovers of a request that was given up.
                if reply.sequence != self.sequence {
                    continue;
                }
                match reply.kind {
                    ERROR | DONE => return reply.outcome(),
                    _ => {
                        each(reply.payload);
                        // A lone answer to a plain request is followed by the acknowledgement; parts of a dump by DONE.
                        debug_assert!(flags != DUMP || reply.flags & MULTI != 0);
                    }
                }
            }
        }
    }
}

struct Reply<'a> {
    length: usize,
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl<'a> Reply<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let half = |at: usize| bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
        let length = word(0)? as usize;
        Some(Self { length, kind: half(4)?, flags: half(6)?, sequence: word(8)?, payload: bytes.get(HEADER..length)? })
    }

    /// What an acknowledgement, an error or the end of a dump says: zero or a negated errno.
    fn outcome(&self) -> io::Result<()> {
        let code = self.payload.get(..4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
        if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(()) }
    }
}
