//! Writing a file so that no reader ever sees half of it.

use std::io::{self, Write};
use std::path::Path;

pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if std::fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    // A name that readers of the directory (by suffix) pass over.
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}
