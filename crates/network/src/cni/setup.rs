//! Putting the plugin where the container runtime finds it.

use super::{LOOPBACK, Network, PLUGIN};
use crate::files;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};

/// Sorts before what a distribution may have put there; the runtime takes the first.
const CONFIG: &str = "10-socle.conflist";

/// Writes the network configuration. The runtime reports the node's network ready once it is there, so
/// it comes last, after `install`.
pub fn write_config(directory: &Path, network: &Network) -> io::Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let plugin = json!({
        "type": PLUGIN,
        "bridge": network.bridge,
        "podCIDR": network.pod_cidr,
        "mtu": network.mtu,
        "stateDir": network.state_dir,
        "capabilities": { "portMappings": true },
    });
    let document = json!({ "cniVersion": "1.0.0", "name": "socle", "plugins": [plugin] });
    let mut content = serde_json::to_vec_pretty(&document)?;
    content.push(b'\n');
    let path = directory.join(CONFIG);
    files::replace(&path, &content)?;
    Ok(path)
}

/// Makes the program `executable` callable as the plugins.
pub fn install(directory: &Path, executable: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    [PLUGIN, LOOPBACK].iter().try_for_each(|name| place(directory, name, executable))
}

fn place(directory: &Path, name: &str, executable: &Path) -> io::Result<()> {
    let path = directory.join(name);
    if std::fs::read_link(&path).is_ok_and(|target| target == executable) {
        return Ok(());
    }
    // Made aside and moved over: a pod that starts in this moment finds the old one or the new one.
    let temporary = directory.join(format!(".{name}.{}", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    std::os::unix::fs::symlink(executable, &temporary)?;
    std::fs::rename(&temporary, &path)
}

/// Takes both away again.
pub fn uninstall(conf_dir: &Path, bin_dir: &Path) -> io::Result<()> {
    for path in [conf_dir.join(CONFIG), bin_dir.join(PLUGIN), bin_dir.join(LOOPBACK)] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
