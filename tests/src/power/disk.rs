//! A disk that writes down every write and every flush: a file in a FUSE file system, with ext4 on it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, WriteFlags,
};

use super::cut::{BLOCK, Blocks, Event};
use crate::process::system;

/// The disk's size in bytes.
const SIZE: u64 = 256 << 20;
/// How long the kernel may remember what does not change.
const FOREVER: Duration = Duration::from_hours(1);
const NAME: &str = "disk";
const FILE: INodeNo = INodeNo(2);

#[derive(Debug)]
struct State<T> {
    blocks: Blocks,
    /// What happened since the recording began, if it did.
    record: Option<Vec<Event<T>>>,
    /// Events after which the power goes away.
    until: Option<usize>,
}

impl<T> State<T> {
    /// Whether there is power; what happens without it does not.
    fn has_power(&self) -> bool {
        let happened = self.record.as_ref().map_or(0, Vec::len);
        self.until.is_none_or(|until| happened < until)
    }

    fn note(&mut self, event: Event<T>) {
        if let Some(record) = &mut self.record {
            record.push(event);
        }
    }
}

/// The file system that a disk's file is in.
struct Shelf<T>(Arc<Mutex<State<T>>>);

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn attributes(ino: INodeNo) -> FileAttr {
    let folder = ino == INodeNo::ROOT;
    FileAttr {
        ino,
        size: if folder { 0 } else { SIZE },
        blocks: if folder { 0 } else { SIZE / 512 },
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if folder { FileType::Directory } else { FileType::RegularFile },
        perm: if folder { 0o700 } else { 0o600 },
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl<T: Send + 'static> Filesystem for Shelf<T> {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if parent == INodeNo::ROOT && name == NAME {
            reply.entry(&FOREVER, &attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &attributes(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let there = SIZE.saturating_sub(offset).min(u64::from(size));
        let length = usize::try_from(there).unwrap_or_default();
        reply.data(&lock(&self.0).blocks.read(offset, length));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = lock(&self.0);
        if !state.has_power() {
            return reply.error(Errno::EIO);
        }
        state.blocks.write(offset, data);
        state.note(Event::Write(offset, data.into()));
        reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = lock(&self.0);
        if !state.has_power() {
            return reply.error(Errno::EIO);
        }
        state.note(Event::Flush);
        reply.ok();
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}

/// A disk with an ext4 file system on it, mounted; all of it goes when dropped.
#[derive(Debug)]
pub(super) struct Disk<T> {
    state: Arc<Mutex<State<T>>>,
    mounted: PathBuf,
    /// Last, because what is mounted has to go first.
    session: Option<BackgroundSession>,
}

impl<T: Send + 'static> Disk<T> {
    /// An empty disk, mounted at `at`. Beside that folder another one is made for the file.
    pub(super) fn empty(at: &Path) -> io::Result<Self> {
        Self::mount(Blocks::default(), at, true)
    }

    /// A disk that holds `blocks`, mounted at `at`: the file system finds its own way back.
    pub(super) fn holding(blocks: Blocks, at: &Path) -> io::Result<Self> {
        Self::mount(blocks, at, false)
    }

    fn mount(blocks: Blocks, at: &Path, fresh: bool) -> io::Result<Self> {
        let shelf = at.with_extension("shelf");
        std::fs::create_dir_all(&shelf)?;
        std::fs::create_dir_all(at)?;
        let state = Arc::new(Mutex::new(State { blocks, record: None, until: None }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("seinhuis-power".into())];
        let session = fuser::spawn_mount(Shelf(Arc::clone(&state)), &shelf, &config)?;
        let file = shelf.join(NAME);
        let mut disk = Self { state, mounted: PathBuf::new(), session: Some(session) };
        if fresh {
            let block = BLOCK.to_string();
            let features = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
            system(Command::new("mkfs.ext4").args(["-q", "-F", "-b", &block, "-E", features]).arg(&file))?;
        }
        // The loop device goes with what is mounted from it.
        system(Command::new("mount").args(["-t", "ext4", "-o", "loop,noatime"]).arg(&file).arg(at))?;
        disk.mounted = at.to_path_buf();
        if fresh {
            std::fs::remove_dir(at.join("lost+found"))?;
            std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o700))?;
        }
        Ok(disk)
    }

    /// Has all that was written so far on stable storage, and begins to write down what happens from here on. Gives
    /// what the disk holds.
    pub(super) fn record(&self) -> io::Result<Blocks> {
        system(Command::new("sync").arg("-f").arg(&self.mounted))?;
        let mut state = lock(&self.state);
        state.record = Some(Vec::new());
        Ok(state.blocks.clone())
    }

    /// Takes the power away after so many events.
    pub(super) fn cut_after(&self, events: usize) {
        lock(&self.state).until = Some(events);
    }

    /// Whether there is power.
    pub(super) fn has_power(&self) -> bool {
        lock(&self.state).has_power()
    }

    /// Writes down that somebody was told something.
    pub(super) fn tell(&self, told: T) {
        lock(&self.state).note(Event::Told(told));
    }

    /// What happened; nothing more is written down.
    pub(super) fn take(&self) -> Vec<Event<T>> {
        lock(&self.state).record.take().unwrap_or_default()
    }

    /// Unmounts, once nobody uses it.
    pub(super) fn eject(mut self) -> io::Result<()> {
        let mounted = std::mem::take(&mut self.mounted);
        system(Command::new("umount").arg(&mounted))?;
        self.session.take().map_or(Ok(()), BackgroundSession::umount_and_join)
    }
}

impl<T> Drop for Disk<T> {
    fn drop(&mut self) {
        if !self.mounted.as_os_str().is_empty() {
            // Whoever still uses it ends with this process: it is in a namespace of its own.
            _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
        }
    }
}
