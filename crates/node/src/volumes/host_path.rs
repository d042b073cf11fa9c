//! `hostPath`: the check of its type, and the creation it may ask for.

use k8s_openapi::api::core::v1::HostPathVolumeSource;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

pub fn check(source: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    match kind {
        "" => return Ok(()),
        "DirectoryOrCreate" if !path.exists() => {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|e| format!("{}: {e}", source.path))?;
        }
        "FileOrCreate" if !path.exists() => {
            let mut open = fs::OpenOptions::new();
            open.create(true).append(true).mode(0o644).open(path).map_err(|e| format!("{}: {e}", source.path))?;
        }
        _ => {}
    }
    let found = fs::metadata(path).map(|m| m.file_type());
    let (fits, noun) = match kind {
        "Directory" | "DirectoryOrCreate" => (found.is_ok_and(|t| t.is_dir()), "directory"),
        "File" | "FileOrCreate" => (found.is_ok_and(|t| t.is_file()), "file"),
        "Socket" => (found.is_ok_and(|t| t.is_socket()), "socket file"),
        "CharDevice" => (found.is_ok_and(|t| t.is_char_device()), "character device"),
        "BlockDevice" => (found.is_ok_and(|t| t.is_block_device()), "block device"),
        other => return Err(format!("{other:?} is an invalid volume type")),
    };
    if fits { Ok(()) } else { Err(format!("hostPath type check failed: {} is not a {noun}", source.path)) }
}
