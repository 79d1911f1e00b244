//! Facts of MP4 and QuickTime files, plain and fragmented.

use super::{Facts, MOST_SAMPLES, rate, seconds};
use crate::front::codec::be32;
use crate::front::mp4::{be64, boxes, child};

/// A track's samples as far as they are in the file.
#[derive(Default)]
struct Samples {
    count: u64,
    /// Their durations together, in the track's time scale.
    ticks: u64,
}

pub(super) fn facts(file: &[u8]) -> Option<Facts> {
    let moov = top(file, *b"moov")?;
    let mut video = None;
    let mut has_audio = false;
    for (_, _, trak) in boxes(moov, 0).filter(|found| &found.0 == b"trak") {
        let handler = child(trak, *b"mdia").and_then(|media| child(media, *b"hdlr"));
        match handler.and_then(|handler| handler.get(8..12)) {
            Some(b"vide") if video.is_none() => video = Some(trak),
            Some(b"soun") => {
                has_audio |= samples(file, moov, trak).is_some_and(|samples| samples.count > 0);
            }
            _ => {}
        }
    }
    let mut facts = Facts {
        has_audio: Some(has_audio),
        ..Facts::default()
    };
    let Some(trak) = video else {
        return Some(facts);
    };
    if let Some(samples) = samples(file, moov, trak) {
        facts.frames = Some(played(file, moov, trak).unwrap_or(samples.count));
        let whole = time_scale(trak).and_then(|scale| seconds(samples.ticks, scale));
        facts.fps = rate(samples.count, whole);
        facts.duration_sec = match (whole, shown(moov, trak)) {
            (Some(whole), Some(shown)) => Some(whole.min(shown)),
            (whole, _) => whole,
        };
    }
    Some(facts)
}

fn top(file: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    boxes(file, 0)
        .find(|found| found.0 == kind)
        .map(|found| found.2)
}

/// Ticks per second in `mdhd` or `mvhd`.
fn scale_of(header: &[u8]) -> Option<u64> {
    let at = if header.first() == Some(&1) { 20 } else { 12 };
    be32(header, at).map(u64::from)
}

fn time_scale(trak: &[u8]) -> Option<u64> {
    scale_of(child(child(trak, *b"mdia")?, *b"mdhd")?)
}

/// An entry of the edit list that shows something: when it begins, in the track's time scale, and how long it is, in the
/// movie's.
struct Edit {
    begin: i64,
    length: u64,
}

/// The edit list without its pauses; `None` when there is none or it says nothing.
fn edits(trak: &[u8]) -> Option<Vec<Edit>> {
    let list = child(child(trak, *b"edts")?, *b"elst")?;
    let wide = list.first() == Some(&1);
    let step = if wide { 20 } else { 12 };
    let mut edits = Vec::new();
    for entry in list
        .get(8..)?
        .chunks_exact(step)
        .take(be32(list, 4)? as usize)
    {
        let (length, begin) = if wide {
            (
                be64(entry, 0)?,
                i64::from_be_bytes(be64(entry, 8)?.to_be_bytes()),
            )
        } else {
            let begin = i32::from_be_bytes(be32(entry, 4)?.to_be_bytes());
            (u64::from(be32(entry, 0)?), i64::from(begin))
        };
        // -1 is a pause before the track begins.
        if begin >= 0 {
            edits.push(Edit { begin, length });
        }
    }
    Some(edits)
}

/// How long the edit list shows the track, seconds.
fn shown(moov: &[u8], trak: &[u8]) -> Option<f64> {
    let lengths = edits(trak)?.into_iter().map(|edit| edit.length);
    let ticks = lengths.fold(0u64, u64::saturating_add);
    let scale = scale_of(child(moov, *b"mvhd")?)?;
    seconds(ticks, scale).filter(|length| *length > 0.0)
}

/// Entries of an edit list that are followed.
const MOST_EDITS: usize = 16;

