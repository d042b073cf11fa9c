//! Behaviours of the conformance suite that need containers which run, each in a namespace of its own.

mod accounts;
mod guestbook;
mod logs;

use super::support::Cluster;

const BUSYBOX: &str = "localhost/socle/busybox:latest";

pub fn all(cluster: &Cluster) {
    for behaviour in [accounts::a_token_is_mounted_into_pods, accounts::a_token_is_projected, logs::logs_are_retrieved_and_filtered] {
        behaviour(cluster);
    }
    guestbook::an_application_works_until_it_is_stopped(cluster);
}

struct Space<'a> {
    cluster: &'a Cluster,
    name: &'a str,
}

impl<'a> Space<'a> {
    fn new(cluster: &'a Cluster, name: &'a str) -> Self {
        cluster.kubectl(&["create", "namespace", name]);
        cluster.eventually(&["-n", name, "get", "serviceaccount", "default"], |_| true);
        Self { cluster, name }
    }

    fn kubectl(&self, args: &[&str]) -> String {
        self.cluster.kubectl(&[&["-n", self.name], args].concat())
    }

    fn eventually(&self, args: &[&str], is: impl Fn(&str) -> bool) -> String {
        self.cluster.eventually(&[&["-n", self.name], args].concat(), is)
    }

    /// kubectl with a manifest to read.
    fn with(&self, command: &str, manifest: &str, flags: &[&str]) -> String {
        let path = self.cluster.dir.join("behaviour.yaml");
        std::fs::write(&path, manifest).expect("written");
        self.kubectl(&[&[command, "-f", path.to_str().expect("a path")], flags].concat())
    }
}

impl Drop for Space<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.cluster.kubectl(&["delete", "namespace", self.name, "--wait=false"]);
        }
    }
}
