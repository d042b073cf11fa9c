//! Reading one pod's state from the runtime.

use super::state::{Observed, Run, Sandbox, Seen};
use crate::config::Config;
use crate::cri::{Result, Runtime, RuntimeError};
use std::path::PathBuf;

/// Longest termination message of one container (upstream's limit), and of one taken from its log.
const LONGEST_MESSAGE: u64 = 4096;
const LONGEST_FROM_LOG: u64 = 2048;
const LINES_FROM_LOG: usize = 80;

/// Everything the runtime has of the pod.
pub async fn all(runtime: &dyn Runtime, config: &Config, uid: &str) -> Result<Observed> {
    let mut observed = Observed::default();
    for sandbox in runtime.list_sandboxes(Some(uid)).await? {
        match runtime.sandbox_status(&sandbox.id).await {
            Ok(status) => observed.put_sandbox(Sandbox::of(&status)),
            Err(RuntimeError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    for container in runtime.list_containers(Some(uid)).await? {
        if let Some(seen) = container_of(runtime, config, &container.id, &container.pod_sandbox_id).await? {
            observed.put(seen);
        }
    }
    Ok(observed)
}

/// `None` when it is gone, or not ours.
pub async fn container_of(runtime: &dyn Runtime, config: &Config, id: &str, sandbox: &str) -> Result<Option<Seen>> {
    let status = match runtime.container_status(id).await {
        Ok(status) => status,
        Err(RuntimeError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(mut seen) = Seen::of(&status, sandbox) else { return Ok(None) };
    if seen.state == Run::Exited {
        let file = seen.message_file.clone().map(PathBuf::from).filter(|f| f.starts_with(&config.root_dir));
        let told = file.map(|f| tail(&f, LONGEST_MESSAGE)).unwrap_or_default();
        if !told.is_empty() {
            seen.message = told;
        } else if seen.message_policy == "FallbackToLogsOnError" && seen.exit_code != 0 {
            let log = from_log(&tail(&PathBuf::from(&seen.log_path), LONGEST_FROM_LOG * 4));
            if !log.is_empty() {
                seen.message = log;
            }
        }
    }
    Ok(Some(seen))
}

fn tail(path: &std::path::Path, most: u64) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The last lines of a log in CRI's form (`time stream flag text`).
fn from_log(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut partial = false;
    for line in text.lines() {
        let mut parts = line.splitn(4, ' ');
        let (Some(_), Some("stdout" | "stderr"), Some(flag)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let content = parts.next().unwrap_or_default();
        match lines.last_mut().filter(|_| partial) {
            Some(last) => last.push_str(content),
            None => lines.push(content.to_string()),
        }
        partial = flag == "P";
    }
    let first = lines.len().saturating_sub(LINES_FROM_LOG);
    let mut out = lines[first..].join("\n");
    // What the container wrote last need not have ended its line.
    if !partial && !lines.is_empty() {
        out.push('\n');
    }
    let most = usize::try_from(LONGEST_FROM_LOG).unwrap_or(usize::MAX);
    if out.len() > most {
        let mut start = out.len() - most;
        while !out.is_char_boundary(start) {
            start += 1;
        }
        out.drain(..start);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_from_the_log_ends_as_the_container_ended_it() {
        let line = |flag: &str, text: &str| format!("2026-01-01T00:00:00Z stdout {flag} {text}\n");
        assert_eq!(from_log(&line("P", "DONE")), "DONE");
        assert_eq!(from_log(&[line("F", "one"), line("P", "tw"), line("F", "o")].concat()), "one\ntwo\n");
    }
}
