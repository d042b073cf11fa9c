//! A real kubectl, pointed at a server that listens in this process.

use crate::tls::Listening;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

pub struct Kubectl {
    program: PathBuf,
    /// Its configuration and its cache.
    home: tempfile::TempDir,
}

impl Kubectl {
    /// None where it was not fetched; where everything is promised to be there that is a failure.
    pub fn of(s: &Listening, root: &CertificateDer<'static>) -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/clients/kubectl");
        if !program.exists() {
            assert!(std::env::var_os("SOCLE_TEST_ALL").is_none(), "{} is not there", program.display());
            eprintln!("skipped: {} is not there (scripts/test makes it)", program.display());
            return None;
        }
        let authority = pem::encode(&pem::Pem::new("CERTIFICATE", root.to_vec()));
        let cluster = json!({"server": format!("https://{}", s.address), "tls-server-name": "localhost",
            "certificate-authority-data": STANDARD.encode(authority)});
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": "master"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}]});
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config"), config.to_string()).unwrap();
        Some(Self { program, home })
    }

    /// What it prints when it succeeds, or its complaints.
    pub async fn run(&self, args: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.args(args).env("HOME", self.home.path()).env("KUBECONFIG", self.home.path().join("config")).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    pub async fn accepts(&self, args: &[&str], input: &str) -> String {
        self.run(args, input).await.unwrap_or_else(|error| panic!("kubectl {args:?}: {error}\n{input}"))
    }

    pub async fn refuses(&self, args: &[&str], input: &str, why: &str) {
        match self.run(args, input).await {
            Ok(out) => panic!("kubectl {args:?} succeeded: {out}\n{input}"),
            Err(error) => assert!(error.contains(why), "kubectl {args:?}: {error}\n{input}"),
        }
    }
}
