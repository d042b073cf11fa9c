//! A real socle on this machine, driven by a real kubectl. One for all tests of the binary: starting it
//! is quick, but there is only one port 6443.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub struct Cluster {
    pub dir: PathBuf,
    child: Option<Child>,
    kubectl: PathBuf,
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout")
}

fn socle() -> Command {
    Command::new(env!("CARGO_BIN_EXE_socle"))
}

impl Cluster {
    /// Why the tests cannot run here, if they cannot. Where everything is promised to be there that is a failure.
    pub fn missing() -> Option<String> {
        let missing = Self::look_around();
        assert!(missing.is_none() || std::env::var_os("SOCLE_TEST_ALL").is_none(), "{missing:?}");
        missing
    }

    fn look_around() -> Option<String> {
        if !nix::unistd::geteuid().is_root() {
            return Some("not root".into());
        }
        let needed = [
            "dist/clients/kubectl",
            "dist/clients/python/bin/python",
            "dist/images/busybox.tar",
            "dist/images/demo.tar",
            "dist/images/postgres.tar",
        ];
        needed.iter().find(|f| !root().join(f).exists()).map(|f| format!("{f} is not there (scripts/test makes it)"))
    }

    pub fn start(flags: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("socle-e2e-").tempdir_in("/var/tmp").expect("a directory").keep();
        let images = dir.join("data/images");
        fs::create_dir_all(&images).expect("a directory");
        for name in ["busybox", "demo", "postgres"] {
            // Archives there are loaded at the start.
            std::os::unix::fs::symlink(root().join(format!("dist/images/{name}.tar")), images.join(format!("{name}.tar"))).expect("a link");
        }
        let mut cluster = Self { dir, child: None, kubectl: root().join("dist/clients/kubectl") };
        cluster.up(flags);
        cluster
    }

    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Starts socle, and returns once it says that it is ready.
    pub fn up(&mut self, flags: &[&str]) {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("up.log")).expect("a log");
        let before = fs::read_to_string(self.dir.join("up.log")).map_or(0, |t| t.len());
        let mut command = socle();
        command.args(["up", "--data-dir"]).arg(self.data()).args(flags);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let mut child = command.spawn().expect("socle starts");
        let ready = wait(Duration::from_secs(60), || {
            let text = fs::read_to_string(self.dir.join("up.log")).unwrap_or_default();
            text[before..].contains("] ready;") || child.try_wait().expect("a child").is_some()
        });
        let text = self.log();
        assert!(ready && child.try_wait().expect("a child").is_none(), "socle does not come up:\n{text}");
        self.child = Some(child);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("up.log")).unwrap_or_default()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("waited for");
        }
    }

    pub fn try_kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_with(&[], args)
    }

    pub fn kubectl_with(&self, environment: &[(&str, &str)], args: &[&str]) -> Output {
        Command::new(&self.kubectl)
            .envs(environment.iter().copied())
            .env("KUBECONFIG", self.data().join("kubeconfig"))
            .env("HOME", &self.dir)
            .args(args)
            .output()
            .expect("kubectl runs")
    }

    /// What kubectl prints; it must succeed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args);
        let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {args:?}: {err}{out}\n--- socle says\n{}", self.log());
        out
    }

    pub fn helm(&self, args: &[&str]) -> String {
        let mut helm = Command::new(root().join("dist/clients/helm"));
        let output = helm.env("KUBECONFIG", self.data().join("kubeconfig")).env("HOME", &self.dir).args(args).output().expect("helm runs");
        let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "helm {args:?}: {err}{out}");
        out
    }

    /// What kubectl says when it must fail.
    pub fn refused(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args);
        assert!(!output.status.success(), "kubectl {args:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub fn apply(&self, manifest: &str) -> String {
        let path = self.dir.join("manifest.yaml");
        fs::write(&path, manifest).expect("written");
        self.kubectl(&["apply", "-f", path.to_str().expect("a path")])
    }

    /// Waits until kubectl prints what `is` accepts; says what it printed last where it never does.
    pub fn eventually(&self, args: &[&str], is: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = wait(Duration::from_secs(90), || {
            let output = self.try_kubectl(args);
            last = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            output.status.success() && is(&last)
        });
        assert!(found, "kubectl {args:?} never got there; last:\n{last}\n--- socle says\n{}", self.log());
        last
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
        let down = socle().args(["down", "--purge", "--data-dir"]).arg(self.data()).output().expect("socle down runs");
        if std::thread::panicking() {
            eprintln!("kept: {}", self.dir.display());
        } else {
            assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
            // What is left are the log and the test's own manifests.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A real etcd of one member, on loopback.
pub struct Etcd {
    pub url: String,
    pub port: u16,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Etcd {
    pub fn start() -> Self {
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let (clients, peers) = (free(), free());
        let (url, peer) = (format!("http://127.0.0.1:{clients}"), format!("http://127.0.0.1:{peers}"));
        let dir = tempfile::Builder::new().prefix("socle-etcd-").tempdir_in("/var/tmp").expect("a directory");
        let child = Command::new("etcd")
            .args([
                "--log-level",
                "error",
                "--listen-client-urls",
                &format!("http://0.0.0.0:{clients}"),
                "--advertise-client-urls",
                &url,
                "--listen-peer-urls",
                &peer,
            ])
            .args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("default={peer}"), "--data-dir"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts (Debian's etcd-server)");
        let up = wait(Duration::from_secs(20), || std::net::TcpStream::connect(("127.0.0.1", clients)).is_ok());
        assert!(up, "etcd does not answer");
        Self { url, port: clients, child, _dir: dir }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A real registry on loopback, for `anna` with the password `geheim` alone.
pub struct Registry {
    pub port: u16,
    child: Child,
}

impl Registry {
    pub fn start(dir: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let config = dir.join("registry.yml");
        let (storage, passwords) = (dir.join("registry"), dir.join("registry.htpasswd"));
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n\
             auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            storage.display(),
            passwords.display()
        );
        fs::write(&passwords, "anna:$2y$12$0kEchzE8iDHzOm7iGVuXwOQkQMjq8nZHG2D47XAseOi.L7lWh.XaW\n").expect("written");
        fs::write(&config, text).expect("written");
        let mut command = Command::new("docker-registry");
        let child = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("docker-registry starts");
        let up = wait(Duration::from_secs(20), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(up, "the registry does not answer");
        Self { port, child }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes whose command line is as wanted.
pub fn processes(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|e| e.file_name().into_string().ok()).filter(|name| name.parse::<u32>().is_ok());
    let line = |pid: &str| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .unwrap_or_default()
            .split(|b| *b == 0)
            .map(String::from_utf8_lossy)
            .collect::<Vec<_>>()
            .join(" ")
    };
    pids.filter(|pid| wanted(&line(pid))).collect()
}

pub fn wait(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// An HTTP GET through the ingress, by hand: the host name is nobody's in DNS.
pub fn get(host: &str, path: &str) -> Result<String, String> {
    get_from("127.0.0.1:80", host, path)
}

pub fn get_from(address: &str, host: &str, path: &str) -> Result<String, String> {
    use std::io::{Read, Write};
    let address = address.parse().map_err(|e| format!("{e}"))?;
    let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(3)).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(|e| e.to_string())?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|e| e.to_string())?;
    if answer.starts_with("HTTP/1.1 200") { Ok(answer) } else { Err(answer) }
}
