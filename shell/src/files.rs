//! Files: bounded reads, durable atomic writes, private files that others on the machine cannot read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::complaint::{Complaint, Doing};
use crate::keys::random;
use crate::lang::Text;

/// Whether a file that exists may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// An existing file stays and the write fails.
    Keep,
    /// An existing file is replaced in one step.
    Replace,
}

/// Reads a regular file of at most `max` bytes.
///
/// # Errors
/// A sentence naming the file: missing, not allowed, a folder, not a regular file, too large.
pub fn read(path: &Path, max: usize) -> Result<Vec<u8>, Complaint> {
    let fail = |error: io::Error| Complaint::io(Doing::Read, path, &error);
    let meta = fs::metadata(path).map_err(fail)?;
    if meta.is_dir() {
        return Err(fail(io::ErrorKind::IsADirectory.into()));
    }
    if !meta.is_file() {
        return Err(Complaint::usage(
            Text::new(
                format!("{} is geen gewoon bestand.", path.display()),
                format!("{} is not a regular file.", path.display()),
            ),
            Text::new("Noem een gewoon bestand.", "Name a regular file."),
        ));
    }
    let file = File::open(path).map_err(fail)?;
    read_bounded(file, max, meta.len())
        .map_err(fail)?
        .ok_or_else(|| too_large(&path.display().to_string(), max))
}

/// Reads a file of at most `max` bytes, or standard input when `path` is `-`.
///
/// # Errors
/// As [`read`].
pub fn read_or_stdin(path: &Path, max: usize) -> Result<Vec<u8>, Complaint> {
    if path != Path::new("-") {
        return read(path, max);
    }
    read_bounded(io::stdin().lock(), max, 0)
        .map_err(|error| Complaint::io(Doing::Read, path, &error))?
        .ok_or_else(|| too_large("standard input", max))
}

/// Reads a UTF-8 text file of at most `max` bytes.
///
/// # Errors
/// As [`read`], and for bytes that are not UTF-8.
pub fn read_text(path: &Path, max: usize) -> Result<String, Complaint> {
    String::from_utf8(read(path, max)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Complaint::usage(
            Text::new(
                format!("{} is geen UTF-8-tekst (byte {at}).", path.display()),
                format!("{} is not UTF-8 text (byte {at}).", path.display()),
            ),
            Text::new("Bewaar het bestand als UTF-8.", "Save the file as UTF-8."),
        )
    })
}

/// Reads a private file of at most `max` bytes, and only when its owner alone has access to it.
///
/// # Errors
/// As [`read`], and a sentence naming the `chmod` to run when group or others have any access.
pub fn read_private(path: &Path, max: usize) -> Result<Vec<u8>, Complaint> {
    let meta = fs::metadata(path).map_err(|error| Complaint::io(Doing::Read, path, &error))?;
    check_mode(path, meta.permissions().mode(), "600")?;
    read(path, max)
}

/// Reads a credential of at most `max` bytes that the service manager lends to this process.
///
/// Where it cannot give the file away (systemd from 254 on) it stays root's, with an entry in its access list for the
/// service's user alone. That entry shows as read access of the group, and is all that is allowed beyond [`read_private`].
///
/// # Errors
/// As [`read_private`].
pub fn read_credential(path: &Path, max: usize) -> Result<Vec<u8>, Complaint> {
    let meta = fs::metadata(path).map_err(|error| Complaint::io(Doing::Read, path, &error))?;
    let lent = meta.uid() != geteuid().as_raw();
    check_mode(path, without_listed(meta.permissions().mode(), lent), "600")?;
    read(path, max)
}

/// A mode less what an entry in the access list of a file that is lent shows as.
const fn without_listed(mode: u32, lent: bool) -> u32 {
    if lent { mode & !0o040 } else { mode }
}

/// Checks that a folder exists and that its owner alone has access to it.
///
/// # Errors
/// A sentence naming the folder, and the `chmod` to run.
pub fn check_private_dir(path: &Path) -> Result<(), Complaint> {
    let fail = |error: io::Error| Complaint::io(Doing::OpenFolder, path, &error);
    let meta = fs::metadata(path).map_err(fail)?;
    if !meta.is_dir() {
        return Err(fail(io::ErrorKind::NotADirectory.into()));
    }
    check_mode(path, meta.permissions().mode(), "700")
}

