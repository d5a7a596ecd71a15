//! Files that are looked at again and again, and taken in anew when they are others.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::complaint::Complaint;
use crate::lang::Text;

/// By what files on disk are told from others: when each was changed, and its length; nothing for one that is not there.
pub type Stamp<const N: usize> = [Option<(SystemTime, u64)>; N];

/// What files are told from others by now.
pub fn stamp<const N: usize>(files: &[PathBuf; N]) -> Stamp<N> {
    files
        .each_ref()
        .map(|path| std::fs::metadata(path).and_then(|meta| Ok((meta.modified()?, meta.len()))).ok())
}

/// Files that are looked at again and again. What cannot be taken in is tried again at each look, and told once.
#[derive(Debug)]
pub struct Watched<const N: usize> {
    files: [PathBuf; N],
    seen: Stamp<N>,
    told: Option<Text>,
}

impl<const N: usize> Watched<N> {
    /// Looks after these, from how they were at some time on.
    pub const fn new(files: [PathBuf; N], seen: Stamp<N>) -> Self {
        Self { files, seen, told: None }
    }

    /// How they are now, when that is not how they were taken in last.
    pub fn changed(&self) -> Option<Stamp<N>> {
        Some(stamp(&self.files)).filter(|now| *now != self.seen)
    }

    /// They were taken in as they were then.
    pub fn taken(&mut self, then: Stamp<N>) {
        (self.seen, self.told) = (then, None);
    }

    /// They could not be taken in.
    pub fn failed(&mut self, complaint: Complaint) {
        if self.told.as_ref() != Some(&complaint.what) {
            tracing::error!("{}", complaint.what.en);
        }
        self.told = Some(complaint.what);
    }
}
