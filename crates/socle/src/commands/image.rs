//! `socle image`: archives into the runtime.

use crate::cli::Place;
use crate::runtime::images;
use std::path::PathBuf;

pub fn import(place: &Place, files: &[PathBuf]) -> anyhow::Result<()> {
    let (platform, layout) = super::platform(place)?;
    let socket = match platform.runtime.endpoint.as_str() {
        "" => layout.containerd_socket().to_string_lossy().into_owned(),
        endpoint => endpoint.trim_start_matches("unix://").to_string(),
    };
    for file in files {
        images::import(&layout, &socket, file)?;
        println!("imported {}", file.display());
    }
    Ok(())
}