/// How many samples of the plain tables the edit list plays: those whose time of presentation lies inside one of its
/// entries. A cut that copies the stream keeps what comes before the cut back to a key frame, and hides it like this.
fn played(file: &[u8], moov: &[u8], trak: &[u8]) -> Option<u64> {
    let media = child(trak, *b"mdia")?;
    let table = child(child(media, *b"minf")?, *b"stbl")?;
    let count = present(file, table).filter(|count| *count > 0)?;
    let (track, movie) = (time_scale(trak)?, scale_of(child(moov, *b"mvhd")?)?);
    let edits = edits(trak)?;
    if edits.is_empty() || edits.len() > MOST_EDITS || movie == 0 {
        return None;
    }
    let spans = edits.into_iter().map(|edit| {
        let ticks = u128::from(edit.length) * u128::from(track);
        let ticks = (ticks + u128::from(movie) / 2) / u128::from(movie);
        let end = i64::try_from(ticks).ok()?.checked_add(edit.begin)?;
        Some((edit.begin, end))
    });
    let spans = spans.collect::<Option<Vec<_>>>()?;
    let mut durations = Runs::new(child(table, *b"stts")?)?;
    let mut offsets = child(table, *b"ctts").and_then(Runs::new);
    let (mut at, mut played) = (0i64, 0u64);
    for _ in 0..count {
        let offset = offsets.as_mut().and_then(Runs::next).unwrap_or(0);
        let offset = i32::from_be_bytes(offset.to_be_bytes());
        let shown = at.saturating_add(i64::from(offset));
        let inside = spans
            .iter()
            .filter(|(begin, end)| (*begin..*end).contains(&shown));
        played += inside.count() as u64;
        at = at.saturating_add(i64::from(durations.next()?));
    }
    (played > 0).then_some(played)
}

/// The values of a run-length table, one for each sample.
struct Runs<'a> {
    entries: std::slice::ChunksExact<'a, u8>,
    left: u32,
    value: u32,
}

impl<'a> Runs<'a> {
    fn new(table: &'a [u8]) -> Option<Self> {
        Some(Self {
            entries: table.get(8..)?.chunks_exact(8),
            left: 0,
            value: 0,
        })
    }

    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            let entry = self.entries.next()?;
            (self.left, self.value) = (be32(entry, 0)?, be32(entry, 4)?);
        }
        self.left -= 1;
        Some(self.value)
    }
}

fn samples(file: &[u8], moov: &[u8], trak: &[u8]) -> Option<Samples> {
    let media = child(trak, *b"mdia")?;
    let table = child(child(media, *b"minf")?, *b"stbl")?;
    let in_table = table_samples(file, table).unwrap_or_default();
    if in_table.count > 0 {
        return Some(in_table);
    }
    let head = child(trak, *b"tkhd")?;
    let id = be32(head, if head.first() == Some(&1) { 20 } else { 12 })?;
    Some(fragments(file, moov, id))
}

/// Samples of the plain tables, up to the first that is not in the file.
fn table_samples(file: &[u8], table: &[u8]) -> Option<Samples> {
    let count = present(file, table)?;
    let times = child(table, *b"stts")?;
    let mut ticks = 0u64;
    let mut left = count;
    for entry in times.get(8..)?.chunks_exact(8) {
        let run = u64::from(be32(entry, 0)?).min(left);
        ticks = ticks.saturating_add(run.saturating_mul(u64::from(be32(entry, 4)?)));
        left -= run;
    }
    Some(Samples { count, ticks })
}

/// How many samples, from the first on, have all their bytes in the file.
fn present(file: &[u8], table: &[u8]) -> Option<u64> {
    let sizes = child(table, *b"stsz")?;
    let (fixed, total) = (be32(sizes, 4)?, u64::from(be32(sizes, 8)?));
    let (wide, chunks) = match child(table, *b"stco") {
        Some(chunks) => (false, chunks),
        None => (true, child(table, *b"co64")?),
    };
    let runs = child(table, *b"stsc")?;
    let run_count = be32(runs, 4)? as usize;
    let (mut count, mut run) = (0u64, 0usize);
    for chunk in 0..be32(chunks, 4)? as usize {
        while run + 1 < run_count && be32(runs, 8 + 12 * (run + 1))? as usize <= chunk + 1 {
            run += 1;
        }
        let mut at = if wide {
            be64(chunks, 8 + 8 * chunk)?
        } else {
            u64::from(be32(chunks, 8 + 4 * chunk)?)
        };
        for _ in 0..be32(runs, 8 + 12 * run + 4)? {
            if count >= total.min(MOST_SAMPLES) {
                return Some(count);
            }
            let size = if fixed > 0 {
                fixed
            } else {
                be32(sizes, 12 + 4 * usize::try_from(count).ok()?)?
            };
            at = at.saturating_add(u64::from(size));
            if at > file.len() as u64 {
                return Some(count);
            }
            count += 1;
        }
    }
    Some(count)
}

