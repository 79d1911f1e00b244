//! A folder laid out like the store: `<root>/<bucket>/<key>`.
//!
//! The names come from miners. Each part of a path is opened relative to the part before it and without
//! following symbolic links, so no name, link or race between the two leads out of the root.

use crate::own::{Entry, ObjectStore, StoreError};
use async_trait::async_trait;
use bytes::Bytes;
use nexis_ports::{Bucket, BucketAccess, FetchError, FetchLimits, Fetched, Object};
use nexis_protocol::Digest;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets as folders; credentials are not looked at. Made for `nexis check` and for kept cases.
#[derive(Debug, Clone)]
pub struct DirBucket {
    root: Arc<OwnedFd>,
}

/// One bucket of a [`DirBucket`], to write and list as well.
#[derive(Debug, Clone)]
pub struct DirObjects {
    dir: DirBucket,
    bucket: String,
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
// NONBLOCK: opening a named pipe must not wait for a writer that never comes.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

enum Read {
    Found(Vec<u8>, Option<f64>),
    Missing,
    TooLarge(u64),
    Broken(std::io::Error),
}

impl DirBucket {
    /// The folder that holds one folder per bucket; the root itself may be a link.
    pub fn new(root: impl AsRef<Path>) -> std::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root.as_ref(), flags, Mode::empty())?;
        Ok(Self {
            root: Arc::new(root),
        })
    }

    /// One bucket, to write and list as well.
    pub fn objects(&self, bucket: &str) -> DirObjects {
        DirObjects {
            dir: self.clone(),
            bucket: bucket.to_owned(),
        }
    }

    /// Opens the folder that holds `key` and gives the last part of the name; `None`: no such key.
    fn parent<'k>(
        &self,
        bucket: &str,
        key: &'k str,
        make: Make,
    ) -> Result<Option<(OwnedFd, &'k str)>, Errno> {
        if !is_name(bucket) {
            return Ok(None);
        }
        let mut parts = key.split('/');
        let Some(name) = parts.next_back().filter(|name| is_name(name)) else {
            return Ok(None);
        };
        let Some(mut folder) = step(&self.root, bucket, make)? else {
            return Ok(None);
        };
        for part in parts {
            if !is_name(part) {
                return Ok(None);
            }
            match step(&folder, part, make)? {
                Some(next) => folder = next,
                None => return Ok(None),
            }
        }
        Ok(Some((folder, name)))
    }

    fn read(&self, bucket: &str, key: &str, max_bytes: u64) -> Read {
        let opened = self
            .parent(bucket, key, Make::No)
            .and_then(|found| match found {
                None => Ok(None),
                Some((folder, name)) => {
                    absent(rustix::fs::openat(&folder, name, FILE, Mode::empty()))
                }
            });
        let file = match opened {
            Ok(Some(file)) => file,
            Ok(None) => return Read::Missing,
            Err(error) => return Read::Broken(error.into()),
        };
        let stat = match rustix::fs::fstat(&file) {
            Ok(stat) => stat,
            Err(error) => return Read::Broken(error.into()),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Read::Missing;
        }
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        if bytes > max_bytes {
            return Read::TooLarge(bytes);
        }
        let mut content = Vec::new();
        match File::from(file)
            .take(max_bytes.saturating_add(1))
            .read_to_end(&mut content)
        {
            Err(error) => Read::Broken(error),
            Ok(read) if read as u64 > max_bytes => Read::TooLarge(read as u64),
            // Whole seconds, as the Last-Modified header of a store tells them.
            Ok(_) => Read::Found(content, Some(stat.st_mtime as f64)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Make {
    No,
    Yes,
}

fn is_name(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\0'])
}

/// Opens the folder `name` below `folder`; `None` when there is none that may be entered.
fn step(folder: &OwnedFd, name: &str, make: Make) -> Result<Option<OwnedFd>, Errno> {
    if make == Make::Yes {
        match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        return rustix::fs::openat(folder, name, FOLDER, Mode::empty()).map(Some);
    }
    absent(rustix::fs::openat(folder, name, FOLDER, Mode::empty()))
}

/// What the system says of names that lead nowhere, to a link (`LOOP`), through a file, or are too long.
fn absent<T>(opened: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::INVAL
            | Errno::ILSEQ
            | Errno::NXIO
            | Errno::ACCESS
            | Errno::PERM,
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait]
impl Bucket for DirBucket {
    async fn fetch(
        &self,
        access: &BucketAccess,
        key: &str,
        limits: FetchLimits,
    ) -> Result<Fetched, FetchError> {
        let (dir, bucket, key) = (self.clone(), access.bucket.clone(), key.to_owned());
        let max_bytes = limits.max_bytes;
        let read = tokio::task::spawn_blocking(move || match dir.read(&bucket, &key, max_bytes) {
            Read::Found(bytes, last_modified) => {
                let digest = Digest::of(&bytes);
                Fetched::Found(Object {
                    bytes: Bytes::from(bytes),
                    digest,
                    last_modified,
                })
            }
            Read::Missing => Fetched::Missing {
                answer: "no such file".to_owned(),
            },
            Read::TooLarge(bytes) => Fetched::TooLarge { bytes },
            Read::Broken(error) => Fetched::Unreachable {
                last: error.to_string(),
            },
        });
        // The task cannot panic; it is only ever dropped when the runtime stops.
        read.await.map_err(|_| FetchError::Cancelled)
    }
}

impl DirObjects {
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        key: &str,
        work: impl FnOnce(&DirBucket, &str, &str) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (dir, bucket, own_key) = (self.dir.clone(), self.bucket.clone(), key.to_owned());
        tokio::task::spawn_blocking(move || work(&dir, &bucket, &own_key))
            .await
            .map_err(|_| StoreError::Unreachable {
                doing,
                bucket: self.bucket.clone(),
                key: key.to_owned(),
                last: "we are stopping".to_owned(),
            })?
    }
}

fn broken(
    doing: &'static str,
    bucket: &str,
    key: &str,
    error: impl Into<std::io::Error>,
) -> StoreError {
    StoreError::Unreachable {
        doing,
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        last: error.into().to_string(),
    }
}

fn unusable(doing: &'static str, bucket: &str, key: &str) -> StoreError {
    StoreError::Unusable {
        doing,
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        reason: "a part of the name is empty, '.', '..' or not a file name".to_owned(),
    }
}

fn write(dir: &DirBucket, bucket: &str, key: &str, body: &[u8]) -> Result<(), StoreError> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let doing = "writing";
    let fail = |error: Errno| broken(doing, bucket, key, error);
    let (folder, name) = dir
        .parent(bucket, key, Make::Yes)
        .map_err(fail)?
        .ok_or_else(|| unusable(doing, bucket, key))?;
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let draft = format!(".draft-{}-{number}", std::process::id());
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(&folder, &draft, flags, Mode::from_raw_mode(0o644)).map_err(fail)?;
    let written = File::from(file)
        .write_all(body)
        .map_err(|error| broken(doing, bucket, key, error))
        .and_then(|()| rustix::fs::renameat(&folder, &draft, &folder, name).map_err(fail));
    if written.is_err() && rustix::fs::unlinkat(&folder, &draft, AtFlags::empty()).is_err() {
        tracing::debug!(bucket, key, "a draft could not be removed");
    }
    written
}

fn collect(folder: OwnedFd, path: &str, entries: &mut Vec<Entry>) -> Result<(), Errno> {
    for item in rustix::fs::Dir::read_from(&folder)? {
        let item = item?;
        // S3 keys are text; a name that is not was not written through us.
        let Ok(name) = item.file_name().to_str() else {
            continue;
        };
        if name == "." || name == ".." || name.starts_with(".draft-") {
            continue;
        }
        let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let key = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}/{name}")
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                if let Some(inner) = step(&folder, name, Make::No)? {
                    collect(inner, &key, entries)?;
                }
            }
            FileType::RegularFile => entries.push(Entry {
                key,
                bytes: u64::try_from(stat.st_size).unwrap_or(0),
                last_modified: Some(stat.st_mtime as f64),
            }),
            _ => {}
        }
    }
    Ok(())
}

