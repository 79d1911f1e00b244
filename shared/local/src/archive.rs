use crate::journal::sync_directory;
use async_trait::async_trait;
use nexis_ports::{Archive, ArchiveError};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest name, in bytes: with a folder in front it stays below every system's path limit.
const MAX_NAME: usize = 512;
/// Longest part between slashes: the limit of common file systems is 255.
const MAX_PART: usize = 200;
/// Folder of files that are being written. A leading dot is refused in names, so they are never objects.
const UNFINISHED: &str = ".unfinished";
/// What the files of earlier versions began with: they stood beside their objects.
const UNFINISHED_BESIDE: &str = ".unfinished-";
/// An unfinished file of another process is stale after this time: writing one object takes seconds.
const STALE: Duration = Duration::from_secs(3600);
/// Locked by whoever writes.
const LOCK: &str = ".lock";

/// Objects as files below one folder. A write goes to an unfinished file, is synced and renamed: a
/// reader, and a restart after a power cut, see the old object or the new one.
#[derive(Clone)]
pub struct DirArchive {
    root: Arc<PathBuf>,
    /// Distinguishes the unfinished files of different writers.
    token: u64,
    counter: Arc<AtomicU64>,
    /// Held for as long as the archive lives; the system releases it however the process ends.
    _lock: Option<Arc<File>>,
}

/// Who else may write to the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: a validator in one process.
    Alone,
    /// Replicas that share one board: the schedulers of a fleet.
    Replicas,
}

impl DirArchive {
    /// Opens the archive of a folder, making it when needed; unfinished files of a killed process are
    /// removed. Blocks on the disk.
    pub fn open(root: &Path) -> Result<Self, ArchiveError> {
        Self::cleaned(root, Duration::ZERO)
    }

    /// Opens a folder that other processes write to at the same time; only their stale unfinished files are removed.
    pub fn open_shared(root: &Path) -> Result<Self, ArchiveError> {
        Self::cleaned(root, STALE)
    }

    /// Opens a folder for reading: nothing is made or removed.
    pub fn open_for_reading(root: &Path) -> Self {
        Self::of(root)
    }

    fn cleaned(root: &Path, older_than: Duration) -> Result<Self, ArchiveError> {
        let archive = Self::of(root);
        archive
            .clean(older_than)
            .map_err(|error| fault("opening", &root.display().to_string(), &error))?;
        Ok(archive)
    }

    /// Locks the folder. Refused when another process writes to it that does not share our board: `nexis validate`
    /// and a fleet's schedulers on one folder would each lead, and decide and submit twice.
    pub fn locked(self, sharing: Sharing) -> Result<Self, ArchiveError> {
        let path = self.root.join(LOCK);
        let failed = |error: io::Error| fault("locking", &path.display().to_string(), &error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let locked = match sharing {
            Sharing::Alone => file.try_lock(),
            Sharing::Replicas => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ArchiveError::Refused(format!(
                    "folder {} is in use by another `nexis validate` or by schedulers of a fleet: stop them, or set \
                     NEXIS_WORKDIR to a folder of its own",
                    self.root.display()
                )));
            }
            // Some network file systems have no locks.
            Err(TryLockError::Error(error)) => tracing::warn!(
                folder = %self.root.display(), %error,
                "the archive's folder cannot be locked: make sure that no other validator uses it"
            ),
        }
        Ok(Self {
            _lock: Some(Arc::new(file)),
            ..self
        })
    }

    /// Removes unfinished files that have not changed for some time. The age is measured by the file system's own
    /// clock, which need not be ours.
    fn clean(&self, older_than: Duration) -> io::Result<()> {
        let folder = self.root.join(UNFINISHED);
        let before_this_version = !folder.is_dir();
        fs::create_dir_all(&folder)?;
        let probe = folder.join(format!("{:016x}-now", self.token));
        fs::write(&probe, b"")?;
        let now = fs::metadata(&probe)?.modified()?;
        fs::remove_file(&probe)?;
        let stale = |path: &Path| -> io::Result<bool> {
            let modified = fs::metadata(path)?.modified()?;
            let age = now.duration_since(modified).unwrap_or_default();
            Ok(age >= older_than)
        };
        let mut remove = |path: &Path| match stale(path) {
            Ok(true) => fs::remove_file(path),
            Ok(false) => Ok(()),
            // Its writer has just finished.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        for entry in fs::read_dir(&folder)? {
            remove(&entry?.path())?;
        }
        if before_this_version {
            remove_beside(&self.root, &mut remove)?;
        }
        Ok(())
    }

    fn of(root: &Path) -> Self {
        // Process ids repeat between hosts and containers; two writers must not share an unfinished file.
        let token = RandomState::new().hash_one(std::process::id());
        Self {
            root: Arc::new(root.to_owned()),
            token,
            counter: Arc::default(),
            _lock: None,
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let root = Arc::clone(&self.root);
        tokio::task::spawn_blocking(move || work(&root))
            .await
            .map_err(|error| ArchiveError::Unavailable(format!("disk task: {error}")))?
    }
}

