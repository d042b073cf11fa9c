//! Lines of a file that grows, and that is moved aside for a new one of the same name now and then.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

const BLOCK: usize = 32 << 10;
/// The runtime splits longer lines.
const LINE: usize = 1 << 20;

pub struct Lines {
    path: PathBuf,
    file: File,
    inode: u64,
    buffer: Vec<u8>,
    /// How much of `buffer` has been given out.
    given: usize,
}

impl Lines {
    /// From the beginning, or from the last `tail` lines on.
    pub async fn open(path: &Path, tail: Option<u64>) -> io::Result<Self> {
        let at = path.to_path_buf();
        let file = tokio::task::spawn_blocking(move || {
            let mut file = std::fs::File::open(at)?;
            if let Some(lines) = tail {
                let start = start_of_last(&mut file, lines)?;
                file.seek(SeekFrom::Start(start))?;
            }
            Ok::<_, io::Error>(file)
        });
        let file = file.await.map_err(io::Error::other)??;
        let inode = file.metadata()?.ino();
        Ok(Self { path: path.to_path_buf(), file: File::from_std(file), inode, buffer: Vec::new(), given: 0 })
    }

    /// With its line feed. `None` at the end as it is now; the beginning of a line waits for its rest.
    pub async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = self.given;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|b| *b == b'\n').map(|i| searched + i + 1) {
                let start = std::mem::replace(&mut self.given, end);
                return Ok(Some(&self.buffer[start..end]));
            }
            self.buffer.drain(..self.given);
            self.given = 0;
            if self.buffer.len() > LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the log is too long"));
            }
            searched = self.buffer.len();
            self.buffer.reserve(BLOCK);
            if self.file.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The name leads to another file by now; the old one is complete then.
    pub async fn replaced(&self) -> bool {
        tokio::fs::metadata(&self.path).await.is_ok_and(|m| m.ino() != self.inode)
    }

    /// Goes on with the new file.
    pub async fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(&self.path, None).await?;
        Ok(())
    }
}

fn start_of_last(file: &mut std::fs::File, lines: u64) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(length);
    }
    let mut found = 0;
    let mut end = length;
    let mut block = vec![0; BLOCK];
    while end > 0 {
        let size = end.min(BLOCK as u64);
        let start = end - size;
        let block = &mut block[..usize::try_from(size).unwrap_or(BLOCK)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        for (i, _) in block.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            let after = start + i as u64 + 1;
            // The last line's own line feed ends no line before it.
            if after == length {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok(after);
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn the_last_lines_are_found_and_a_new_file_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let many: String = (0..10_000).map(|i| format!("line {i}\n")).collect();
        std::fs::write(&path, many + "beg").unwrap();
        let mut lines = Lines::open(&path, Some(3)).await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), b"line 9998\n");
        assert_eq!(lines.next().await.unwrap().unwrap(), b"line 9999\n");
        assert!(lines.next().await.unwrap().is_none());
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"un\n").unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), b"begun\n");
        assert!(!lines.replaced().await);
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        std::fs::write(&path, "new\n").unwrap();
        assert!(lines.replaced().await && lines.next().await.unwrap().is_none());
        lines.reopen().await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), b"new\n");
        let mut none = Lines::open(&path, Some(0)).await.unwrap();
        assert!(none.next().await.unwrap().is_none());
        let mut all = Lines::open(&path, Some(9)).await.unwrap();
        assert_eq!(all.next().await.unwrap().unwrap(), b"new\n");
    }
}