fn check_mode(path: &Path, mode: u32, wanted: &str) -> Result<(), Complaint> {
    let (group, others) = (mode & 0o070, mode & 0o007);
    if (group, others) == (0, 0) {
        return Ok(());
    }
    let path = path.display();
    Err(Complaint::usage(
        Text::new(
            format!("Anderen op deze machine kunnen bij {path} (rechten {:03o}).", mode & 0o777),
            format!("Others on this machine can get at {path} (mode {:03o}).", mode & 0o777),
        ),
        Text::new(
            format!("Voer uit: chmod {wanted} {path} . Vervang sleutels die anderen konden lezen."),
            format!("Run: chmod {wanted} {path} . Replace keys that others could read."),
        ),
    ))
}

/// Makes a folder (and those above it) that only its owner can enter; an existing one is checked.
///
/// # Errors
/// A sentence naming the folder.
pub fn make_private_dir(path: &Path) -> Result<(), Complaint> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Complaint::io(Doing::MakeFolder, path, &error))?;
    check_private_dir(path)
}

/// Writes a file that everybody may read, whole or not at all, and on stable storage on return.
///
/// # Errors
/// A sentence naming the file; the old content is then untouched.
pub fn write(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), Complaint> {
    write_for(path, bytes, existing, Readers::All)
}

/// Writes a file that only its owner can read (0600), whole or not at all, durably.
///
/// # Errors
/// As [`write`](fn@write).
pub fn write_private(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), Complaint> {
    write_for(path, bytes, existing, Readers::Owner)
}

/// Writes a file for its owner, and for the group of its folder as far as the folder is for that group; never for
/// others. Whole or not at all, durably.
///
/// # Errors
/// As [`write`](fn@write).
pub fn write_shared(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), Complaint> {
    write_for(path, bytes, existing, Readers::Group)
}

/// Opens a file that its owner alone has access to, to the group of its folder as far as the folder is for that group.
///
/// # Errors
/// The system's.
pub fn share(file: &File, dir: &Path) -> io::Result<()> {
    let group = fs::metadata(dir)?.mode() & 0o060;
    // Where a file system gives all files one mode, there may be nothing to set.
    if group & !file.metadata()?.mode() == 0 {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(0o600 | group))
}

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    All,
    Owner,
    /// The owner, and the group as far as the folder is for it.
    Group,
}

fn write_for(path: &Path, bytes: &[u8], existing: Existing, readers: Readers) -> Result<(), Complaint> {
    let fail = |error: io::Error| Complaint::io(Doing::Write, path, &error);
    if path.is_dir() {
        return Err(fail(io::ErrorKind::IsADirectory.into()));
    }
    let dir = parent(path);
    let temporary = temporary_beside(path);
    let result = write_temporary(&temporary, bytes, readers)
        .and_then(|()| put_in_place(&temporary, path, existing))
        .and_then(|()| File::open(&dir)?.sync_all());
    if result.is_err() && fs::remove_file(&temporary).is_err() {
        // It was renamed already, or never made: nothing is left behind either way.
    }
    result.map_err(fail)
}

/// Keeps other programs that ask for the same from changing the file at `path` until what this gives is dropped: a lock on
/// a file beside it.
///
/// # Errors
/// A sentence naming the file.
pub fn alone(path: &Path) -> Result<File, Complaint> {
    let path = path.with_extension("lock");
    let fail = |error: io::Error| Complaint::io(Doing::Write, &path, &error);
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(fail)?;
    file.lock().map_err(fail)?;
    Ok(file)
}

/// Puts a file in the place of another in the same folder, in one step that is on stable storage afterwards.
///
/// # Errors
/// A sentence naming the file; both are then as they were.
pub fn replace(from: &Path, to: &Path) -> Result<(), Complaint> {
    fs::rename(from, to)
        .and_then(|()| File::open(parent(to))?.sync_all())
        .map_err(|error| Complaint::io(Doing::Write, to, &error))
}

/// Opens a file for reading that is itself in its folder: a symbolic link is not followed, and a pipe is not waited for.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] for a link.
pub fn open_itself(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::LOOP) => Err(io::ErrorKind::InvalidInput.into()),
        opened => Ok(File::from(opened?)),
    }
}

