//! What must hold for any bytes, one function for each kind of input that other people choose.
//!
//! The fuzz targets call these; so does a test of the workspace, over the corpus and seeded damage of it.

use nexis_dataset::Limits;
use nexis_protocol::manifest::Manifest;
use nexis_protocol::profile::Profile;
use nexis_protocol::record_info::RecordIndex;
use nexis_wire::{
    ClipJob, ClipPlan, ClipReport, Evidence, EvidenceHead, Kind, MinerEvidence, MinerJob,
    MinerReport, RoundPlan, Wire, WireVersion,
};

/// Name, as of the folder of its corpus, and function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 5] = [
    ("clip", clip),
    ("manifest", manifest),
    ("dataset", dataset),
    ("record_info", record_info),
    ("wire", wire),
];

/// What safe Rust reads of a clip: whether it is an ordinary one, and what its container says. Sizes are sane, and the
/// same again; facts are numbers. (The demuxers in C are fuzzed where they run, in the sandbox: the test `mutants`.)
pub fn clip(bytes: &[u8]) {
    let facts = nexis_media::facts(bytes);
    for number in [facts.duration_sec, facts.fps].into_iter().flatten() {
        assert!(number.is_finite() && number >= 0.0);
    }
    let Some(found) = nexis_media::settled(bytes) else {
        return;
    };
    assert!((16..=8192).contains(&found.width) && (16..=8192).contains(&found.height));
    let again = nexis_media::settled(bytes);
    assert_eq!(again, Some(found), "the answer depends on the bytes alone");
}

/// A manifest is read or refused.
pub fn manifest(bytes: &[u8]) {
    if let Err(refused) = Manifest::parse(bytes) {
        assert!(!refused.to_string().is_empty(), "a refusal says why");
    }
}

/// A data set is read within its limits or refused.
pub fn dataset(bytes: &[u8]) {
    let profile = Profile::by_name("readme").expect("a profile of ours");
    let limits = Limits::default();
    match nexis_dataset::read(bytes, &limits, &profile) {
        Ok(rows) => assert!(rows.len() <= limits.rows),
        Err(refused) => assert!(!refused.to_string().is_empty(), "a refusal says why"),
    }
}

/// An index that was read and merged, as every writer does, is written in a form that is read again. A key may be another
/// one then (a made key with an `&` in its id ends there), as it is for every other validator: two keys may become one.
pub fn record_info(bytes: &[u8]) {
    let Ok(mut index) = RecordIndex::parse(bytes) else {
        return;
    };
    index.merge([]).expect("nothing to refuse");
    let again = RecordIndex::parse(index.serialize().as_bytes()).expect("we read what we write");
    assert!(again.len() <= index.len());
}

/// Messages: the bytes as they are, and, since nobody guesses a checksum, as the content of an intact envelope.
pub fn wire(bytes: &[u8]) {
    read_as_any(bytes);
    let Some((kind, content)) = bytes.split_first() else {
        return;
    };
    let packed = zstd::encode_all(content, 1).expect("writing to memory does not fail");
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    for version in WireVersion::ALL {
        let mut whole = [b"NXS", &[version.number(), kind as u8][..]].concat();
        whole.extend(&packed);
        read_as_any(&whole);
    }
}

fn read_as_any(bytes: &[u8]) {
    read_back::<MinerJob>(bytes);
    read_back::<MinerReport>(bytes);
    read_back::<ClipJob>(bytes);
    read_back::<ClipReport>(bytes);
    read_back::<RoundPlan>(bytes);
    read_back::<ClipPlan>(bytes);
    read_back::<Evidence>(bytes);
    read_back::<EvidenceHead>(bytes);
    read_back::<MinerEvidence>(bytes);
}

/// What was read is written and read again.
fn read_back<T: Wire>(bytes: &[u8]) {
    if let Ok(message) = T::decode(bytes) {
        // What an older version admitted may be more than fits into this one.
        if let Ok(written) = message.encode_checked() {
            assert!(T::decode(&written).is_ok(), "we read what we write");
        }
    }
}
