//! An etcd of several members on loopback, whose members can be killed, frozen and started again.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use store::{Etcd, EtcdConfig};

pub struct Cluster {
    dir: tempfile::TempDir,
    members: Vec<Member>,
    tls: Option<Tls>,
}

struct Member {
    client: u16,
    peer: u16,
    process: Option<Child>,
}

/// PEM files for both sides, made for this run.
pub struct Tls {
    dir: tempfile::TempDir,
    pub ca: Vec<u8>,
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl Tls {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let leaf = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["localhost".to_string(), "127.0.0.1".to_string()]).unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            std::fs::write(dir.path().join(format!("{name}.crt")), certificate.pem()).unwrap();
            std::fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
            (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
        };
        leaf("server");
        let (certificate, key) = leaf("client");
        std::fs::write(dir.path().join("ca.crt"), ca_certificate.pem()).unwrap();
        Self { ca: ca_certificate.pem().into_bytes(), certificate, key, dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
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
        Self::start_with(size, None)
    }

    pub fn start_with(size: usize, tls: Option<Tls>) -> Option<Self> {
        if Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            println!("skipped: etcd is not installed (Debian: etcd-server)");
            return None;
        }
        let members = (0..size).map(|_| Member { client: free_port(), peer: free_port(), process: None }).collect();
        let mut cluster = Self { dir: tempfile::tempdir().unwrap(), members, tls };
        (0..size).for_each(|i| cluster.run(i));
        Some(cluster)
    }

    fn scheme(&self) -> &str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    pub fn endpoint(&self, i: usize) -> String {
        format!("{}://127.0.0.1:{}", self.scheme(), self.members[i].client)
    }

    pub fn config(&self) -> EtcdConfig {
        EtcdConfig { endpoints: (0..self.members.len()).map(|i| self.endpoint(i)).collect(), ..EtcdConfig::default() }
    }

    /// Waits until it answers.
    pub async fn connect(&self) -> Etcd {
        self.connect_with(&self.config()).await
    }

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
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(tls) = &self.tls {
            command.args(["--client-cert-auth", "--trusted-ca-file", &tls.path("ca.crt")]);
            command.args(["--cert-file", &tls.path("server.crt"), "--key-file", &tls.path("server.key")]);
        }
        self.members[i].process = Some(command.spawn().unwrap());
    }

    pub fn data(&self, i: usize) -> std::path::PathBuf {
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
