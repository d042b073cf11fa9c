//! What this server says it is.

use serde_json::{Value, json};

pub const MAJOR: &str = "1";
pub const MINOR: &str = "36";
/// The version whose behaviour is served.
pub const GIT_VERSION: &str = concat!("v1.36.2+socle-", env!("CARGO_PKG_VERSION"));
/// Of the build, where it was told.
pub const GIT_COMMIT: &str = match option_env!("SOCLE_GIT_COMMIT") {
    Some(commit) => commit,
    None => "",
};
pub const GIT_TREE_STATE: &str = "clean";
pub const BUILD_DATE: &str = match option_env!("SOCLE_BUILD_DATE") {
    Some(date) => date,
    None => "1970-01-01T00:00:00Z",
};
/// Clients print it; there is none here.
pub const GO_VERSION: &str = "none";
pub const COMPILER: &str = "rustc";
pub const PLATFORM: &str = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };

pub fn object() -> Value {
    json!({
        "major": MAJOR, "minor": MINOR,
        "emulationMajor": MAJOR, "emulationMinor": MINOR, "minCompatibilityMajor": MAJOR, "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION, "gitCommit": GIT_COMMIT, "gitTreeState": GIT_TREE_STATE, "buildDate": BUILD_DATE,
        "goVersion": GO_VERSION, "compiler": COMPILER, "platform": PLATFORM,
    })
}