fn is_part(part: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"._-=".contains(&b);
    !part.is_empty() && part.len() <= MAX_PART && !part.starts_with('.') && part.bytes().all(known)
}

/// The file of a name, or why the name cannot be one.
fn file_of(root: &Path, name: &str) -> Result<PathBuf, ArchiveError> {
    let refuse = |why: &str| Err(ArchiveError::Refused(format!("object name {name:?} {why}")));
    if name.len() > MAX_NAME {
        return refuse("is longer than 512 bytes");
    }
    if !name.split('/').all(is_part) {
        return refuse(
            "has a part that is empty, longer than 200 bytes, starts with a dot, or has characters other than letters, \
             digits and . _ - =",
        );
    }
    Ok(root.join(name))
}

fn fault(doing: &str, what: &str, error: &io::Error) -> ArchiveError {
    match error.kind() {
        // An object's name is a folder of another's, or the other way round.
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::DirectoryNotEmpty
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem => {
            ArchiveError::Refused(format!("{doing} {what}: {error}"))
        }
        _ => ArchiveError::Unavailable(format!("{doing} {what}: {error}")),
    }
}

/// Removes the unfinished files of earlier versions, which may stand in any folder. Symbolic links are not followed.
fn remove_beside(folder: &Path, remove: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if kind.is_dir() && !hidden {
            remove_beside(&entry.path(), remove)?;
        } else if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(UNFINISHED_BESIDE.as_bytes())
        {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// A listing under way.
struct Listing<'a> {
    prefix: &'a str,
    start: &'a str,
    limit: usize,
    names: Vec<String>,
    /// Folders that were read, which is what a listing costs.
    folders: usize,
}

impl<'a> Listing<'a> {
    const fn new(prefix: &'a str, start: &'a str, limit: usize) -> Self {
        Self {
            prefix,
            start,
            limit,
            names: Vec::new(),
            folders: 0,
        }
    }

    /// Begins at the folder that the prefix names: nothing beside it is read.
    fn run(&mut self, root: &Path) -> io::Result<()> {
        let base = self.prefix.rsplit_once('/').map(|(folder, _)| folder);
        match base {
            None => self.visit(root, ""),
            Some(folder) if folder.split('/').all(is_part) => {
                self.visit(&root.join(folder), &format!("{folder}/"))
            }
            Some(_) => Ok(()), // No object has such a name.
        }
    }

    /// Visits a folder in the order of whole names, in which a folder counts as its name with a slash.
    fn visit(&mut self, folder: &Path, above: &str) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.folders += 1;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Ok(part) = entry.file_name().into_string() else {
                continue;
            };
            if !is_part(&part) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let name = format!("{above}{part}/");
                if self.may_hold(&name) {
                    found.push(name);
                }
            } else if kind.is_file() {
                let name = format!("{above}{part}");
                if name.starts_with(self.prefix) && name.as_str() >= self.start {
                    found.push(name);
                }
            }
        }
        found.sort_unstable();
        for name in found {
            if self.names.len() >= self.limit {
                break;
            }
            match name.strip_suffix('/').map(|below| below.rsplit('/').next()) {
                Some(Some(part)) => self.visit(&folder.join(part), &name)?,
                _ => self.names.push(name),
            }
        }
        Ok(())
    }

    /// Whether a folder, given with its slash, can hold a name that is asked for.
    fn may_hold(&self, folder: &str) -> bool {
        let fits = folder.starts_with(self.prefix) || self.prefix.starts_with(folder);
        fits && (folder >= self.start || self.start.starts_with(folder))
    }
}

