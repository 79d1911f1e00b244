//! Bytes on queue and board: four bytes of magic and version, one of kind, then postcard under zstd.

use crate::{WireVersion, v2};
use nexis_protocol::budget;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::cell::RefCell;
use std::io::Read;
use std::marker::PhantomData;
use zstd::bulk::{Compressor, Decompressor};

/// First bytes of everything we send.
const MAGIC: &[u8; 3] = b"NXS";
/// Where the version stands.
const VERSION_AT: usize = MAGIC.len();
/// Bytes before the compressed contents: mark, version, kind.
const HEAD: usize = 5;
/// Up to this size a message is compressed in a context that its thread keeps, and without the tables of an entropy
/// coder. Jobs and verdicts are some hundred bytes, thousands of them a second: setting up a context and building the
/// tables costs more than all the rest of the work on them.
const SMALL_BYTES: usize = 4 << 10;
/// Negative: repetitions only, and a job has many.
const SMALL_LEVEL: i32 = -1;
/// Level 1: reports are dominated by digests, which do not shrink at any level.
const LEVEL: i32 = 1;

thread_local! {
    static COMPRESSOR: RefCell<Compressor<'static>> = RefCell::new(compressor());
    static DECOMPRESSOR: RefCell<Decompressor<'static>> = RefCell::new(
        Decompressor::new().expect("a fresh context has the memory it needs"),
    );
}

fn compressor() -> Compressor<'static> {
    let mut fresh = Compressor::new(SMALL_LEVEL).expect("a fresh context has the memory it needs");
    fresh
        .include_checksum(true)
        .expect("set before the first byte");
    fresh
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A miner job.
    MinerJob = 1,
    /// Its report.
    MinerReport = 2,
    /// A clip job.
    ClipJob = 3,
    /// Its verdict.
    ClipVerdict = 4,
    /// The plan a round is opened with.
    RoundPlan = 5,
    /// The plan of a round's clip stage.
    ClipPlan = 6,
    /// Rows of a report, decoded only where they are needed.
    Rows = 7,
    /// Everything a round saw, for replay.
    Evidence = 8,
    /// The same, without what belongs to one miner.
    EvidenceHead = 9,
    /// What belongs to one miner.
    MinerEvidence = 10,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::MinerJob,
        Self::MinerReport,
        Self::ClipJob,
        Self::ClipVerdict,
        Self::RoundPlan,
        Self::ClipPlan,
        Self::Rows,
        Self::Evidence,
        Self::EvidenceHead,
        Self::MinerEvidence,
    ];

    /// Largest contents that are read. More is an attack or a bug, and would cost the reader its memory.
    pub const fn max_bytes(self, version: WireVersion) -> u64 {
        match (version, self) {
            (WireVersion::V2, _) => v2::MAX_DECODED_BYTES,
            (_, Self::MinerJob | Self::ClipJob) => budget::MAX_JOB_BYTES,
            (_, Self::MinerReport) => budget::MAX_REPORT_BYTES,
            (_, Self::ClipVerdict) => budget::MAX_VERDICT_BYTES,
            (_, Self::Rows) => budget::MAX_ROWS_BYTES,
            (_, Self::RoundPlan | Self::ClipPlan | Self::EvidenceHead) => budget::MAX_PLAN_BYTES,
            (_, Self::Evidence | Self::MinerEvidence) => budget::MAX_EVIDENCE_BYTES,
        }
    }
}

/// Why bytes are not a message for us.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// No magic: somebody else's message.
    #[error("foreign message: it does not start with the Nexis mark")]
    Foreign,
    /// Written by a newer program.
    #[error(
        "wire version {theirs} is newer than ours ({ours}): update this program before it reads from this queue"
    )]
    Newer {
        /// Version in the message.
        theirs: u8,
        /// Version we read.
        ours: u8,
    },
    /// Written by an older program, in a shape that this one no longer reads.
    #[error(
        "wire version {theirs} is older than ours ({ours}): the program that wrote it reads it"
    )]
    Older {
        /// Version in the message.
        theirs: u8,
        /// Version we read.
        ours: u8,
    },
    /// Ours, but not what was expected here.
    #[error("unexpected kind of message: {0}")]
    WrongKind(u8),
    /// Ours by its mark, but damaged.
    #[error("damaged message: {0}")]
    Damaged(&'static str),
    /// It would be written, but never read again.
    #[error("a message of {bytes} bytes is larger than the {most} that are read")]
    TooLarge {
        /// Its contents.
        bytes: u64,
        /// The bound of its kind.
        most: u64,
    },
}

