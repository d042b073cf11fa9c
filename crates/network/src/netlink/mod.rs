//! Netlink, as much of it as the pod network needs: links, addresses and routes for the CNI plugin
//! and the host, and the connection tracking table. Synchronous, one request at a time, because its
//! main user is a plugin that lives for a few milliseconds.

mod attributes;
pub mod conntrack;
mod message;
pub mod route;
mod socket;

pub use attributes::Attributes;
pub use message::Message;
pub use socket::Socket;