/// Writes the whole object beside its place.
fn prepare(unfinished: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut out = File::create_new(unfinished)?;
    out.write_all(bytes)?;
    out.sync_all()
}

/// What a write does when there is an object of that name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfThere {
    Replace,
    Keep,
}

/// True when the object that is there now is ours.
fn write(file: &Path, unfinished: &Path, bytes: &[u8], if_there: IfThere) -> io::Result<bool> {
    if if_there == IfThere::Replace {
        prepare(unfinished, bytes)?;
        fs::rename(unfinished, file)?;
        sync_directory(file)?;
        return Ok(true);
    }
    if file.is_file() {
        return Ok(false);
    }
    prepare(unfinished, bytes)?;
    match place(unfinished, file) {
        Ok(()) => sync_directory(file).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && file.is_file() => {
            fs::remove_file(unfinished)?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Gives an unfinished file its name, unless the name is taken: between any number of writers one is first.
fn place(unfinished: &Path, file: &Path) -> io::Result<()> {
    place_with(unfinished, file, |from, to| fs::hard_link(from, to))
}

/// A link, unlike a rename, fails when the name is taken. File systems without links (SMB, many FUSE volumes) may have
/// a rename that does.
fn place_with(
    unfinished: &Path,
    file: &Path,
    link: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    match link(unfinished, file) {
        Ok(()) => fs::remove_file(unfinished),
        Err(error) if is_unsupported(&error) => {
            rename_to_free_name(unfinished, file).map_err(|second| {
                if !is_unsupported(&second) {
                    return second;
                }
                io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "this file system has neither hard links ({error}) nor a rename that keeps what is there \
                         ({second}): put NEXIS_WORKDIR on one that has"
                    ),
                )
            })
        }
        Err(error) => Err(error),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK | Errno::INVAL)
    )
}

#[cfg(target_os = "linux")]
fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(target_os = "linux"))]
fn rename_to_free_name(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(
        rustix::io::Errno::NOSYS.raw_os_error(),
    ))
}

