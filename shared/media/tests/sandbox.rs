//! Clips that attack their decoder cost only themselves; all others read as in this process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nexis_media::{
    Asked, Budget, Landlock, PLUGINS, Pool, PoolOptions, Undecodable, frames, probe,
};
use nexis_protocol::picture::{PictureChecks, Sight};

/// What probing may take here.
const TIME: Duration = Duration::from_secs(20);

fn options(permits: usize) -> PoolOptions {
    PoolOptions {
        program: Some(PathBuf::from(env!("CARGO_BIN_EXE_nexis-media-child"))),
        large_address_space: 5 << 29,
        ..PoolOptions::new(permits)
    }
}

fn golden(names: &[&str]) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/corpus");
    let mut clips = Vec::new();
    for bucket in fs::read_dir(root).unwrap().flatten() {
        for interval in fs::read_dir(bucket.path()).unwrap().flatten() {
            for clip in fs::read_dir(interval.path().join("clips"))
                .into_iter()
                .flatten()
            {
                let path = clip.unwrap().path();
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                let wanted = names.contains(&&*name);
                if wanted && !clips.iter().any(|(known, _)| *known == name) {
                    clips.push((name, fs::read(path).unwrap()));
                }
            }
        }
    }
    assert_eq!(clips.len(), names.len(), "the golden clips are there");
    clips
}

fn good_clip() -> Vec<u8> {
    golden(&["tiny"]).remove(0).1
}

/// The clip's child dies in the way expected, and a good clip right after reads well.
fn survives(pool: &Pool, order: &str, expected: impl Fn(&Undecodable) -> bool) {
    let before = pool.replaced();
    let clip = format!("hostile {order}").into_bytes();
    let look = pool.look(&clip, 6, Budget::default()).unwrap();
    let fault = look.size.unwrap_err();
    assert!(expected(&fault), "{order}: {fault:?}");
    assert_eq!(
        pool.replaced(),
        before + 1,
        "{order}: its child is replaced"
    );
    assert_fine(pool);
}

fn assert_fine(pool: &Pool) {
    let look = pool.look(&good_clip(), 6, Budget::default()).unwrap();
    assert!(look.size.is_ok(), "{:?}", look.size);
    assert_eq!(look.pictures.unwrap().len(), 6);
}

#[test]
fn golden_clips_read_in_a_child_as_in_this_process() {
    let names = [
        "tiny",
        "base_b",
        "h264_10fps",
        "h264_high10",
        "frag_keyframe",
        "mkv_as_mp4",
        "mpeg4_sp",
        "no_audio",
        "vfr",
    ];
    let pool = Pool::start(options(2)).unwrap();
    for (name, clip) in golden(&names) {
        let look = pool.look(&clip, 6, Budget::default()).unwrap();
        assert_eq!(look.size.unwrap(), probe(&clip, TIME).unwrap(), "{name}");
        let here = frames(&clip, 6, Budget::default()).unwrap();
        assert_eq!(look.pictures.unwrap(), here, "{name}");
        let cut = &clip[..clip.len() / 2];
        let look = pool.look(cut, 0, Budget::default()).unwrap();
        assert_eq!(look.size.ok(), probe(cut, TIME).ok(), "{name} cut in half");
        assert!(
            look.pictures.unwrap().is_empty(),
            "no pictures were asked for"
        );
    }
    assert_eq!(pool.replaced(), 0);
}

#[test]
fn junk_is_an_ordinary_answer_and_costs_no_child() {
    let pool = Pool::start(options(1)).unwrap();
    for clip in [
        &b""[..],
        b"no clip",
        &[0; 4096],
        b"RIFF\0\0\0\0AVI LIST",
        b"FLV\x01\x05",
    ] {
        let began = Instant::now();
        let look = pool.look(clip, 6, Budget::default()).unwrap();
        // A demuxer that gives up without a word used to hold its place for 20 s.
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?} for junk");
        assert!(
            matches!(look.size, Err(Undecodable::Refused(_))),
            "{:?}",
            look.size
        );
        assert!(matches!(look.pictures, Err(Undecodable::Refused(_))));
    }
    assert_eq!(pool.replaced(), 0);
    assert_fine(&pool);
}

#[test]
fn nothing_is_decoded_when_no_pictures_are_wanted() {
    let pool = Pool::start(options(1)).unwrap();
    let clip = good_clip();
    let no_pixel = Budget {
        pixels: 0,
        ..Budget::default()
    };
    let look = pool.look(&clip, 0, no_pixel).unwrap();
    assert!(look.size.is_ok() && look.pictures.unwrap().is_empty());
    // With the same budget the first picture decoded is too large.
    let look = pool.look(&clip, 1, no_pixel).unwrap();
    assert!(look.size.is_ok() && look.pictures.is_err());
}

#[test]
fn every_layer_holds_on_this_kernel_and_only_listed_plugins_are_loaded() {
    let pool = Pool::start(options(1)).unwrap();
    let isolation = pool.isolation();
    assert!(
        isolation.no_new_privs && isolation.seccomp && isolation.rlimits,
        "{isolation:?}"
    );
    assert_eq!(isolation.landlock, Landlock::Full, "{isolation:?}");
    assert!(isolation.is_whole());
    assert!(pool.plugins().len() >= 10);
    for plugin in pool.plugins() {
        assert!(
            PLUGINS.contains(&&**plugin),
            "{plugin} is loaded and not listed"
        );
    }
}