/// Reads a regular file of at most `max` bytes that is itself in its folder; a symbolic link is not followed.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] for what is no regular file, [`io::ErrorKind::FileTooLarge`] for one
/// that is too large.
pub fn read_itself(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let file = open_itself(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    read_bounded(file, max, meta.len())?.ok_or_else(|| io::ErrorKind::FileTooLarge.into())
}

/// Opens a file for writing that this user made, in a folder that others can write in; one that is not there is made,
/// for its owner alone. What somebody put in its place, be it a link to another file of this user, is not written to.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] for what is a link, no regular file or not this user's own.
pub fn open_own(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        // A pipe that nobody reads cannot be opened.
        Err(Errno::LOOP | Errno::NXIO) => return Err(io::ErrorKind::InvalidInput.into()),
        opened => File::from(opened?),
    };
    let meta = file.metadata()?;
    // A file with a second name is one that stands elsewhere.
    let own = meta.is_file() && meta.uid() == geteuid().as_raw() && meta.nlink() == 1;
    if own { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Opens a folder that is itself in the one above it: a symbolic link is not followed.
///
/// # Errors
/// The system's.
pub fn open_dir_itself(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Gives a file another place on the same file system, and never replaces what is there.
///
/// # Errors
/// The system's; [`io::ErrorKind::AlreadyExists`] when the place is taken.
pub fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network file systems cannot be asked this way.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
            Err(error) => Err(error),
        },
        moved => Ok(moved?),
    }
}

/// Removes what writes that were cut off left in a folder, which may hold what the file was to hold.
///
/// # Errors
/// The system's.
pub fn clear_temporaries(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_temporary) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether a name is one of [`temporary_beside`].
fn is_temporary(name: &str) -> bool {
    let random = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    random.is_some_and(|it| it.len() == 16 && it.bytes().all(|one| matches!(one, b'0'..=b'9' | b'a'..=b'f')))
}

/// The folder a file is in; `.` for a bare name.
pub fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

fn temporary_beside(path: &Path) -> PathBuf {
    parent(path).join(format!(".{}.tmp", HEXLOWER.encode(&random::<8>())))
}

fn write_temporary(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mode = match readers {
        Readers::All => 0o644,
        Readers::Owner | Readers::Group => 0o600,
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    if readers == Readers::Group {
        share(&file, &parent(path))?;
    }
    file.sync_all()
}

fn put_in_place(temporary: &Path, path: &Path, existing: Existing) -> io::Result<()> {
    match existing {
        Existing::Replace => fs::rename(temporary, path),
        Existing::Keep => match fs::hard_link(temporary, path) {
            Ok(()) => fs::remove_file(temporary),
            // A link never replaces a file, but memory sticks (FAT) know no links.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
                fs::rename(temporary, path)
            }
            Err(error) => Err(error),
        },
    }
}

/// Reads at most `max` bytes; about as many as `expected` in one go.
fn read_bounded(source: impl Read, max: usize, expected: u64) -> io::Result<Option<Vec<u8>>> {
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let room = usize::try_from(expected).unwrap_or(max).min(max).saturating_add(1);
    let mut bytes = Vec::with_capacity(room);
    source.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= max).then_some(bytes))
}

