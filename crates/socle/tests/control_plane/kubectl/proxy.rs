//! `kubectl proxy`.

use super::Kubectl;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

struct Proxy(Child);

impl Proxy {
    /// Starts it, and returns what it says once it listens.
    fn start(kubectl: &Kubectl, flag: &str) -> (Self, String) {
        let mut child = kubectl.command(&["proxy", flag]).stdout(Stdio::piped()).spawn().expect("kubectl starts");
        let out = child.stdout.take().expect("its output");
        let proxy = Self(child);
        let mut said = String::new();
        BufReader::new(out).read_line(&mut said).expect("a line");
        (proxy, said)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The versions that the core API says it has.
fn versions(mut stream: impl Read + Write) -> Vec<String> {
    write!(stream, "GET /api/ HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    let json = body.find('{').zip(body.rfind('}')).map(|(from, to)| &body[from..=to]).expect("JSON");
    let versions: serde_json::Value = serde_json::from_str(json).expect("JSON");
    serde_json::from_value(versions["versions"].clone()).expect("versions")
}

/// Behaviour: [sig-cli] Kubectl client Proxy server should support proxy with --port 0
#[test]
fn a_proxy_finds_a_port() {
    let Some(kubectl) = Kubectl::new("kubectl-proxy-port") else { return };
    let (_proxy, said) = Proxy::start(&kubectl, "--port=0");
    let address = said.trim().strip_prefix("Starting to serve on ").expect("an address");
    assert_eq!(versions(TcpStream::connect(address).expect("it listens")), ["v1"]);
}

/// Behaviour: [sig-cli] Kubectl client Proxy server should support --unix-socket=/path
#[test]
fn a_proxy_listens_on_a_socket_of_the_file_system() {
    let Some(kubectl) = Kubectl::new("kubectl-proxy-socket") else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("test");
    let (_proxy, said) = Proxy::start(&kubectl, &format!("--unix-socket={}", path.display()));
    assert!(said.starts_with("Starting to serve on "), "{said}");
    assert_eq!(versions(UnixStream::connect(&path).expect("it listens")), ["v1"]);
}
