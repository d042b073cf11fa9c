//! What a real kubectl does, and prints.

mod changes;
mod controllers;
mod proxy;

use crate::plane::{plane, until};
use crate::space::Space;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// kubectl, in a namespace of its own.
struct Kubectl {
    space: Space,
    program: PathBuf,
}

impl Kubectl {
    /// None where there is no kubectl; where everything is promised to be there that is a failure.
    fn new(namespace: &str) -> Option<Self> {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../dist/clients/kubectl");
        if !program.exists() {
            assert!(std::env::var_os("SOCLE_TEST_ALL").is_none(), "{} is not there", program.display());
            eprintln!("skipped: {} is not there (scripts/test makes it)", program.display());
            return None;
        }
        Some(Self { space: Space::new(namespace), program })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", plane().dir.join("data/kubeconfig")).env("HOME", &plane().dir);
        command.args(["--namespace", &self.space.name]).args(args);
        command
    }

    fn output(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl starts");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("written");
        child.wait_with_output().expect("kubectl ends")
    }

    /// What it prints; it must succeed.
    fn run(&self, args: &[&str]) -> String {
        self.feed(args, "")
    }

    /// What it prints, with something to read; it must succeed.
    fn feed(&self, args: &[&str], input: &str) -> String {
        let output = self.output(args, input);
        let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {args:?}: {err}{out}");
        out
    }

    /// Waits until it prints what is wanted.
    fn until(&self, args: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        until(&format!("kubectl {args:?}"), || {
            let out = self.run(args);
            if wanted(&out) { Ok(out) } else { Err(out) }
        })
    }
}

/// Whether for each of these there is a line with all of its words.
fn says(text: &str, lines: &[&[&str]]) -> bool {
    lines.iter().all(|words| text.lines().any(|line| words.iter().all(|word| line.contains(word))))
}

/// Behaviour: [sig-cli] Kubectl client Kubectl api-versions should check if v1 is in available api versions
#[test]
fn the_versions_of_the_api_are_listed() {
    let Some(kubectl) = Kubectl::new("kubectl-api-versions") else { return };
    let versions = kubectl.run(&["api-versions"]);
    assert!(["v1", "apps/v1"].iter().all(|wanted| versions.lines().any(|v| v == *wanted)), "{versions}");
}

/// Behaviour: [sig-cli] Kubectl client Kubectl cluster-info should check if Kubernetes control plane services is included in cluster-info
#[test]
fn the_control_plane_says_where_it_is() {
    let Some(kubectl) = Kubectl::new("kubectl-cluster-info") else { return };
    let info = kubectl.run(&["cluster-info"]);
    assert!(says(&info, &[&["Kubernetes control plane", "is running at", "https://127.0.0.1:"]]), "{info}");
}

/// Behaviour: [sig-cli] Kubectl client Kubectl version should check is all data is printed
#[test]
fn both_versions_are_told() {
    let Some(kubectl) = Kubectl::new("kubectl-version") else { return };
    let told = kubectl.run(&["version", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    for side in ["clientVersion", "serverVersion"] {
        let version = &told[side];
        let number = |key: &str| version[key].as_str().unwrap_or_default().trim_end_matches('+').parse::<u32>().is_ok();
        assert!(number("major") && number("minor"), "{version}");
        assert!(version["gitVersion"].as_str().is_some_and(|v| v.starts_with("v1.")), "{version}");
        // A build that knows no commit names none.
        let told = ["gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"];
        assert!(told.iter().all(|key| version[*key].is_string()), "{version}");
    }
    let short = kubectl.run(&["version"]);
    assert!(says(&short, &[&["Client Version: v1."], &["Server Version: v1."]]), "{short}");
}