/// Makes the folders above a file, each one synced into the one above it.
fn make_folders(root: &Path, folder: &Path) -> io::Result<()> {
    if folder == root || folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folders(root, above)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => sync_directory(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

impl DirArchive {
    async fn store(
        &self,
        name: &str,
        bytes: &[u8],
        if_there: IfThere,
    ) -> Result<bool, ArchiveError> {
        let (name, bytes) = (name.to_owned(), bytes.to_vec());
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let token = self.token;
        self.blocking(move |root| {
            let file = file_of(root, &name)?;
            let folder = file.parent().unwrap_or(root);
            let unfinished = root.join(UNFINISHED).join(format!("{token:016x}-{number}"));
            let put = || {
                fs::create_dir_all(root.join(UNFINISHED))?;
                make_folders(root, folder)?;
                write(&file, &unfinished, &bytes, if_there)
            };
            put().map_err(|error| {
                fs::remove_file(&unfinished).ok();
                fault("storing", &name, &error)
            })
        })
        .await
    }
}

#[async_trait]
impl Archive for DirArchive {
    async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.store(name, bytes, IfThere::Replace).await.map(|_| ())
    }

    async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, ArchiveError> {
        self.store(name, bytes, IfThere::Keep).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        let name = name.to_owned();
        self.blocking(move |root| {
            let file = file_of(root, &name)?;
            match fs::read(file) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound
                            | io::ErrorKind::IsADirectory
                            | io::ErrorKind::NotADirectory
                    ) =>
                {
                    Ok(None)
                }
                Err(error) => Err(fault("reading", &name, &error)),
            }
        })
        .await
    }

    async fn remove(&self, name: &str) -> Result<bool, ArchiveError> {
        let name = name.to_owned();
        self.blocking(move |root| {
            let file = file_of(root, &name)?;
            match fs::remove_file(&file) {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    return Ok(false);
                }
                Err(error) => return Err(fault("removing", &name, &error)),
            }
            // Folders that are empty now; one that somebody has just written to stays.
            let mut folder = file.parent();
            while let Some(empty) = folder.filter(|folder| *folder != root) {
                if fs::remove_dir(empty).is_err() {
                    break;
                }
                folder = empty.parent();
            }
            Ok(true)
        })
        .await
    }

    async fn list_from(
        &self,
        prefix: &str,
        start: &str,
        limit: usize,
    ) -> Result<Vec<String>, ArchiveError> {
        let (prefix, start) = (prefix.to_owned(), start.to_owned());
        self.blocking(move |root| {
            let mut listing = Listing::new(&prefix, &start, limit);
            listing
                .run(root)
                .map_err(|error| fault("listing", &prefix, &error))?;
            Ok(listing.names)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn filled(rounds: u64) -> (tempfile::TempDir, DirArchive) {
        let folder = tempfile::tempdir().unwrap();
        let archive = DirArchive::open(folder.path()).unwrap();
        for round in 0..rounds {
            for what in ["plan.bin", "decisions.json"] {
                let name = format!("rounds/{round:012}/{what}");
                archive.put(&name, b"x").await.unwrap();
            }
        }
        (folder, archive)
    }

    /// What `list` costs is what the prefix holds, and a page costs what it returns.
    #[tokio::test]
    async fn a_listing_reads_only_the_folders_that_it_must() {
        let (folder, _archive) = filled(40).await;
        let cost = |prefix, start, limit| {
            let mut listing = Listing::new(prefix, start, limit);
            listing.run(folder.path()).unwrap();
            (listing.names.len(), listing.folders)
        };
        assert_eq!(cost("rounds/000000000007/", "", 99), (2, 1));
        assert_eq!(cost("rounds/000000000007/d", "", 99), (1, 1));
        assert_eq!(cost("submissions/", "", 99), (0, 0));
        assert_eq!(cost("rounds/", "rounds/000000000030/", 3), (3, 3));
        assert_eq!(cost("rounds/", "", usize::MAX), (80, 41));
    }

    #[test]
    fn unfinished_files_of_a_dead_process_are_removed_wherever_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("rounds/1")).unwrap();
        let beside = root.join("rounds/1/.unfinished-00ff-3");
        fs::write(&beside, b"half").unwrap();
        DirArchive::open_shared(root).unwrap();
        assert!(beside.is_file(), "it may be somebody's");
        // The marker of this version is there now: the old place is not searched again, so start once more.
        fs::remove_dir(root.join(UNFINISHED)).unwrap();
        DirArchive::open(root).unwrap();
        assert!(!beside.exists());
        let dead = root.join(UNFINISHED).join("00ff-4");
        fs::write(&dead, b"half").unwrap();
        DirArchive::open_shared(root).unwrap();
        assert!(dead.is_file());
        let old = std::time::SystemTime::now() - STALE * 2;
        let file = File::options().write(true).open(&dead).unwrap();
        file.set_modified(old).unwrap();
        DirArchive::open_shared(root).unwrap();
        assert!(!dead.exists());
    }

    #[test]
    fn a_file_system_without_hard_links_places_objects_by_a_rename_that_keeps_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        let no_links = |_: &Path, _: &Path| {
            Err(io::Error::from_raw_os_error(
                rustix::io::Errno::PERM.raw_os_error(),
            ))
        };
        fs::write(&from, b"first").unwrap();
        place_with(&from, &to, no_links).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"first");
        fs::write(&from, b"second").unwrap();
        let taken = place_with(&from, &to, no_links).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"first");
    }

    #[test]
    fn a_validator_and_a_fleet_on_one_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = |sharing| DirArchive::open(folder.path()).unwrap().locked(sharing);
        let replicas = [open(Sharing::Replicas), open(Sharing::Replicas)];
        assert!(replicas.iter().all(Result::is_ok));
        let refused = open(Sharing::Alone).err().unwrap().to_string();
        assert!(refused.contains("in use by another"), "{refused}");
        drop(replicas);
        let alone = open(Sharing::Alone).unwrap();
        assert!(open(Sharing::Replicas).is_err());
        drop(alone);
        open(Sharing::Replicas).unwrap();
    }
}
