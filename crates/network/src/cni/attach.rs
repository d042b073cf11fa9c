//! Attaching a pod to the bridge, detaching it, and looking whether it still is.

use super::ipam::{Holder, Leases, Reservation};
use super::{CniError, Request, portmap};
use crate::config::gateway_of;
use crate::netlink::Socket;
use crate::netlink::route::{Mac, Veth, mac_of};
use ipnet::Ipv4Net;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;

/// What attaching made.
#[derive(Debug, Clone)]
pub struct Attachment {
    pub address: Ipv4Addr,
    pub gateway: Ipv4Addr,
    pub pod_mac: Mac,
    pub host_link: String,
    pub host_mac: Option<Mac>,
    pub bridge_mac: Option<Mac>,
}

pub fn attach(request: &Request) -> Result<Attachment, CniError> {
    let path = request.namespace.as_deref().ok_or(CniError::Environment("CNI_NETNS"))?;
    let namespace = open_namespace(path)?;
    let reservation = Reservation { namespace: path.to_path_buf(), ports: request.ports.clone() };
    let holder = holder(request);
    // The lock covers the reservation only; the kernel work of many pods runs side by side.
    let address = Leases::open(&request.network.state_dir)?.reserve(request.network.pod_cidr, &holder, &reservation)?;
    let attached = link(request, &namespace, path, address).and_then(|attachment| {
        portmap::open(&request.ports, address)?;
        Ok(attachment)
    });
    if attached.is_err() {
        // The error that matters is the first; the runtime will also call DEL.
        let _ = detach(request);
    }
    attached
}

fn link(request: &Request, namespace: &File, path: &Path, address: Ipv4Addr) -> Result<Attachment, CniError> {
    let network = &request.network;
    let gateway = gateway_of(network.pod_cidr);
    let mut host = Socket::route().map_err(kernel("cannot open netlink"))?;
    let bridge = ensure_bridge(&mut host, &network.bridge, network.pod_cidr, network.mtu)?;
    let host_link = host_link_name(request);
    let veth = Veth {
        host: &host_link,
        pod: &request.interface,
        pod_mac: mac_of(address),
        namespace: namespace.as_fd(),
        bridge,
        mtu: network.mtu,
    };
    match host.add_veth(&veth) {
        // An attempt that was killed half way left its link.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) && host.delete_link(&host_link).unwrap_or(false) => host.add_veth(&veth),
        other => other,
    }
    .map_err(kernel("cannot create the pod's link"))?;
    let host_end = host.link(&host_link).ok().flatten();
    if let Some(end) = &host_end {
        // Not isolated: where the kernel's bridge filter is on, a packet whose address is translated to a
        // neighbour's is handed from port to port, and an isolated port would swallow it.
        host.set_bridge_port(end.index, true).map_err(kernel("cannot configure the bridge port"))?;
    }
    configure_pod(namespace, path, &request.interface, address, gateway)?;
    Ok(Attachment {
        address,
        gateway,
        pod_mac: veth.pod_mac,
        host_mac: host_end.and_then(|end| end.mac),
        bridge_mac: Some(mac_of(gateway)),
        host_link,
    })
}

/// Undoes whatever of an attachment there is; nothing at all is fine.
pub fn detach(request: &Request) -> Result<(), CniError> {
    let holder = holder(request);
    let held = Leases::open(&request.network.state_dir)?.held_by(&holder)?;
    for (address, reservation) in &held {
        portmap::close(&reservation.ports, *address)?;
    }
    let mut host = Socket::route().map_err(kernel("cannot open netlink"))?;
    host.delete_link(&host_link_name(request)).map_err(kernel("cannot delete the pod's link"))?;
    // Last: what failed before this is repeated by the runtime, and finds its reservation again.
    Leases::open(&request.network.state_dir)?.release(&holder)
}

