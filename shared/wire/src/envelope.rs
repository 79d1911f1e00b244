//! Bytes on queue and board: four bytes of magic and version, one of kind, then postcard under zstd.

use serde::{Serialize, de::DeserializeOwned};
use std::cell::RefCell;
use std::io::Read;
use zstd::bulk::{Compressor, Decompressor};

/// First bytes of everything we send.
const MAGIC: &[u8; 3] = b"NXS";
/// Version of the shapes in this crate. Grows with each change that an older reader cannot read.
pub const WIRE_VERSION: u8 = 2;
/// Bytes before the compressed contents: mark, version, kind.
const HEAD: usize = 5;
/// Largest decoded message. 5,000 rows of the longest honest captions stay far below; more is an attack
/// or a bug, and would cost the scheduler its memory.
pub const MAX_DECODED_BYTES: u64 = 256 << 20;
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
        }
    }
}

/// A shape that has its own kind.
pub trait Wire: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: Kind;

    /// To bytes.
    fn encode(&self) -> Vec<u8> {
        encode(Self::KIND, self)
    }

    /// From bytes.
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(Self::KIND, bytes)
    }
}

fn encode<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    let plain = postcard::to_stdvec(value)
        .expect("our shapes have known lengths and hold no foreign serializers");
    let mut bytes = Vec::with_capacity(HEAD + zstd::zstd_safe::compress_bound(plain.len()));
    bytes.extend_from_slice(MAGIC);
    bytes.push(WIRE_VERSION);
    bytes.push(kind as u8);
    compress(&plain, &mut bytes);
    bytes.shrink_to_fit();
    bytes
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
fn decompress(frame: &[u8]) -> Result<Vec<u8>, WireError> {
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
    let mut limited = decoder.take(MAX_DECODED_BYTES + 1);
    limited.read_to_end(&mut plain).map_err(|_| BAD)?;
    if plain.len() as u64 > MAX_DECODED_BYTES {
        return Err(WireError::Damaged("larger than any message may be"));
    }
    Ok(plain)
}

fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, WireError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(WireError::Foreign)?;
    let (&version, rest) = rest
        .split_first()
        .ok_or(WireError::Damaged("it ends in its mark"))?;
    if version > WIRE_VERSION {
        return Err(WireError::Newer {
            theirs: version,
            ours: WIRE_VERSION,
        });
    }
    if version == 0 {
        return Err(WireError::Damaged("version"));
    }
    if version < WIRE_VERSION {
        return Err(WireError::Older {
            theirs: version,
            ours: WIRE_VERSION,
        });
    }
    let (&found, body) = rest
        .split_first()
        .ok_or(WireError::Damaged("it ends in its mark"))?;
    if found != kind as u8 {
        return Err(WireError::WrongKind(found));
    }
    let plain = decompress(body)?;
    let (value, rest) =
        postcard::take_from_bytes(&plain).map_err(|_| WireError::Damaged("contents"))?;
    if !rest.is_empty() {
        return Err(WireError::Damaged("bytes after its end"));
    }
    Ok(value)
}
