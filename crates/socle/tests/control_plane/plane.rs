//! The control plane that the tests share: `socle apiserver` as a process, and the controllers and the
//! scheduler in this one, as the ordinary clients that they are.

use crate::hollow;
use client::{Informers, Recorder};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come. Nothing takes nearly that long.
pub const PATIENCE: Duration = Duration::from_secs(90);

static PLANE: LazyLock<Plane> = LazyLock::new(Plane::start);

pub struct Plane {
    pub dir: PathBuf,
    pub client: Client,
    pub runtime: Runtime,
    /// Ends the API server and takes its data away once this process has gone, however it goes: statics
    /// are never dropped, but their pipes close.
    _keeper: Child,
}

pub fn plane() -> &'static Plane {
    &PLANE
}

/// Asks until there is an answer, and says what was there last where there never is.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if Instant::now() > end => panic!("{what}: still not so; last: {last}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

impl Plane {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("socle-plane-").tempdir().expect("a directory").keep();
        // Below what connections take for themselves, so that it is still free when the server comes to it.
        let mut ports = (0..10_000).map(|n| 20_000 + (std::process::id() + n) % 10_000).filter_map(|port| u16::try_from(port).ok());
        let port = ports.find(|port| std::net::TcpListener::bind(("0.0.0.0", *port)).is_ok()).expect("a free port");
        let mut keeper = Command::new("sh")
            .args(["-c", r#""$0" apiserver --port "$1" --data-dir "$2/data" > "$2/log" 2>&1 & read -r _; kill -9 $!; wait; rm -rf "$2""#])
            .args([env!("CARGO_BIN_EXE_socle"), &port.to_string()])
            .arg(&dir)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        until("the API server is ready", || {
            assert!(keeper.try_wait().expect("a child").is_none(), "the shell ended");
            dir.join("data/run/ready").exists().then_some(()).ok_or_else(|| std::fs::read_to_string(dir.join("log")).unwrap_or_default())
        });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(connect(&dir));
        let plane = Self { dir, client, runtime, _keeper: keeper };
        plane.control();
        plane
    }

    /// What `socle up` runs beside the API server, but for the node: a hollow one takes its place.
    fn control(&self) {
        let _guard = self.runtime.enter();
        let stop = CancellationToken::new();
        let informers = Informers::new(self.client.clone());
        let recorder = |name: &str| Recorder::new(self.client.clone(), name, "");
        let context = controllers::Context {
            informers: informers.clone(),
            recorder: recorder("kube-controller-manager"),
            cluster_ca: std::fs::read_to_string(self.dir.join("data/pki/ca.crt")).expect("the cluster's CA"),
            signer: None,
            sign_token: None,
            stop: stop.clone(),
        };
        self.runtime.spawn(controllers::run(context, controllers::Selection::everything()));
        self.runtime.spawn(scheduler::run(scheduler::Config {
            name: "default-scheduler".into(),
            informers: informers.clone(),
            recorder: recorder("default-scheduler"),
            stop,
        }));
        self.runtime.spawn(hollow::run(informers));
    }
}

async fn connect(dir: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(dir.join("data/kubeconfig")).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a client's settings");
    Client::try_from(config).expect("a client")
}
