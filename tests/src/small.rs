//! A small disk: a file system in memory that is as large as it is told, over a folder.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::statvfs;

use crate::process::system;

/// A small disk; taken away when dropped. Needs root.
#[derive(Debug)]
pub struct Small(PathBuf);

impl Small {
    /// One of so many bytes over `path`, which is made.
    ///
    /// # Errors
    /// When nothing can be mounted there.
    pub fn over(path: &Path, bytes: u64) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let options = format!("size={bytes},mode=0700");
        system(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path))?;
        Ok(Self(path.to_path_buf()))
    }

    /// Changes how it is mounted.
    ///
    /// # Errors
    /// When the system refuses these options.
    pub fn remount(&self, options: &str) -> io::Result<()> {
        system(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0))
    }

    /// Makes it so many bytes large.
    ///
    /// # Errors
    /// When more than that is in use.
    pub fn resize(&self, bytes: u64) -> io::Result<()> {
        self.remount(&format!("size={bytes}"))
    }

    /// Leaves room for so many bytes more.
    ///
    /// # Errors
    /// When more is written meanwhile.
    pub fn leave(&self, room: u64) -> io::Result<()> {
        let now = statvfs(&self.0)?;
        self.resize((now.f_blocks - now.f_bfree) * now.f_frsize + room)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
