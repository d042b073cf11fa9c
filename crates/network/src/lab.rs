//! Network namespaces for tests against the real kernel. Without the privilege to make one, such a test
//! has nothing to say and passes.

use crate::Config;
use crate::cni::{Network, call};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static COUNT: AtomicU32 = AtomicU32::new(0);
pub const PATIENCE: Duration = Duration::from_secs(3);

pub struct Namespace {
    name: String,
}

impl Namespace {
    pub fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            return None;
        }
        let name = format!("lab-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let made = Command::new("ip").args(["netns", "add", &name]).output().is_ok_and(|output| output.status.success());
        let namespace = made.then_some(Self { name })?;
        namespace.shell("ip link set lo up");
        Some(namespace)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs `work` on a thread inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(File::open(self.path()).expect("the namespace's file"), CloneFlags::CLONE_NEWNET).expect("entering it");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    pub fn shell(&self, command: &str) -> String {
        let output = Command::new("ip").args(["netns", "exec", &self.name, "sh", "-c", command]).output().expect("running ip");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A server inside, over TCP and UDP: it says its name and the address it was asked from.
    pub fn serve(&self, port: u16, name: &'static str) {
        let (tcp, udp) =
            self.run(|| (TcpListener::bind(("0.0.0.0", port)).expect("a port"), UdpSocket::bind(("0.0.0.0", port)).expect("a port")));
        std::thread::spawn(move || {
            while let Ok((mut stream, from)) = tcp.accept() {
                let _ = stream.write_all(format!("{name} {}", from.ip()).as_bytes());
            }
        });
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = udp.recv_from(&mut buffer) {
                let _ = udp.send_to(format!("{name} {}", from.ip()).as_bytes(), from);
            }
        });
    }

    /// What the server says that is reached at an address from inside.
    pub fn ask(&self, ip: Ipv4Addr, port: u16) -> std::io::Result<String> {
        self.run(|| {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip.into(), port), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut said = String::new();
            stream.read_to_string(&mut said)?;
            Ok(said)
        })
    }

    /// Joins two namespaces by a cable, with an address at each end.
    pub fn cable(&self, here: &str, other: &Self, there: &str) {
        let ends = (format!("x{}", COUNT.fetch_add(1, Ordering::Relaxed)), "uplink");
        self.shell(&format!("ip link add {} type veth peer name {} netns {}", ends.0, ends.1, other.name));
        self.shell(&format!("ip addr add {here} dev {0} && ip link set {0} up", ends.0));
        other.shell(&format!("ip addr add {there} dev {0} && ip link set {0} up", ends.1));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// A node in a namespace, prepared as a real one is.
pub struct Host {
    pub namespace: Namespace,
    pub config: Config,
    _directory: tempfile::TempDir,
}

impl Host {
    pub fn new() -> Option<Self> {
        let namespace = Namespace::new()?;
        let directory = tempfile::tempdir().expect("a directory");
        let config = Config {
            node_name: "here".into(),
            mtu: Some(1500),
            cni_conf_dir: directory.path().join("net.d"),
            cni_bin_dir: directory.path().join("bin"),
            state_dir: directory.path().join("state"),
            resolv_conf: directory.path().join("resolv.conf"),
            ..Config::default()
        };
        namespace.run(|| crate::prepare_host(&config, &PathBuf::from("/bin/true"))).expect("preparing the host");
        Some(Self { namespace, config, _directory: directory })
    }

    pub fn network(&self) -> Network {
        Network { bridge: self.config.bridge.clone(), pod_cidr: self.config.pod_cidr, mtu: 1500, state_dir: self.config.state_dir.clone() }
    }

    /// Calls the plugin about a pod, as the runtime does.
    pub fn plugin(&self, command: &str, pod: &Namespace, extra: serde_json::Value) -> Result<String, crate::cni::CniError> {
        let mut input = serde_json::to_value(self.network()).expect("a document");
        input["cniVersion"] = "1.0.0".into();
        input["name"] = "lab".into();
        input["runtimeConfig"] = extra;
        let environment = crate::cni::Environment {
            command: Some(command.into()),
            container: Some(pod.name().into()),
            namespace: Some(pod.path().display().to_string()),
            interface: Some("eth0".into()),
        };
        self.namespace.run(|| call(&environment, input.to_string().as_bytes()))
    }

    /// A pod with a server on port 8080, and its address.
    pub fn pod(&self, name: &'static str) -> (Namespace, Ipv4Addr) {
        let pod = Namespace::new().expect("a second namespace");
        let result = self.plugin("ADD", &pod, serde_json::json!({})).expect("attaching");
        pod.serve(8080, name);
        (pod, address_of(&result))
    }
}

pub fn address_of(result: &str) -> Ipv4Addr {
    let result: serde_json::Value = serde_json::from_str(result).expect("a result");
    let address = result["ips"][0]["address"].as_str().expect("an address");
    address.trim_end_matches("/32").parse().expect("an address")
}