impl WireError {
    /// A stable short name for dead-letter reasons and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Newer { .. } => "wire-version-newer",
            Self::Older { .. } => "wire-version-older",
            Self::WrongKind(_) => "wrong-kind",
            Self::Damaged(_) => "damaged",
            Self::TooLarge { .. } => "too-large",
        }
    }
}

/// A shape that has its own kind.
pub trait Wire: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: Kind;
    /// Its shape in version 2.
    type V2: DeserializeOwned + Into<Self>;

    /// To bytes of the current version, whatever their size.
    fn encode(&self) -> Vec<u8> {
        wrap(WireVersion::CURRENT, Self::KIND, &contents(self))
    }

    /// To bytes that are sure to be read again.
    ///
    /// # Errors
    /// It is larger than what is read.
    fn encode_checked(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        wrap_checked(WireVersion::CURRENT, Self::KIND, self)
    }

    /// From bytes of any version that we read.
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Self::decode_versioned(bytes).map(|(value, _)| value)
    }

    /// The same, with the version that it was written in.
    fn decode_versioned(bytes: &[u8]) -> Result<(Self, WireVersion), WireError> {
        let (version, body) = opened(Self::KIND, bytes)?;
        let plain = decompress(body, Self::KIND.max_bytes(version))?;
        let value = match version {
            WireVersion::V2 => read::<Self::V2>(&plain)?.into(),
            WireVersion::V3 => read(&plain)?,
        };
        Ok((value, version))
    }

    /// Whether messages inside of this one will be read again.
    fn check(&self) -> Result<(), WireError> {
        Ok(())
    }
}

/// The answer to a job, written in the version of the job: whoever asked may be older than we are.
pub trait Report: Wire
where
    Self::V2: Serialize + for<'a> From<&'a Self>,
{
    /// To bytes of a version, sure to be read again.
    ///
    /// # Errors
    /// It is larger than what readers of that version read.
    fn encode_as(&self, version: WireVersion) -> Result<Vec<u8>, WireError> {
        match version {
            WireVersion::V2 => {
                self.check()?;
                wrap_checked(version, Self::KIND, &Self::V2::from(self))
            }
            WireVersion::V3 => self.encode_checked(),
        }
    }
}

/// The shape, in an older version, of what that version did not have: no bytes are one.
#[derive(Deserialize)]
#[serde(try_from = "()")]
pub struct Unwritten<T>(std::convert::Infallible, PhantomData<T>);

impl<T> TryFrom<()> for Unwritten<T> {
    type Error = &'static str;
    fn try_from((): ()) -> Result<Self, Self::Error> {
        Err("this kind of message is younger than its version")
    }
}

macro_rules! unwritten {
    ($($shape:ty),+) => {$(
        impl From<Unwritten<$shape>> for $shape {
            fn from(none: Unwritten<$shape>) -> Self {
                match none.0 {}
            }
        }
    )+};
}

unwritten!(crate::EvidenceHead, crate::MinerEvidence);

fn contents<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value)
        .expect("our shapes have known lengths and hold no foreign serializers")
}

fn wrap(version: WireVersion, kind: Kind, plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + zstd::zstd_safe::compress_bound(plain.len()));
    bytes.extend_from_slice(MAGIC);
    bytes.push(version.number());
    bytes.push(kind as u8);
    compress(plain, &mut bytes);
    bytes.shrink_to_fit();
    bytes
}

fn wrap_checked<T: Serialize>(
    version: WireVersion,
    kind: Kind,
    value: &T,
) -> Result<Vec<u8>, WireError> {
    let plain = contents(value);
    within(version, kind, plain.len() as u64)?;
    Ok(wrap(version, kind, &plain))
}

