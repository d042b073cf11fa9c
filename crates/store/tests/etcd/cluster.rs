//! An etcd of several members on loopback, whose members can be killed, frozen and started again.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use store::{Etcd, EtcdConfig};

pub struct Cluster {
    dir: tempfile::TempDir,
    members: Vec<Member>,
    scheme: &'static str,
    /// Further arguments of every member.
    arguments: Vec<String>,
}

struct Member {
    client: u16,
    peer: u16,
    process: Option<Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|i| self.kill(i));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Cluster {
    /// None where etcd is not installed.
    pub fn start(size: usize) -> Option<Self> {
        Self::start_with(size, "http", Vec::new())
    }

    pub fn start_with(size: usize, scheme: &'static str, arguments: Vec<String>) -> Option<Self> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            assert!(std::env::var_os("SOCLE_TEST_ALL").is_none(), "etcd is not installed");
            println!("skipped: etcd is not installed (Debian: etcd-server)");
            return None;
        }
        let members = (0..size).map(|_| Member { client: free_port(), peer: free_port(), process: None }).collect();
        let mut cluster = Self { dir: tempfile::tempdir().unwrap(), members, scheme, arguments };
        (0..size).for_each(|i| cluster.run(i));
        Some(cluster)
    }

    pub fn endpoint(&self, i: usize) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.members[i].client)
    }

    pub fn config(&self) -> EtcdConfig {
        EtcdConfig { endpoints: (0..self.members.len()).map(|i| self.endpoint(i)).collect(), ..EtcdConfig::default() }
    }

    /// Waits until it answers.
    pub async fn connect_with(&self, config: &EtcdConfig) -> Etcd {
        let mut last = None;
        for _ in 0..10 {
            match Etcd::connect(config).await {
                Ok(store) => return store,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("etcd does not answer: {last:?}")
    }

    pub fn run(&mut self, i: usize) {
        let peer = |i: usize| format!("http://127.0.0.1:{}", self.members[i].peer);
        let all: Vec<String> = (0..self.members.len()).map(|i| format!("m{i}={}", peer(i))).collect();
        let mut command = Command::new("etcd");
        command
            .args(["--name", &format!("m{i}"), "--data-dir"])
            .arg(self.data(i))
            .args(["--initial-cluster", &all.join(","), "--initial-advertise-peer-urls", &peer(i), "--listen-peer-urls", &peer(i)])
            .args(["--advertise-client-urls", &self.endpoint(i), "--listen-client-urls", &self.endpoint(i)])
            .args(["--log-level", "error", "--snapshot-count", "10000"])
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.members[i].process = Some(command.spawn().unwrap());
    }

    fn data(&self, i: usize) -> std::path::PathBuf {
        Path::new(self.dir.path()).join(format!("m{i}"))
    }

    pub fn kill(&mut self, i: usize) {
        if let Some(mut process) = self.members[i].process.take() {
            // It may have ended by itself; then the test has failed for that already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn signal(&self, i: usize, signal: nix::sys::signal::Signal) {
        let process = self.members[i].process.as_ref().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.id() as i32), signal).unwrap();
    }

    /// It keeps its connections and says nothing.
    pub fn freeze(&self, i: usize) {
        self.signal(i, nix::sys::signal::Signal::SIGSTOP);
    }

    pub fn thaw(&self, i: usize) {
        self.signal(i, nix::sys::signal::Signal::SIGCONT);
    }
}
