//! What the kernel says of a process, and how much stands in a folder.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// CPU and memory of a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU seconds, user and system.
    pub cpu: f64,
    /// Resident bytes now.
    pub rss: u64,
    /// Most resident bytes so far.
    pub peak_rss: u64,
    /// Bytes handed to the disk so far, where the kernel counts them.
    pub written: Option<u64>,
}

impl Usage {
    /// Reads them (proc(5)).
    ///
    /// # Errors
    /// When the process has gone, or the kernel does not tell.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or_default()
        };
        Ok(Self {
            cpu: cpu(pid)?,
            rss: kib("VmRSS:") * 1024,
            peak_rss: kib("VmHWM:") * 1024,
            written: written(pid),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn cpu(pid: u32) -> io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // Fields 14 and 15, counted after the name, which may itself hold spaces.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // A hundredth of a second each on Linux, whatever the kernel's own clock (times(2), USER_HZ).
    Ok(ticks as f64 / 100.0)
}

fn written(pid: u32) -> Option<u64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// Bytes of the files below a folder: as long as they say they are, and as much as they take up on the disk.
pub(super) fn folder(dir: &Path) -> io::Result<(u64, u64)> {
    let (mut long, mut taken) = (0, 0);
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            // Programs that run give files away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if meta.is_dir() {
            let below = folder(&entry.path())?;
            (long, taken) = (long + below.0, taken + below.1);
        } else {
            // Blocks of 512 bytes, whatever the file system's own (stat(2)).
            (long, taken) = (long + meta.len(), taken + meta.blocks() * 512);
        }
    }
    Ok((long, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_as_long_as_its_files_and_those_below() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("below")).unwrap();
        std::fs::write(dir.path().join("one"), [7; 5000]).unwrap();
        std::fs::write(dir.path().join("below/two"), [7; 300]).unwrap();
        let (long, taken) = folder(dir.path()).unwrap();
        assert_eq!(long, 5300);
        assert!(taken.is_multiple_of(512));
    }

    #[test]
    fn the_kernel_knows_this_process() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss > 0 && usage.peak_rss >= usage.rss, "{usage:?}");
    }
}
