//! `socle init`: a platform file to start from.

use crate::platform::Platform;

pub fn run() -> anyhow::Result<()> {
    println!("# The platform file of socle. Every value below is the default, and may be left out.");
    print!("{}", serde_yaml_ng::to_string(&Platform::default())?);
    Ok(())
}
