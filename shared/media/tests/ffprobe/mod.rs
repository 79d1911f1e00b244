//! ffprobe beside a child of the pool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nexis_media::{Budget, Pool, PoolOptions};

pub fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).output();
    let output = output.expect("ffmpeg and ffprobe are installed: apt-get install ffmpeg");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// What ffprobe says: nothing when it cannot probe or finds no video.
pub fn peer(path: &Path) -> Option<(u32, u32)> {
    let entries = "stream=width,height";
    let path = path.to_str().unwrap();
    let base = [
        "-v",
        "quiet",
        "-select_streams",
        "v:0",
        "-show_entries",
        entries,
        "-of",
        "csv=p=0",
    ];
    let (good, text) = run("ffprobe", &[&base[..], &[path]].concat());
    let line = text
        .lines()
        .next()
        .filter(|_| good)?
        .trim_end_matches(',')
        .to_owned();
    let (width, height) = line.split_once(',')?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

/// Children of the pool, as in a worker.
pub fn pool() -> Pool {
    let permits = std::thread::available_parallelism().map_or(2, usize::from);
    Pool::start(PoolOptions {
        program: Some(PathBuf::from(env!("CARGO_BIN_EXE_nexis-media-child"))),
        ..PoolOptions::new(permits)
    })
    .unwrap()
}

/// What a child says.
pub fn ours(pool: &Pool, bytes: &[u8]) -> Option<(u32, u32)> {
    let look = pool.look(bytes, 0, Budget::default()).unwrap();
    assert!(look.lost.is_none(), "a child was lost: {:?}", look.lost);
    look.size.ok().map(|found| (found.width, found.height))
}

pub fn make(folder: &Path, name: &str, arguments: &str) -> PathBuf {
    let path = folder.join(name);
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let end = ["-y", path.to_str().unwrap()];
    let quiet = ["-nostdin", "-v", "error"];
    let (good, _) = run("ffmpeg", &[&quiet[..], &words, &end].concat());
    assert!(good, "ffmpeg makes {name}");
    path
}

/// Does `work` to all of `items` on a few threads, in order.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let share = items.len().div_ceil(4).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = items
            .chunks(share)
            .map(|share| scope.spawn(|| share.iter().map(&work).collect::<Vec<R>>()))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// The cases in which the two differ.
pub fn differing(folder: &Path, cases: &[(String, Vec<u8>)]) -> Vec<String> {
    let pool = pool();
    let numbered: Vec<_> = cases.iter().enumerate().collect();
    let wrong = side_by_side(&numbered, |(number, (name, bytes))| {
        // Whatever it is, it is called a clip.mp4, as miners may do.
        let path = folder.join(format!("judged{number}.mp4"));
        fs::write(&path, bytes).unwrap();
        let (peer, ours) = (peer(&path), ours(&pool, bytes));
        fs::remove_file(&path).unwrap();
        (peer != ours).then(|| format!("{name}: ffprobe {peer:?}, ours {ours:?}"))
    });
    wrong.into_iter().flatten().collect()
}
