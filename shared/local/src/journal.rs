//! The journal: one file, only appended to, made of frames.
//!
//! `NXSBRD` + version + newline, then per entry: payload length (u32, little endian), CRC-32 of length
//! and payload (u32), payload (postcard). A frame is written with one `write`; after kill -9 the file
//! ends anywhere, after a power cut anything since the last fsync may be torn. What follows the first
//! frame that is not whole is cut off and set aside.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"NXSBRD1\n";
const HEADER: usize = 8;
/// Largest entry. The largest honest one, a result of 5,000 rows, has about a megabyte; the wire
/// refuses more than 256 MiB anyway. A length above this is damage, not data.
const MAX_ENTRY: usize = 512 << 20;

/// How much an append must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The process's death: in the page cache.
    Process,
    /// A power cut: on the disk.
    Disk,
}

/// Appends frames to a file.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    len: u64,
    /// Set when the file's end is not known any more; every later append is refused.
    broken: bool,
}

/// What loading found.
pub(crate) struct Loaded {
    pub(crate) journal: Journal,
    pub(crate) entries: Vec<Vec<u8>>,
    /// Bytes that were cut off the end.
    pub(crate) dropped: u64,
}

impl Journal {
    /// Opens or makes the file at `path`; whole frames are returned, the rest is cut off. A file that does not begin
    /// like a journal of this version (zeros after a power cut, another program's) is set aside and a new one begun:
    /// open rounds are opened again from the archive.
    pub(crate) fn load(path: &Path) -> io::Result<Loaded> {
        match Self::load_whole(path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let aside = set_aside(path)?;
                tracing::warn!(journal = %path.display(), kept_as = %aside.display(), %error,
                    "the board's journal cannot be read: it is set aside, and open rounds are rebuilt from the archive");
                Self::load_whole(path)
            }
            loaded => loaded,
        }
    }

    fn load_whole(path: &Path) -> io::Result<Loaded> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it is not a board journal of this version",
            ));
        }
        if bytes.len() < MAGIC.len() {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(MAGIC)?;
            file.sync_all()?;
            sync_directory(path)?;
            bytes = MAGIC.to_vec();
        }
        let (entries, end) = frames(&bytes);
        let dropped = (bytes.len() - end) as u64;
        if dropped > 0 {
            std::fs::write(path.with_extension("torn"), &bytes[end..])?;
            file.set_len(end as u64)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::Start(end as u64))?;
        let journal = Self {
            path: path.to_owned(),
            file,
            len: end as u64,
            broken: false,
        };
        Ok(Loaded {
            journal,
            entries,
            dropped,
        })
    }

    /// A journal that can neither be written to nor cut.
    #[cfg(test)]
    pub(crate) fn on_a_full_disk() -> Self {
        let path = PathBuf::from("/dev/full");
        Self {
            file: OpenOptions::new().write(true).open(&path).unwrap(),
            path,
            len: 0,
            broken: false,
        }
    }

    /// Whether the file's end is not known any more: only a restart, which reads it again, mends that.
    pub(crate) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Bytes in the file.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Appends one entry; on an error nothing was appended.
    pub(crate) fn append(&mut self, payload: &[u8], durability: Durability) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other(
                "an earlier write failed half-way; the process must be restarted to read the journal again",
            ));
        }
        let frame = frame(payload)?;
        if let Err(error) = self.file.write_all(&frame) {
            // A disk that is full takes part of a frame: take that part back.
            let restored = self.file.set_len(self.len).is_ok()
                && self.file.seek(SeekFrom::Start(self.len)).is_ok();
            self.broken = !restored;
            return Err(error);
        }
        self.len += frame.len() as u64;
        if durability == Durability::Disk
            && let Err(error) = self.file.sync_data()
        {
            // After a failed fsync the kernel may have forgotten the pages: nothing can be promised.
            self.broken = true;
            return Err(error);
        }
        Ok(())
    }

    /// Replaces the whole file by these entries, atomically.
    pub(crate) fn rewrite<'a>(
        &mut self,
        entries: impl Iterator<Item = std::borrow::Cow<'a, [u8]>>,
    ) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&fresh)?;
        let mut out = io::BufWriter::with_capacity(1 << 20, &mut file);
        out.write_all(MAGIC)?;
        let mut len = MAGIC.len() as u64;
        for entry in entries {
            let frame = frame(&entry)?;
            out.write_all(&frame)?;
            len += frame.len() as u64;
        }
        out.flush()?;
        drop(out);
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        // From here on the new file is the journal, whatever the directory's sync says.
        self.file = file;
        self.len = len;
        self.broken = false;
        sync_directory(&self.path)
    }
}

/// Makes a rename or a new name in the file's directory survive a power cut.
pub(crate) fn sync_directory(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// Renames a file that cannot be used to the first free name beside it.
pub(crate) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    for number in 1..=u32::MAX {
        let aside = path.with_extension(format!("unreadable-{number}"));
        if !aside.try_exists()? {
            std::fs::rename(path, &aside)?;
            sync_directory(path)?;
            return Ok(aside);
        }
    }
    Err(io::Error::other("no free name to set the journal aside"))
}

fn frame(payload: &[u8]) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "an entry above 512 MiB");
    if payload.len() > MAX_ENTRY {
        return Err(too_large());
    }
    let len = u32::try_from(payload.len())
        .map_err(|_| too_large())?
        .to_le_bytes();
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&len);
    frame.extend_from_slice(&checksum(len, payload).to_le_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

fn checksum(len: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    // The length is covered too: a run of zeros must not read as an empty entry.
    hasher.update(&len);
    hasher.update(payload);
    hasher.finalize()
}

/// Whole frames from the start, and where they end.
fn frames(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let mut entries = Vec::new();
    let mut at = MAGIC.len();
    while let Some(entry) = next_frame(bytes, at) {
        at += HEADER + entry.len();
        entries.push(entry.to_vec());
    }
    (entries, at)
}

fn next_frame(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let payload = rest.get(..size)?;
    (checksum(*len, payload) == u32::from_le_bytes(*sum)).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_whose_end_is_lost_takes_nothing_more() {
        let mut journal = Journal::on_a_full_disk();
        for _ in 0..2 {
            assert!(journal.append(b"entry", Durability::Process).is_err());
            assert!(journal.is_broken());
        }
    }

    #[test]
    fn a_journal_of_zeros_or_of_another_version_is_set_aside() {
        for bytes in [
            &[0; 4_096][..],
            b"NXSBRD2\nlater",
            b"NXSBRD0\nearlier",
            b"x",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("board.journal");
            std::fs::write(&path, bytes).unwrap();
            let loaded = Journal::load(&path).unwrap();
            assert!(loaded.entries.is_empty());
            assert_eq!(std::fs::read(&path).unwrap(), MAGIC);
            let aside = path.with_extension("unreadable-1");
            assert_eq!(std::fs::read(aside).unwrap(), bytes);
        }
    }
}
