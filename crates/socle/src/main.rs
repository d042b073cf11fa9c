//! socle: the on-premises production Kubernetes platform as one binary. This is the only crate that
//! names every room; `wiring` is where they meet.

mod address;
mod cli;
mod commands;
mod defaults;
mod inprocess;
mod layout;
mod operations;
mod pki;
mod platform;
mod process;
mod runtime;
mod say;
mod serving;
mod wiring;

use clap::Parser;
use std::process::ExitCode;

/// Half the time of the C library's in what the API server does most, which is building and dropping trees
/// of JSON; and it gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The container runtime calls the same file as its CNI plugin; that path must stay short.
    let called_as = std::env::args_os().next().unwrap_or_default();
    if std::path::Path::new(&called_as).file_name().and_then(|name| name.to_str()).is_some_and(network::cni::is_plugin) {
        return ExitCode::from(u8::try_from(network::cni::main()).unwrap_or(1));
    }
    match commands::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("socle: {error:#}");
            ExitCode::FAILURE
        }
    }
}
