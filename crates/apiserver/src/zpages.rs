//! `/statusz` and `/flagz`: what runs here, and how it was told to.

use crate::server::ApiServer;
use crate::version;
use jiff::Timestamp;
use std::fmt::Write;

const NOTICE: &str = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.";

pub fn statusz(server: &ApiServer) -> String {
    let started = server.inner.started_at;
    let up = Timestamp::now().duration_since(started).as_secs();
    let (hours, minutes, seconds) = (up / 3600, up / 60 % 60, up % 60);
    let paths = super::routes::index(server)
        .into_iter()
        .filter(|p| ["/healthz", "/livez", "/readyz", "/metrics", "/version"].contains(&p.as_str()));
    format!(
        "\nkube-apiserver statusz\n{NOTICE}\n\nStarted: {}\nUp: {hours} hr {minutes:02} min {seconds:02} sec\nGo version: {}\nBinary version: {}\nEmulation version: {}.{}\nPaths: {}\n",
        started.strftime("%a %b %e %H:%M:%S UTC %Y"),
        version::GO_VERSION,
        version::GIT_VERSION,
        version::MAJOR,
        version::MINOR,
        paths.collect::<Vec<_>>().join(" "),
    )
}

pub fn flagz(server: &ApiServer) -> String {
    let mut out = format!("\nkube-apiserver flagz\n{NOTICE}\n\n");
    for (name, value) in &server.inner.operations.flags {
        // Writing into a string does not fail.
        let _ = writeln!(out, "{name}={value}");
    }
    for (feature, on) in server.inner.operations.features.all() {
        let _ = writeln!(out, "feature-gates={}={on}", feature.name());
    }
    out
}