#[test]
fn a_child_that_crashes_costs_only_its_clip() {
    let pool = Pool::start(options(1)).unwrap();
    survives(&pool, "abort", |fault| *fault == Undecodable::Died(6));
    survives(&pool, "panic", |fault| *fault == Undecodable::GaveUp);
    survives(&pool, "deep", |fault| {
        matches!(fault, Undecodable::Died(6 | 11))
    });
}

#[test]
fn a_first_frame_that_takes_the_child_down_costs_only_what_it_would_have_shown() {
    let pool = Pool::start(options(1)).unwrap();
    let look = pool
        .look_at(Asked {
            clip: &good_clip(),
            asset: Some(b"hostile abort"),
            pictures: 6,
            sight: PictureChecks::First,
            budget: Budget::default(),
        })
        .unwrap();
    assert!(look.size.is_ok(), "{:?}", look.size);
    assert_eq!(look.pictures.unwrap().len(), 6);
    assert_eq!(look.seen.sampled.len(), 6, "they were decoded anyway");
    assert!(look.seen.first.mark().is_some());
    assert_eq!(look.seen.asset, Sight::Undecodable);
    assert_eq!(look.lost, Some(Undecodable::Died(6)));
    assert_eq!(pool.replaced(), 1);
    assert_fine(&pool);
}

/// What went before must not decide about a clip: other validators' children looked at other clips.
#[test]
fn a_clip_whose_child_dies_of_what_others_left_behind_is_looked_at_in_a_fresh_one() {
    let pool = Pool::start(options(1)).unwrap();
    assert_fine(&pool);
    let look = pool.look(b"hostile lingering", 0, Budget::default());
    let look = look.unwrap();
    assert!(
        matches!(look.size, Err(Undecodable::Refused(_))),
        "{:?}",
        look.size
    );
    assert_eq!((look.lost, pool.replaced()), (None, 1));
    assert_fine(&pool);
}