pub fn check(request: &Request) -> Result<(), CniError> {
    let path = request.namespace.as_deref().ok_or(CniError::Environment("CNI_NETNS"))?;
    let held = Leases::open(&request.network.state_dir)?.held_by(&holder(request))?;
    let Some((address, _)) = held.first() else {
        return Err(CniError::NotAttached(format!("container {} holds no address", request.container)));
    };
    let mut host = Socket::route().map_err(kernel("cannot open netlink"))?;
    let host_link = host_link_name(request);
    if host.link(&host_link).map_err(kernel("cannot read links"))?.is_none() {
        return Err(CniError::NotAttached(format!("link {host_link} does not exist")));
    }
    let mut pod = socket_in(&open_namespace(path)?, path)?;
    let link = pod.link(&request.interface).map_err(kernel("cannot read the pod's links"))?;
    let Some(link) = link.filter(|link| link.up) else {
        return Err(CniError::NotAttached(format!("{} is missing or down in the pod", request.interface)));
    };
    let addresses = pod.addresses(link.index).map_err(kernel("cannot read the pod's addresses"))?;
    if !addresses.iter().any(|present| present.addr() == *address) {
        return Err(CniError::NotAttached(format!("{} does not have the address {address}", request.interface)));
    }
    Ok(())
}

/// The bridge with its address; made here if the host was not prepared or somebody removed it.
pub fn ensure_bridge(host: &mut Socket, name: &str, pods: Ipv4Net, mtu: u32) -> Result<u32, CniError> {
    if let Some(link) = host.link(name).map_err(kernel("cannot read the bridge"))?.filter(|link| link.up) {
        return Ok(link.index);
    }
    let gateway = gateway_of(pods);
    // A fixed hardware address: otherwise it would follow the ports, and pods remember it.
    match host.add_link(name, "bridge", Some(mac_of(gateway)), Some(mtu)) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(kernel("cannot create the bridge")(error)),
        _ => {}
    }
    let link = host.link(name).map_err(kernel("cannot read the bridge"))?;
    let link = link.ok_or_else(|| CniError::NotAttached(format!("bridge {name} vanished")))?;
    host.set_up(link.index).map_err(kernel("cannot bring the bridge up"))?;
    let address = Ipv4Net::new(gateway, pods.prefix_len()).map_err(|error| CniError::Network(error.to_string()))?;
    host.add_address(link.index, address).map_err(kernel("cannot give the bridge its address"))?;
    Ok(link.index)
}

fn configure_pod(namespace: &File, path: &Path, interface: &str, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), CniError> {
    let mut pod = socket_in(namespace, path)?;
    let find = |pod: &mut Socket, name: &str| {
        let link = pod.link(name).map_err(kernel("cannot read the pod's links"))?;
        link.map(|link| link.index).ok_or_else(|| CniError::NotAttached(format!("the pod has no {name}")))
    };
    let loopback = find(&mut pod, "lo")?;
    pod.set_up(loopback).map_err(kernel("cannot bring the pod's loopback up"))?;
    let index = find(&mut pod, interface)?;
    pod.set_up(index).map_err(kernel("cannot bring the pod's link up"))?;
    pod.add_address(index, Ipv4Net::from(address)).map_err(kernel("cannot give the pod its address"))?;
    // The gateway first: it is not on any network of the pod's, and everything goes through it.
    pod.set_route(Ipv4Net::from(gateway), None, index, None).map_err(kernel("cannot route to the gateway"))?;
    pod.set_route(Ipv4Net::default(), Some(gateway), index, None).map_err(kernel("cannot set the pod's default route"))
}

fn open_namespace(path: &Path) -> Result<File, CniError> {
    File::open(path).map_err(|source| CniError::Namespace { path: path.display().to_string(), source })
}

/// A socket that lives in the namespace. Only a thread of its own enters it, so this one never has to
/// find its way back.
fn socket_in(namespace: &File, path: &Path) -> Result<Socket, CniError> {
    let inside = std::thread::scope(|scope| {
        let opener = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            Socket::route()
        });
        opener.join().unwrap_or_else(|_| Err(io::Error::other("the thread that entered it panicked")))
    });
    inside.map_err(|source| CniError::Namespace { path: path.display().to_string(), source })
}

fn holder(request: &Request) -> Holder {
    Holder { container: request.container.clone(), interface: request.interface.clone() }
}

/// The host's end is named by a hash, so that detaching finds it with nothing but the request.
fn host_link_name(request: &Request) -> String {
    // FNV-1a: short, and stable across builds, unlike the standard library's hasher.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in request.container.bytes().chain([0]).chain(request.interface.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("so{:012x}", hash & 0xffff_ffff_ffff)
}

fn kernel(action: &'static str) -> impl Fn(io::Error) -> CniError {
    move |source| CniError::Kernel { action: action.to_string(), source }
}
