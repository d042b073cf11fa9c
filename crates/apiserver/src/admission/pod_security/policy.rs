//! The levels and versions that a namespace's labels name.

use meta::{FieldErrors, FieldPath};
use std::fmt;

const LATEST: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A level as it was in some version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standard {
    pub level: Level,
    /// The largest number for the latest.
    pub minor: u32,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.minor {
            LATEST => write!(f, "{level}:latest"),
            minor => write!(f, "{level}:v1.{minor}"),
        }
    }
}

#[derive(Debug)]
pub struct Policy {
    pub enforce: Standard,
    pub warn: Standard,
    pub audit: Standard,
}

impl Policy {
    /// A label that cannot be read is an error and, where pods are to be judged anyway, restricts.
    pub fn of<'a>(label: impl Fn(&str) -> Option<&'a str>) -> (Self, FieldErrors) {
        let mut errors = FieldErrors::new();
        let mut read = |mode: &str, strict: bool| {
            let fallback = if strict { Level::Restricted } else { Level::Privileged };
            let key = format!("pod-security.kubernetes.io/{mode}");
            let named = label(&key);
            let level = match named {
                None | Some("privileged") => Level::Privileged,
                Some("baseline") => Level::Baseline,
                Some("restricted") => Level::Restricted,
                Some(other) => {
                    let path = FieldPath::new("metadata.labels").key(&key);
                    errors.invalid(&path, other, "must be one of privileged, baseline, restricted");
                    fallback
                }
            };
            let key = format!("{key}-version");
            let minor = match label(&key) {
                None | Some("latest") => LATEST,
                Some(version) => version_of(version).unwrap_or_else(|| {
                    let path = FieldPath::new("metadata.labels").key(&key);
                    errors.invalid(&path, version, "must be \"latest\" or \"v1.x\"");
                    LATEST
                }),
            };
            (named.is_some(), Standard { level, minor })
        };
        let (_, enforce) = read("enforce", true);
        let (_, audit) = read("audit", false);
        let (says, mut warn) = read("warn", false);
        if !says && enforce.level > warn.level {
            warn = enforce;
        }
        (Self { enforce, warn, audit }, errors)
    }
}

fn version_of(text: &str) -> Option<u32> {
    let minor = text.strip_prefix("v1.")?;
    let canonical = minor == "0" || !minor.starts_with('0') && minor.bytes().all(|b| b.is_ascii_digit());
    minor.parse().ok().filter(|_| canonical)
}
