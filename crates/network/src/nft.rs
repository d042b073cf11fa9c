//! The one place that runs `nft`: a script in, one transaction in the kernel.

use std::io::{self, Write};
use std::process::{Command, Stdio};

#[derive(Debug, thiserror::Error)]
pub enum NftError {
    #[error("cannot run nft: {0}")]
    Start(#[source] io::Error),
    #[error("nft refused: {0}")]
    Refused(String),
}

/// All of the script takes effect at once, or none of it.
pub fn apply(script: &str) -> Result<(), NftError> {
    run(&["-f", "-"], script).map(|_| ())
}

/// What `nft -j list …` prints; `None` if the listed thing does not exist.
pub fn list(what: &[&str]) -> Result<Option<Vec<u8>>, NftError> {
    let mut arguments = vec!["-j", "list"];
    arguments.extend_from_slice(what);
    match run(&arguments, "") {
        Ok(output) => Ok(Some(output)),
        Err(NftError::Refused(message)) if message.contains("No such file or directory") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a table with all that is in it; true to have none is success too.
pub fn drop_table(name: &str) -> Result<(), NftError> {
    // Declaring it first makes the deletion succeed where there was none.
    apply(&format!("table ip {name}\ndelete table ip {name}\n"))
}

fn run(arguments: &[&str], input: &str) -> Result<Vec<u8>, NftError> {
    let mut command = Command::new("nft");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Where a service manager starts us with a bare PATH, nft still lives in sbin.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
    let mut child = command.spawn().map_err(NftError::Start)?;
    // Nft reads its whole input before it writes anything, so this cannot deadlock.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(NftError::Start)?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(NftError::Refused(message.trim().chars().take(600).collect()));
    }
    written.map_err(NftError::Start)?;
    Ok(output.stdout)
}
