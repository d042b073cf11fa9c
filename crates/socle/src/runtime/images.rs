//! Images that reach the runtime without a registry: the pause image, which socle carries, and
//! archives that an administrator puts in the `images` directory or imports by hand.

use crate::layout::Layout;
use anyhow::{Context, bail};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const PAUSE: &str = "localhost/socle/pause:1";

static PAUSE_PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// Loads the pause image, and every archive of the `images` directory that was not loaded yet.
pub fn load_all(layout: &Layout) -> anyhow::Result<usize> {
    let mut archives = vec![pause_archive(layout)?];
    if let Ok(entries) = std::fs::read_dir(layout.images()) {
        archives.extend(entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "tar")));
    }
    let mut loaded = 0;
    for archive in archives {
        let mark = mark(layout, &archive)?;
        if !mark.exists() {
            import(layout, &layout.containerd_socket().to_string_lossy(), &archive)?;
            std::fs::write(&mark, b"").with_context(|| format!("writing {}", mark.display()))?;
            loaded += 1;
        }
    }
    Ok(loaded)
}

/// The file that says that this very archive is in the runtime's store. It lies in the store's own
/// directory, so that it goes when the store does.
fn mark(layout: &Layout, archive: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(archive).with_context(|| archive.display().to_string())?;
    let dir = layout.containerd_root().join("socle-imported");
    std::fs::create_dir_all(&dir)?;
    let identity = format!("{}\0{}\0{}\0{}", archive.display(), meta.len(), meta.mtime(), meta.mtime_nsec());
    Ok(dir.join(hex(&identity)))
}

/// Loads one archive through containerd's own client, and notes its images: no registry may have them, so
/// they are not collected when the disk is full.
pub fn import(layout: &Layout, socket: &str, archive: &Path) -> anyhow::Result<()> {
    let output = Command::new("ctr")
        .args(["--address", socket, "--namespace", "k8s.io", "images", "import", "--digests=false"])
        .arg(archive)
        .output()
        .context("running ctr (it comes with containerd)")?;
    if !output.status.success() {
        bail!("importing {}: {}", archive.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    let path = layout.imported_images();
    let mut names: BTreeSet<String> = std::fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_string).collect();
    let before = names.len();
    names.extend(unpacked(&String::from_utf8_lossy(&output.stdout)));
    if names.len() != before {
        std::fs::create_dir_all(path.parent().unwrap_or(&layout.data))?;
        let list: String = names.iter().map(|name| format!("{name}\n")).collect();
        std::fs::write(&path, list).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The names in what `ctr images import` tells.
fn unpacked(told: &str) -> impl Iterator<Item = String> {
    told.lines().filter_map(|line| Some(line.strip_prefix("unpacking ")?.split_once(" (")?.0.to_string()))
}

/// Writes the pause image as an archive, once per version of the program.
fn pause_archive(layout: &Layout) -> anyhow::Result<PathBuf> {
    let path = layout.data.join(format!("pause-{}.tar", &hex(PAUSE_PROGRAM)[..12]));
    if !path.exists() {
        let archive = archive(PAUSE, "pause", PAUSE_PROGRAM)?;
        let new = path.with_extension("new");
        std::fs::write(&new, archive).with_context(|| format!("writing {}", new.display()))?;
        std::fs::rename(&new, &path)?;
    }
    Ok(path)
}

/// An image of one executable, in the docker archive form.
fn archive(reference: &str, name: &str, program: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, name, program, 0o755)?;
    let layer = layer.into_inner()?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = serde_json::to_vec(&json!({
        "architecture": architecture, "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": [format!("/{name}")], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]},
    }))?;
    let config_name = format!("{}.json", hex(&config));
    let manifest = serde_json::to_vec(&json!([{"Config": config_name, "RepoTags": [reference], "Layers": ["layer.tar"]}]))?;
    let mut image = tar::Builder::new(Vec::new());
    append(&mut image, "layer.tar", &layer, 0o644)?;
    append(&mut image, &config_name, &config, 0o644)?;
    append(&mut image, "manifest.json", &manifest, 0o644)?;
    Ok(image.into_inner()?)
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8], mode: u32) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_cksum();
    tar.append_data(&mut header, name, content)
}

fn hex(content: impl AsRef<[u8]>) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn imported_images_are_known_by_the_names_that_the_client_tells() {
        let told = "unpacking registry.k8s.io/pause:3.10 (sha256:12ab)...done\nunpacking localhost/a:1 (sha256:34cd)...done\nother\n";
        assert_eq!(super::unpacked(told).collect::<Vec<_>>(), ["registry.k8s.io/pause:3.10", "localhost/a:1"]);
    }
}