/// Samples of all fragments of a track.
fn fragments(file: &[u8], moov: &[u8], track: u32) -> Samples {
    let defaults = child(moov, *b"mvex").and_then(|extends| {
        let mut all = boxes(extends, 0).filter(|found| &found.0 == b"trex");
        all.find(|(_, _, trex)| be32(trex, 4) == Some(track))
    });
    let duration = defaults.and_then(|(_, _, trex)| be32(trex, 12));
    let size = defaults.and_then(|(_, _, trex)| be32(trex, 16));
    let defaults = Defaults {
        duration: duration.unwrap_or(0),
        size: size.unwrap_or(0),
    };
    let mut samples = Samples::default();
    for (_, start, moof) in boxes(file, 0).filter(|found| &found.0 == b"moof") {
        let moof_at = start.saturating_sub(8) as u64;
        for (_, _, traf) in boxes(moof, 0).filter(|found| &found.0 == b"traf") {
            if fragment(file, traf, moof_at, track, defaults, &mut samples).is_none() {
                return samples;
            }
        }
    }
    samples
}

/// What holds for samples of which nothing is said.
#[derive(Clone, Copy)]
struct Defaults {
    duration: u32,
    size: u32,
}

/// The next field of a box, when its flag says that it is there.
fn field(bytes: &[u8], at: &mut usize, there: bool) -> Option<Option<u32>> {
    if !there {
        return Some(None);
    }
    let value = be32(bytes, *at)?;
    *at += 4;
    Some(Some(value))
}

/// Adds one fragment's samples; `None` at the first that is not in the file, or when the box makes no sense.
fn fragment(
    file: &[u8],
    traf: &[u8],
    moof_at: u64,
    track: u32,
    defaults: Defaults,
    samples: &mut Samples,
) -> Option<()> {
    let head = child(traf, *b"tfhd")?;
    if be32(head, 4)? != track {
        return Some(());
    }
    let flags = be32(head, 0)?;
    let mut at = 8;
    let mut place = moof_at;
    if flags & 1 != 0 {
        place = be64(head, at)?;
        at += 8;
    }
    field(head, &mut at, flags & 2 != 0)?;
    let duration = field(head, &mut at, flags & 8 != 0)?.unwrap_or(defaults.duration);
    let size = field(head, &mut at, flags & 0x10 != 0)?.unwrap_or(defaults.size);
    let base = place;
    for (_, _, run) in boxes(traf, 0).filter(|found| &found.0 == b"trun") {
        let flags = be32(run, 0)?;
        let mut at = 8;
        if let Some(offset) = field(run, &mut at, flags & 1 != 0)? {
            let offset = i32::from_be_bytes(offset.to_be_bytes());
            place = base.checked_add_signed(i64::from(offset))?;
        }
        field(run, &mut at, flags & 4 != 0)?;
        for _ in 0..be32(run, 4)? {
            let duration = field(run, &mut at, flags & 0x100 != 0)?.unwrap_or(duration);
            let size = field(run, &mut at, flags & 0x200 != 0)?.unwrap_or(size);
            field(run, &mut at, flags & 0x400 != 0)?;
            field(run, &mut at, flags & 0x800 != 0)?;
            place = place.checked_add(u64::from(size))?;
            if place > file.len() as u64 || samples.count >= MOST_SAMPLES {
                return None;
            }
            samples.count += 1;
            samples.ticks = samples.ticks.saturating_add(u64::from(duration));
        }
    }
    Some(())
}
