//! `socle down`: ends socle, the containers and what they hold in the kernel. With `--purge` nothing
//! of the platform is left on the machine.

use crate::cli::Down;
use crate::process;
use crate::runtime;
use anyhow::Context;
use std::time::Duration;

pub fn run(options: &Down) -> anyhow::Result<()> {
    super::must_be_root("socle down")?;
    let (platform, layout) = super::platform(&options.place)?;
    match super::holder(&layout) {
        Some(pid) => {
            process::stop(pid, Duration::from_secs(15));
            println!("socle stopped");
        }
        None => println!("socle is not running"),
    }
    runtime::stop_everything(&layout);
    println!("containers stopped");
    if super::machine_is_taken() {
        println!("another platform runs here; the network is left to it");
    } else {
        network::cleanup(&crate::wiring::network_config(&platform, &layout)?).context("removing the network")?;
        println!("network removed");
    }
    if options.purge {
        node::pods::remove_logs(&node::Config::new("", layout.kubelet(), std::path::PathBuf::new()));
    }
    for dir in [&layout.run].into_iter().chain(options.purge.then_some(&layout.data)) {
        if dir.exists() {
            std::fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
        }
    }
    if options.purge {
        println!("removed {}", layout.data.display());
    } else {
        println!("the data is kept in {}", layout.data.display());
    }
    Ok(())
}