fn within(version: WireVersion, kind: Kind, bytes: u64) -> Result<(), WireError> {
    let most = kind.max_bytes(version);
    if bytes > most {
        return Err(WireError::TooLarge { bytes, most });
    }
    Ok(())
}

/// Whether a message of ours, as it was written, has a size that is read.
pub(crate) fn check_size(kind: Kind, bytes: &[u8]) -> Result<(), WireError> {
    let (version, body) = opened(kind, bytes)?;
    match zstd::zstd_safe::get_frame_content_size(body) {
        Ok(Some(size)) => within(version, kind, size),
        _ => Err(WireError::Damaged("compression")),
    }
}

/// Changes the version of a message of ours.
pub(crate) fn relabel(bytes: &mut [u8], version: WireVersion) {
    if let Some(at) = bytes.get_mut(VERSION_AT) {
        *at = version.number();
    }
}

/// Appends a frame with its size and a checksum: a flipped bit in stored evidence is an error, also where no decision
/// depends on it.
fn compress(plain: &[u8], bytes: &mut Vec<u8>) {
    if plain.len() <= SMALL_BYTES {
        let mut frame = std::io::Cursor::new(&mut *bytes);
        frame.set_position(HEAD as u64);
        COMPRESSOR
            .with_borrow_mut(|kept| kept.compress_to_buffer(plain, &mut frame))
            .expect("the buffer has room for any contents of this size");
        return;
    }
    let mut encoder = zstd::stream::write::Encoder::new(bytes, LEVEL)
        .expect("a fresh encoder has the memory it needs");
    encoder
        .include_checksum(true)
        .expect("set before the first byte");
    encoder
        .set_pledged_src_size(Some(plain.len() as u64))
        .expect("set before the first byte");
    std::io::Write::write_all(&mut encoder, plain).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail");
}

/// The contents of a frame, which may claim anything.
fn decompress(frame: &[u8], most: u64) -> Result<Vec<u8>, WireError> {
    const BAD: WireError = WireError::Damaged("compression");
    if let Ok(Some(size)) = zstd::zstd_safe::get_frame_content_size(frame)
        && let Ok(size) = usize::try_from(size)
        && size <= SMALL_BYTES
    {
        let contents = DECOMPRESSOR.with_borrow_mut(|kept| kept.decompress(frame, size));
        return contents.map_err(|_| BAD);
    }
    let mut plain = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(frame).map_err(|_| BAD)?;
    let mut limited = decoder.take(most + 1);
    limited.read_to_end(&mut plain).map_err(|_| BAD)?;
    if plain.len() as u64 > most {
        return Err(WireError::Damaged("larger than any message may be"));
    }
    Ok(plain)
}

/// Version and compressed contents of a message of this kind.
fn opened(kind: Kind, bytes: &[u8]) -> Result<(WireVersion, &[u8]), WireError> {
    const SHORT: WireError = WireError::Damaged("it ends in its mark");
    let rest = bytes.strip_prefix(MAGIC).ok_or(WireError::Foreign)?;
    let (&theirs, rest) = rest.split_first().ok_or(SHORT)?;
    let ours = WireVersion::CURRENT.number();
    let version = match WireVersion::of(theirs) {
        Some(version) => version,
        None if theirs > ours => return Err(WireError::Newer { theirs, ours }),
        None if theirs == 0 => return Err(WireError::Damaged("version")),
        None => return Err(WireError::Older { theirs, ours }),
    };
    let (&found, body) = rest.split_first().ok_or(SHORT)?;
    if found != kind as u8 {
        return Err(WireError::WrongKind(found));
    }
    Ok((version, body))
}

fn read<T: DeserializeOwned>(plain: &[u8]) -> Result<T, WireError> {
    let (value, rest) =
        postcard::take_from_bytes(plain).map_err(|_| WireError::Damaged("contents"))?;
    if !rest.is_empty() {
        return Err(WireError::Damaged("bytes after its end"));
    }
    Ok(value)
}