fn list(dir: &DirBucket, bucket: &str, prefix: &str) -> Result<Vec<Entry>, StoreError> {
    let fail = |error: Errno| broken("listing", bucket, prefix, error);
    let refused = || StoreError::Refused {
        doing: "listing",
        bucket: bucket.to_owned(),
        key: prefix.to_owned(),
    };
    if !is_name(bucket) {
        return Err(unusable("listing", bucket, prefix));
    }
    let folder = step(&dir.root, bucket, Make::No)
        .map_err(fail)?
        .ok_or_else(refused)?;
    let mut entries = Vec::new();
    collect(folder, "", &mut entries).map_err(fail)?;
    entries.retain(|entry| entry.key.starts_with(prefix));
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(entries)
}

#[async_trait]
impl ObjectStore for DirObjects {
    async fn get(&self, key: &str, limits: FetchLimits) -> Result<Fetched, FetchError> {
        let access = BucketAccess {
            bucket: self.bucket.clone(),
            account_id: String::new(),
            access_key: String::new(),
            secret_key: String::new(),
        };
        self.dir.fetch(&access, key, limits).await
    }

    async fn put(&self, key: &str, body: Bytes, _content_type: &str) -> Result<(), StoreError> {
        self.blocking("writing", key, move |dir, bucket, key| {
            write(dir, bucket, key, &body)
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.blocking("asking about", key, |dir, bucket, key| {
            let fail = |error: Errno| broken("asking about", bucket, key, error);
            let Some((folder, name)) = dir.parent(bucket, key, Make::No).map_err(fail)? else {
                return Ok(None);
            };
            let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
            let Some(stat) = absent(stat).map_err(fail)? else {
                return Ok(None);
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Ok(None);
            }
            let bytes = u64::try_from(stat.st_size).unwrap_or(0);
            let last_modified = Some(stat.st_mtime as f64);
            Ok(Some(Entry {
                key: key.to_owned(),
                bytes,
                last_modified,
            }))
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.blocking("listing", prefix, list).await
    }
}