fn too_large(name: &str, max: usize) -> Complaint {
    Complaint::usage(
        Text::new(
            format!("{name} is groter dan de toegestane {max} bytes."),
            format!("{name} is larger than the allowed {max} bytes."),
        ),
        Text::new("Controleer of dit het juiste bestand is.", "Check that this is the right file."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Lang;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"one", Existing::Keep).unwrap();
        let error = write(&path, b"two", Existing::Keep).unwrap_err();
        assert!(error.show(Lang::En).contains("exists already"), "{error}");
        assert_eq!(read(&path, 10).unwrap(), b"one");
        write(&path, b"two", Existing::Replace).unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays behind");
    }

    #[test]
    fn private_files_and_folders_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        make_private_dir(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
        let path = folder.join("k");
        write_private(&path, b"secret", Existing::Keep).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_private(&path, 10).unwrap(), b"secret");
        for open in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            let error = read_private(&path, 10).unwrap_err();
            assert!(error.advice.nl.contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(make_private_dir(&folder).unwrap_err().advice.en.contains("chmod 700"));
    }

    #[test]
    fn a_credential_is_for_this_process_alone_however_it_is_lent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credential");
        write_private(&path, b"words", Existing::Keep).unwrap();
        assert_eq!(read_credential(&path, 10).unwrap(), b"words");
        // One of its own that a group can read is lent by nobody.
        for open in [0o440, 0o404] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
            assert!(read_credential(&path, 10).unwrap_err().what.en.contains("Others"), "{open:o}");
        }
        let refused = |mode, lent| check_mode(&path, without_listed(mode, lent), "600").is_err();
        assert!(!refused(0o100_440, true), "root's, with an entry for this user");
        assert!(refused(0o100_440, false));
        for open in [0o444, 0o460, 0o450, 0o442] {
            assert!(refused(open, true), "{open:o}");
        }
    }

    #[test]
    fn reading_is_bounded_and_refuses_what_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"12345", Existing::Keep).unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).unwrap_err().what.en.contains("larger than"));
        assert!(read(dir.path(), 4).unwrap_err().what.en.contains("is a folder"));
        assert!(read(&dir.path().join("b"), 4).unwrap_err().what.en.contains("does not exist"));
        assert!(read(Path::new("/dev/null"), 4).unwrap_err().what.en.contains("regular file"));
        write(&path, &[0xff], Existing::Replace).unwrap();
        assert!(read_text(&path, 4).unwrap_err().what.en.contains("UTF-8"));
    }

    #[test]
    fn only_a_file_itself_is_opened_and_nothing_is_replaced_by_a_move() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two, link] = ["one", "two", "link"].map(|name| dir.path().join(name));
        write(&one, b"1", Existing::Keep).unwrap();
        write(&two, b"2", Existing::Keep).unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        assert!(open_itself(&one).is_ok());
        assert_eq!(open_itself(&link).unwrap_err().kind(), io::ErrorKind::InvalidInput, "a link is followed");
        let error = move_new(&one, &two).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((read(&one, 1).unwrap(), read(&two, 1).unwrap()), (b"1".to_vec(), b"2".to_vec()));
        move_new(&one, &dir.path().join("three")).unwrap();
        assert!(!one.exists());
    }

    #[test]
    fn a_shared_file_is_for_the_group_as_far_as_its_folder_is_and_never_for_others() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, file) in [(0o700, 0o600), (0o750, 0o640), (0o777, 0o660), (0o707, 0o600)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(folder)).unwrap();
            let path = dir.path().join("a");
            write_shared(&path, b"1", Existing::Replace).unwrap();
            assert_eq!(mode(&path), file, "{folder:o}");
        }
    }

    #[test]
    fn only_a_file_of_its_own_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let [key, link, second, pipe, new] =
            ["key", "link", "second", "pipe", "new"].map(|name| dir.path().join(name));
        write_private(&key, b"secret", Existing::Keep).unwrap();
        std::os::unix::fs::symlink(&key, &link).unwrap();
        let kind = |path: &Path| open_own(path).map_err(|error| error.kind()).err();
        assert_eq!(kind(&link), Some(io::ErrorKind::InvalidInput), "a link is followed");
        assert_eq!(read_itself(&link, 10).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        fs::hard_link(&key, &second).unwrap();
        assert_eq!(kind(&second), Some(io::ErrorKind::InvalidInput), "a second name is written to");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(kind(&pipe), Some(io::ErrorKind::InvalidInput), "a pipe is written to");
        open_own(&new).unwrap().write_all(b"x").unwrap();
        assert_eq!((mode(&new), read_itself(&new, 1).unwrap()), (0o600, b"x".to_vec()));
        assert_eq!(kind(&new), None, "one that it made before");
        assert_eq!(read_itself(&key, 5).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // The superuser can give files away.
        if std::os::unix::fs::chown(&new, Some(12_345), None).is_ok() {
            assert_eq!(kind(&new), Some(io::ErrorKind::InvalidInput), "another's file is written to");
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("folder")).unwrap();
        assert!(open_dir_itself(dir.path()).is_ok() && open_dir_itself(&dir.path().join("folder")).is_err());
        assert_eq!(read(&key, 10).unwrap(), b"secret");
    }

    #[test]
    fn what_a_cut_off_write_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let left = temporary_beside(&dir.path().join("a"));
        let others = ["a.tmp", ".a.tmp", ".0123456789abcdef.tmp.json", "0123456789abcdef.tmp"];
        for path in others.map(|name| dir.path().join(name)).iter().chain([&left]) {
            write(path, b"x", Existing::Keep).unwrap();
        }
        clear_temporaries(dir.path()).unwrap();
        assert!(!left.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), others.len());
    }

    #[test]
    fn a_write_into_a_missing_folder_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = write(&dir.path().join("no/a"), b"", Existing::Keep).unwrap_err();
        assert!(error.what.en.contains("no/a"), "{error}");
        assert!(write(dir.path(), b"", Existing::Replace).unwrap_err().what.en.contains("is a folder"));
    }
}
