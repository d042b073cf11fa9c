//! The two applications of the reference architecture, small enough to read at a glance:
//! `demo app-a` is the web front whose page counts its visits in PostgreSQL, `demo app-b` a plain
//! HTTP service that says which pod answered.

mod app_a;
mod app_b;
mod http;

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("app-a") => app_a::run().await,
        Some("app-b") => app_b::run().await,
        _ => Err("usage: demo app-a|app-b".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}
