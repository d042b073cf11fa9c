//! The seam over a real etcd, started for the test on loopback.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use store::{Etcd, EtcdConfig, suite};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then the test has failed for that already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_etcd_passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    let (client, peer) = (format!("http://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
    let started = Command::new("etcd")
        .args([
            "--name",
            "a",
            "--initial-cluster",
            &format!("a={peer}"),
            "--initial-advertise-peer-urls",
            &peer,
            "--listen-peer-urls",
            &peer,
        ])
        .args(["--advertise-client-urls", &client, "--listen-client-urls", &client, "--data-dir"])
        .arg(dir.path())
        .args(["--experimental-watch-progress-notify-interval", "1s", "--log-level", "error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _running = match started {
        Ok(child) => Running(child),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: etcd is not installed (Debian: etcd-server)");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let config = EtcdConfig { endpoints: vec![client], ..EtcdConfig::default() };
    for _ in 0..200 {
        match Etcd::connect(&config).await {
            Ok(store) => return suite::run(Arc::new(store)).await,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
    panic!("etcd did not start");
}
