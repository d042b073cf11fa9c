//! Container log files: rotation by size, and the links that log collectors follow.

use crate::config::Config;
use crate::cri::Runtime;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Rotates the log of one running container if it has grown too large.
pub async fn rotate(runtime: &dyn Runtime, config: &Config, id: &str, log: &Path) -> io::Result<()> {
    let Ok(info) = fs::metadata(log) else { return Ok(()) };
    if info.len() < config.container_log_max_size {
        return Ok(());
    }
    let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let aside = PathBuf::from(format!("{}.{stamp}", log.display()));
    let path = log.to_path_buf();
    let keep = config.container_log_max_files.max(2) - 1;
    tokio::task::spawn_blocking(move || tidy(&path, keep)).await.map_err(io::Error::other)??;
    fs::rename(log, &aside)?;
    if let Err(error) = runtime.reopen_log(id).await {
        // Otherwise the runtime would write on into a file that nobody reads.
        fs::rename(&aside, log)?;
        return Err(io::Error::other(error));
    }
    Ok(())
}

/// Compresses the rotated files, whose writer is gone by now, and removes the oldest.
fn tidy(log: &Path, keep: usize) -> io::Result<()> {
    let mut rotated = siblings(log)?;
    rotated.sort();
    let excess = (rotated.len() + 1).saturating_sub(keep);
    for path in rotated.drain(..excess.min(rotated.len())) {
        fs::remove_file(path)?;
    }
    for path in rotated.into_iter().filter(|p| p.extension().is_none_or(|e| e != "gz")) {
        let target = PathBuf::from(format!("{}.gz", path.display()));
        let half = PathBuf::from(format!("{}.tmp", target.display()));
        let mut encoder = flate2::write::GzEncoder::new(fs::File::create(&half)?, flate2::Compression::default());
        io::copy(&mut fs::File::open(&path)?, &mut encoder)?;
        encoder.finish()?;
        fs::rename(&half, &target)?;
        fs::remove_file(&path)?;
    }
    Ok(())
}

fn siblings(log: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(dir), Some(name)) = (log.parent(), log.file_name().and_then(|n| n.to_str())) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(other) = path.file_name().and_then(|n| n.to_str()) else { continue };
        if other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')) {
            if other.ends_with(".tmp") { fs::remove_file(&path)? } else { found.push(path.clone()) }
        }
    }
    Ok(found)
}

/// Removes the files of one run of a container.
pub fn remove(log: &Path) {
    for path in siblings(log).unwrap_or_default().into_iter().chain([log.to_path_buf()]) {
        // What is gone already is what was wanted.
        let _ = fs::remove_file(path);
    }
}

/// Removes the folders of pods that are not to be kept, and the links that lead nowhere.
pub fn sweep(pod_logs: &Path, links: &Path, keep: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(pod_logs).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // What does not look like a pod's folder is somebody else's.
        let parts: Option<Vec<&str>> = name.to_str().map(|n| n.split('_').collect());
        if let Some([_, _, uid]) = parts.as_deref()
            && !keep(uid)
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    for entry in fs::read_dir(links).into_iter().flatten().flatten() {
        let path = entry.path();
        if fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink()) && !path.exists() {
            let _ = fs::remove_file(path);
        }
    }
}

/// `<pod>_<namespace>_<container>-<id>.log`
pub fn link(config: &Config, namespace: &str, pod: &str, container: &str, id: &str, log: &Path) {
    let path = link_path(config, namespace, pod, container, id);
    if let Err(error) = fs::create_dir_all(&config.container_logs_dir).and_then(|()| std::os::unix::fs::symlink(log, &path)) {
        tracing::debug!(%error, path = %path.display(), "a log link cannot be made");
    }
}

pub fn unlink(config: &Config, namespace: &str, pod: &str, container: &str, id: &str) {
    let _ = fs::remove_file(link_path(config, namespace, pod, container, id));
}

fn link_path(config: &Config, namespace: &str, pod: &str, container: &str, id: &str) -> PathBuf {
    config.container_logs_dir.join(format!("{pod}_{namespace}_{container}-{id}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeping_leaves_the_logs_of_pods_that_live_and_what_is_no_pod() {
        let dir = tempfile::tempdir().unwrap();
        let (pods, links) = (dir.path().join("pods"), dir.path().join("containers"));
        for name in ["default_web_1", "default_web_2", "README"] {
            fs::create_dir_all(pods.join(name)).unwrap();
            fs::write(pods.join(name).join("0.log"), "").unwrap();
            fs::create_dir_all(&links).unwrap();
            std::os::unix::fs::symlink(pods.join(name).join("0.log"), links.join(format!("{name}.log"))).unwrap();
        }
        sweep(&pods, &links, |uid| uid == "2");
        let names = |dir: &Path| {
            let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&pods), ["README", "default_web_2"]);
        assert_eq!(names(&links), ["README.log", "default_web_2.log"]);
    }

    #[test]
    fn old_logs_are_compressed_and_the_oldest_removed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        for name in
            ["0.log", "0.log.20260101-000001", "0.log.20260101-000002", "0.log.20260101-000003.gz", "0.log.20260101-000004", "1.log"]
        {
            fs::write(dir.path().join(name), name).unwrap();
        }
        tidy(&log, 4).unwrap();
        let mut left: Vec<String> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["0.log", "0.log.20260101-000002.gz", "0.log.20260101-000003.gz", "0.log.20260101-000004.gz", "1.log"]);
    }
}