/// Safe Rust has settled it before.
#[test]
fn an_ordinary_clip_has_its_size_whatever_becomes_of_its_child() {
    let pool = Pool::start(PoolOptions {
        wall: Duration::ZERO,
        ..options(1)
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/clip");
    let clip = fs::read(folder.join("ordinary.mp4")).unwrap();
    let look = pool.unwrap().look(&clip, 0, Budget::default()).unwrap();
    assert_eq!(look.lost, Some(Undecodable::Deadline));
    assert_eq!(look.size.unwrap(), probe(&clip, TIME).unwrap());
}

/// Found by a fleet and `nexis validate` that told different things of good clips: a call that was denied made each
/// decoded clip stay in its child, 3 MB at a time, until that died.
#[test]
fn a_child_looks_at_many_clips_in_little_memory() {
    let pool = Pool::start(PoolOptions {
        address_space: 512 << 20,
        ..options(1)
    })
    .unwrap();
    let clips = golden(&["h264_main"]);
    for number in 0..100 {
        let look = pool.look_at(Asked {
            clip: &clips[0].1,
            asset: None,
            pictures: 0,
            sight: PictureChecks::First,
            budget: Budget::default(),
        });
        let look = look.unwrap();
        assert_eq!((look.lost, pool.replaced()), (None, 0), "clip {number}");
        assert!(look.seen.first.mark().is_some(), "clip {number}");
    }
}

#[test]
fn a_child_that_hogs_memory_is_stopped_at_its_bound() {
    let pool = Pool::start(PoolOptions {
        address_space: 1 << 30,
        large_address_space: 3 << 29,
        ..options(1)
    })
    .unwrap();
    survives(&pool, "hog", |fault| *fault == Undecodable::Died(6));
}

#[test]
fn a_child_that_talks_nonsense_is_not_believed() {
    let pool = Pool::start(options(1)).unwrap();
    survives(&pool, "garbage", |fault| *fault == Undecodable::Nonsense);
    survives(&pool, "endless", |fault| *fault == Undecodable::Nonsense);
}

#[test]
fn a_child_that_hangs_is_ended_at_the_deadline_and_others_work_on() {
    let wall = Duration::from_secs(3);
    let pool = Pool::start(PoolOptions { wall, ..options(2) }).unwrap();
    let began = Instant::now();
    let hung = std::thread::spawn({
        let pool = pool.clone();
        move || pool.look(b"hostile sleep", 0, Budget::default())
    });
    let mut meanwhile = 0;
    while !hung.is_finished() {
        assert_fine(&pool);
        meanwhile += 1;
    }
    let look = hung.join().unwrap().unwrap();
    assert_eq!(look.size, Err(Undecodable::Deadline));
    assert!(
        meanwhile > 1,
        "the other child worked on: {meanwhile} clips"
    );
    assert!(began.elapsed() >= wall);
    assert_fine(&pool);
}

#[test]
fn a_child_that_burns_cpu_is_ended_by_its_cpu_bound() {
    let cpu = Duration::from_secs(1);
    let pool = Pool::start(PoolOptions { cpu, ..options(1) }).unwrap();
    survives(&pool, "loop", |fault| *fault == Undecodable::Died(24));
}

/// With `order` denied the child answers that the bytes are no clip; let through, it would have aborted.
fn denied(pool: &Pool, order: &str) {
    let clip = format!("hostile {order}").into_bytes();
    let look = pool.look(&clip, 0, Budget::default()).unwrap();
    let refused = matches!(look.size, Err(Undecodable::Refused(_)));
    assert!(refused, "{order} was let through: {:?}", look.size);
}

#[test]
fn a_child_can_open_nothing_connect_nowhere_and_run_nothing() {
    let pool = Pool::start(options(1)).unwrap();
    for order in [
        "open",
        "create",
        "list",
        "tcp",
        "udp",
        "unix",
        "run",
        "environment",
        "signals",
    ] {
        denied(&pool, order);
    }
    assert_eq!(pool.replaced(), 0);
    assert_fine(&pool);
}

#[test]
fn each_of_the_two_walls_around_files_holds_alone() {
    for missing in ["without-seccomp", "without-landlock"] {
        let arguments = vec![missing.into()];
        let pool = Pool::start(PoolOptions {
            arguments,
            ..options(1)
        })
        .unwrap();
        assert!(!pool.isolation().is_whole(), "a missing layer is reported");
        for order in ["open", "create", "list", "tcp", "run"] {
            denied(&pool, order);
        }
        assert_fine(&pool);
    }
}

#[test]
fn a_child_is_replaced_after_its_share_of_clips() {
    let pool = Pool::start(PoolOptions {
        clips_per_child: 2,
        ..options(1)
    })
    .unwrap();
    for _ in 0..5 {
        assert_fine(&pool);
    }
    assert_eq!(pool.replaced(), 0, "no clip is to blame");
}

#[test]
fn a_program_that_is_no_decoder_is_told_at_the_start() {
    let program = Some(PathBuf::from("/bin/true"));
    let error = Pool::start(PoolOptions {
        program,
        ..options(1)
    })
    .unwrap_err();
    assert!(error.to_string().contains("child_main"), "{error}");
}

/// Clips that once took a child down: each may do so again, and has no size then, as it has none for ffprobe.
#[test]
fn clips_that_once_took_a_child_down_cost_only_themselves() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/killers");
    let pool = Pool::start(options(1)).unwrap();
    for (number, entry) in (1..).zip(fs::read_dir(folder).unwrap()) {
        let path = entry.unwrap().path();
        let look = pool.look(&fs::read(&path).unwrap(), 0, Budget::default());
        let size = look.unwrap().size;
        assert!(size.is_err(), "{}: {size:?}", path.display());
        assert!(pool.replaced() <= number, "a clip costs one child at most");
        assert_fine(&pool);
    }
}

/// Playlists that name `target`, of every kind that libavformat follows.
fn playlists(target: &str) -> Vec<(&'static str, String)> {
    vec![
        (
            "hls",
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{target}\n#EXT-X-ENDLIST\n"),
        ),
        ("concat", format!("ffconcat version 1.0\nfile '{target}'\n")),
        (
            "dash",
            format!(
                "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
                 profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\" mediaPresentationDuration=\"PT5S\"><Period>\
                 <AdaptationSet mimeType=\"video/mp4\"><Representation id=\"1\" bandwidth=\"1\" width=\"1280\" \
                 height=\"720\"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>\n"
            ),
        ),
        (
            "asx",
            format!("<ASX version=\"3.0\"><ENTRY><REF HREF=\"{target}\"/></ENTRY></ASX>\n"),
        ),
        (
            "sdp",
            format!(
                "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{target}\nm=video 5000 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
            ),
        ),
        (
            "vobsub",
            format!("# VobSub index file, v7\nid: en, index: 0\n# {target}\n"),
        ),
    ]
}

/// Takes every layer of the child's cage away in turn: what stays is that libavformat is told to open nothing.
#[test]
fn nothing_that_a_playlist_names_is_opened_even_without_the_cage() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there.mp4");
    fs::write(&there, good_clip()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let targets = [
        there.to_str().unwrap().to_owned(),
        format!("file:{}", there.display()),
        "there.mp4".to_owned(),
        format!("http://{}/there.mp4", listener.local_addr().unwrap()),
    ];
    let pool = Pool::start(options(1)).unwrap();
    for target in &targets {
        for (kind, text) in playlists(target) {
            // In this process, which may read the file: a size could only come from there.
            let found = probe(text.as_bytes(), TIME);
            assert!(found.is_err(), "{kind} naming {target}: {found:?}");
            let look = pool.look(text.as_bytes(), 1, Budget::default()).unwrap();
            assert!(
                matches!(look.size, Err(Undecodable::Refused(_))),
                "{kind} naming {target}: {:?}",
                look.size
            );
        }
    }
    assert!(listener.accept().is_err(), "nobody called");
    assert_eq!(pool.replaced(), 0);
}
