use crate::journal::sync_directory;
use async_trait::async_trait;
use nexis_ports::{Archive, ArchiveError};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest name, in bytes: with a folder in front it stays below every system's path limit.
const MAX_NAME: usize = 512;
/// Longest part between slashes: the limit of common file systems is 255.
const MAX_PART: usize = 200;
/// Files being written start with this; a leading dot is refused in names, so they are never objects.
const UNFINISHED: &str = ".unfinished-";

/// Objects as files below one folder. A write goes to an unfinished file, is synced and renamed: a
/// reader, and a restart after a power cut, see the old object or the new one.
#[derive(Clone)]
pub struct DirArchive {
    root: Arc<PathBuf>,
    /// Tells the unfinished files of writers apart.
    token: u64,
    counter: Arc<AtomicU64>,
}

impl DirArchive {
    /// Opens the archive of a folder, making it when needed; unfinished files of a killed process are
    /// removed. Blocks on the disk.
    pub fn open(root: &Path) -> Result<Self, ArchiveError> {
        let open = || {
            fs::create_dir_all(root)?;
            visit(root, "", &mut |path, name| {
                if last_part(name).starts_with(UNFINISHED) {
                    fs::remove_file(path)?;
                }
                Ok(())
            })
        };
        open().map_err(|error| away("opening", &root.display().to_string(), &error))?;
        Ok(Self::of(root))
    }

    /// Opens a folder that other processes write to at the same time; their unfinished files are left alone.
    pub fn open_shared(root: &Path) -> Result<Self, ArchiveError> {
        fs::create_dir_all(root)
            .map_err(|error| away("opening", &root.display().to_string(), &error))?;
        Ok(Self::of(root))
    }

    fn of(root: &Path) -> Self {
        // Process ids repeat between hosts and containers; two writers must not share an unfinished file.
        let token = RandomState::new().hash_one(std::process::id());
        Self {
            root: Arc::new(root.to_owned()),
            token,
            counter: Arc::default(),
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

/// The file of a name, or why the name cannot be one.
fn file_of(root: &Path, name: &str) -> Result<PathBuf, ArchiveError> {
    let refuse = |why: &str| Err(ArchiveError::Refused(format!("object name {name:?} {why}")));
    if name.len() > MAX_NAME {
        return refuse("is longer than 512 bytes");
    }
    for part in name.split('/') {
        if part.is_empty() || part.len() > MAX_PART {
            return refuse("has a part that is empty or longer than 200 bytes");
        }
        if part.starts_with('.') {
            return refuse("has a part that starts with a dot");
        }
        if !part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-=".contains(&b))
        {
            return refuse("has characters other than letters, digits and . _ - =");
        }
    }
    Ok(root.join(name))
}

fn away(doing: &str, what: &str, error: &io::Error) -> ArchiveError {
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

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Calls `each` with path and name of every file below `folder`. Symbolic links are not followed.
fn visit(
    folder: &Path,
    prefix: &str,
    each: &mut dyn FnMut(&Path, &str) -> io::Result<()>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(part) = entry.file_name().into_string() else {
            continue;
        };
        let name = if prefix.is_empty() {
            part
        } else {
            format!("{prefix}/{part}")
        };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            visit(&entry.path(), &name, each)?;
        } else if kind.is_file() {
            each(&entry.path(), &name)?;
        }
    }
    Ok(())
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
    // A link, unlike a rename, fails when the name is taken: between any number of writers one is first.
    let linked = fs::hard_link(unfinished, file);
    fs::remove_file(unfinished)?;
    match linked {
        Ok(()) => sync_directory(file).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && file.is_file() => Ok(false),
        Err(error) => Err(error),
    }
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
            let unfinished = folder.join(format!("{UNFINISHED}{token:016x}-{number}"));
            let put = || {
                make_folders(root, folder)?;
                write(&file, &unfinished, &bytes, if_there)
            };
            put().map_err(|error| {
                fs::remove_file(&unfinished).ok();
                away("storing", &name, &error)
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
                Err(error) => Err(away("reading", &name, &error)),
            }
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ArchiveError> {
        let prefix = prefix.to_owned();
        self.blocking(move |root| {
            let mut names = Vec::new();
            visit(root, "", &mut |_, name| {
                if name.starts_with(&prefix) && !last_part(name).starts_with('.') {
                    names.push(name.to_owned());
                }
                Ok(())
            })
            .map_err(|error| away("listing", &prefix, &error))?;
            names.sort();
            Ok(names)
        })
        .await
    }
}
