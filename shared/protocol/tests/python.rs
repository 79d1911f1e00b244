//! Generated text through our rules and through CPython 3.11, which other validators run: stripping, words, numbers,
//! `repr`, URLs and the keys made of them. `NEXIS_PYTHON_CASES` makes more of each kind than the default.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on panics; the number of cases comes from the environment"
)]

use nexis_protocol::cpython_random::CpythonRandom;
use nexis_protocol::manifest::Manifest;
use nexis_protocol::source::{SourceUrl, index_key, split_url};
use nexis_protocol::text;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Reads lines `kind hex-of-text [hex-of-id]` and answers each with fields in hex, or `!` where it raises.
const ORACLE: &str = r#"
import struct, sys
from urllib.parse import urlparse, parse_qs

def path_id(path):
    parts = [part for part in path.split("/") if part]
    if len(parts) >= 2 and parts[0] in ("shorts", "embed", "v"):
        return parts[1].strip()
    return None

def host_of(parsed):
    return (parsed.hostname or "").lower()

def is_youtube(host):
    return host == "youtube.com" or host.endswith(".youtube.com")

def row_key(url, source_id):
    stripped = url.strip()
    parsed = urlparse(stripped)
    host, found = host_of(parsed), None
    if host == "youtu.be":
        found = parsed.path.strip("/") or None
    elif is_youtube(host):
        values = parse_qs(parsed.query).get("v")
        found = values[0].strip() if values else path_id(parsed.path)
    return (stripped if found is None else found) or source_id.strip() or stripped

def index_key(url):
    stripped = url.strip().removeprefix("video_v1:").strip()
    if not stripped:
        return "-"
    parsed = urlparse(stripped)
    host, found = host_of(parsed), None
    if host == "youtu.be":
        found = parsed.path.strip("/")
    elif is_youtube(host):
        found = parse_qs(parsed.query).get("v", [""])[0].strip() or path_id(parsed.path)
    if not found and host:
        return stripped
    return "https://www.youtube.com/watch?v=" + (found or stripped)

def parts(url):
    parsed = urlparse(url)
    return [host_of(parsed), parsed.path, parsed.query]

def number(text):
    value = int(text)
    return str(value) if -2**127 <= value < 2**127 else "large"

KINDS = {
    "strip": lambda s: [s.strip()],
    "words": lambda s: [str(len(s.split()))],
    "float": lambda s: [struct.pack(">d", float(s)).hex()],
    "int": lambda s: [number(s)],
    "repr": lambda s: [repr([s])],
    "url": parts,
    "row": lambda s, source_id: [row_key(s, source_id)],
    "index": lambda s: [index_key(s)],
}
if not (3, 11, 4) <= sys.version_info[:3] < (3, 12):
    sys.exit(3)
for line in sys.stdin:
    kind, *texts = line.split()
    texts = [bytes.fromhex(t[1:]).decode("utf-8") for t in texts]
    try:
        answer = ["x" + field.encode("utf-8", "surrogatepass").hex() for field in KINDS[kind](*texts)]
    except (ValueError, OverflowError):
        answer = ["!"]
    print(*answer)
"#;

fn cases() -> usize {
    std::env::var("NEXIS_PYTHON_CASES").map_or(4000, |count| count.parse().unwrap())
}

/// Asks CPython about all questions at once; `None` where it raises.
fn python(questions: &[(&str, Vec<String>)]) -> Vec<Option<Vec<String>>> {
    let mut input = String::new();
    for (kind, texts) in questions {
        input.push_str(kind);
        for text in texts {
            write!(input, " x{}", hex::encode(text)).unwrap();
        }
        input.push('\n');
    }
    for program in ["python3", "python3.11"] {
        let Some(output) = run(program, input.clone()) else {
            continue;
        };
        let answers: Vec<_> = output.lines().map(answer).collect();
        assert_eq!(answers.len(), questions.len());
        return answers;
    }
    panic!(
        "these tests need Python 3.11.4 or a later 3.11 as python3 or python3.11: other validators run it"
    );
}

fn run(program: &str, input: String) -> Option<String> {
    let mut child = Command::new(program)
        .args(["-c", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).is_ok());
    let output = child.wait_with_output().unwrap();
    let wrote = writer.join().unwrap();
    (wrote && output.status.success()).then(|| String::from_utf8(output.stdout).unwrap())
}

fn answer(line: &str) -> Option<Vec<String>> {
    if line == "!" {
        return None;
    }
    let fields = line.split(' ').map(|field| {
        let bytes = hex::decode(field.strip_prefix('x').unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    });
    Some(fields.collect())
}

/// Text made of pieces that matter to the rule, and of characters from all over Unicode.
struct Texts(CpythonRandom);

impl Texts {
    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.0.below(u32::try_from(among.len()).unwrap()) as usize]
    }

    fn character(&mut self) -> char {
        let code = match self.0.below(4) {
            0 => self.0.below(0x80),
            1 => self.0.below(0x3100),
            _ => self.0.below(0x0011_0000),
        };
        char::from_u32(code).unwrap_or('\u{fffd}')
    }

    fn of(&mut self, pieces: &[&str], most: u32) -> String {
        let mut text = String::new();
        for _ in 0..self.0.below(most + 1) {
            if self.0.below(8) == 0 {
                text.push(self.character());
            } else {
                text.push_str(self.pick(pieces));
            }
        }
        text
    }
}

const BLANKS: [&str; 16] = [
    " ", "\t", "\n", "\r", "\u{b}", "\u{c}", "\u{1c}", "\u{1d}", "\u{1e}", "\u{1f}", "\u{85}",
    "\u{a0}", "\u{2003}", "\u{3000}", "\u{200b}", "\u{feff}",
];

/// Compares our answers with Python's and shows the first few differences.
fn compare(
    kind: &'static str,
    texts: Vec<Vec<String>>,
    ours: impl Fn(&[String]) -> Option<Vec<String>>,
) {
    let questions: Vec<(&str, Vec<String>)> = texts.into_iter().map(|text| (kind, text)).collect();
    let answers = python(&questions);
    let raised = answers.iter().filter(|answer| answer.is_none()).count();
    let differ: Vec<String> = questions
        .iter()
        .zip(answers)
        .filter_map(|((_, texts), theirs)| {
            let ours = ours(texts);
            (ours != theirs).then(|| format!("{texts:?}\n  Python {theirs:?}\n  we     {ours:?}"))
        })
        .collect();
    assert!(
        differ.is_empty(),
        "{} of {} differ ({raised} raised):\n{}",
        differ.len(),
        questions.len(),
        differ[..differ.len().min(10)].join("\n")
    );
}

fn generated(seed: u64, pieces: &[&str], most: u32) -> Vec<Vec<String>> {
    let mut texts = Texts(CpythonRandom::new(seed));
    (0..cases()).map(|_| vec![texts.of(pieces, most)]).collect()
}

#[test]
fn blanks_and_words_are_python_s() {
    let pieces: Vec<&str> = BLANKS.into_iter().chain(["a", "é", "日本"]).collect();
    let texts = generated(1, &pieces, 9);
    compare("strip", texts.clone(), |text| {
        Some(vec![text::python_strip(&text[0]).to_owned()])
    });
    compare("words", texts, |text| {
        Some(vec![text::word_count(&text[0]).to_string()])
    });
}

#[test]
fn numbers_are_read_as_python_s_float_and_int_read_them() {
    let digits = [
        "0", "1", "5", "9", "00", "123", "٣", "९", "５", ".", "-", "+", "_", "e", "E", "e-3",
        "inf", "Infinity", "nan", "x", "0x", ",",
    ];
    let pieces: Vec<&str> = BLANKS
        .into_iter()
        .chain(digits)
        .chain(digits)
        .chain(digits)
        .collect();
    let texts = generated(2, &pieces, 7);
    compare("float", texts.clone(), |text| {
        text::python_float(&text[0]).map(|value| vec![float_bits(value)])
    });
    compare("int", texts, |text| {
        text::python_int(&text[0]).map(|value| vec![value.to_string()])
    });
}

fn float_bits(value: f64) -> String {
    hex::encode(value.to_be_bytes())
}

#[test]
fn a_spec_id_that_is_a_list_is_shown_as_python_s_repr_shows_it() {
    let pieces = [
        "'",
        "\"",
        "\\",
        "\n",
        "\t",
        "\u{7f}",
        "\u{80}",
        "\u{ad}",
        "\u{200b}",
        "\u{2028}",
        "\u{3000}",
        "\u{e000}",
        "\u{378}",
        "\u{301}",
        "\u{1f600}",
        "\u{e0001}",
        "\u{10ffff}",
        "\u{1fae8}",
        "a",
        "é",
    ];
    compare("repr", generated(3, &pieces, 8), |text| {
        let list = serde_json::to_string(&[&text[0]]).unwrap();
        let manifest = format!(
            "{{\"spec_id\":{list},\"netuid\":70,\"miner_hotkey\":\"h\",\"interval_id\":1,\"record_count\":1,\"dataset_sha256\":\"{}\"}}",
            "a".repeat(64)
        );
        Some(vec![Manifest::parse(manifest.as_bytes()).unwrap().spec_id])
    });
}

/// Every code point once: which ones `repr` escapes depends on Unicode's categories, which are a table of ours.
#[test]
fn the_escapes_of_repr_are_those_of_unicode_14() {
    let points: Vec<char> = (0..=0x0010_ffff).filter_map(char::from_u32).collect();
    let texts: Vec<Vec<String>> = points
        .chunks(512)
        .map(|chunk| vec![chunk.iter().collect()])
        .collect();
    compare("repr", texts, |text| {
        let list = serde_json::to_string(&[&text[0]]).unwrap();
        let manifest = format!(
            "{{\"spec_id\":{list},\"netuid\":70,\"miner_hotkey\":\"h\",\"interval_id\":1,\"record_count\":1,\"dataset_sha256\":\"{}\"}}",
            "a".repeat(64)
        );
        Some(vec![Manifest::parse(manifest.as_bytes()).unwrap().spec_id])
    });
}

const URL_PIECES: [&str; 48] = [
    "http://",
    "https://",
    "//",
    "HTTPS://",
    "ftp:",
    "youtube.com",
    "www.youtube.com",
    "m.YouTube.com",
    "youtu.be",
    "notyoutube.com",
    "youtube.com.",
    "user@",
    ":443",
    ":",
    "@",
    "[",
    "]",
    "[::1]",
    "/",
    "//",
    "/watch",
    "/embed/",
    "/shorts/",
    "/v/",
    "embed",
    "?v=",
    "?",
    "&",
    "v=",
    "%76=",
    "AbCdEfGhIjK",
    "x",
    "%20",
    "+",
    "%C3%A9",
    "%C3",
    "%",
    "%zz",
    "#",
    "#t",
    ";",
    ";p=1",
    "=",
    "\\",
    "é",
    "video_v1:",
    " ",
    "\u{a0}",
];

fn urls(seed: u64) -> Vec<Vec<String>> {
    let mut texts = Texts(CpythonRandom::new(seed));
    let more: Vec<&str> = URL_PIECES.into_iter().chain(BLANKS).collect();
    let shapes = [
        "https://www.youtube.com",
        "https://youtu.be/",
        "//youtube.com/",
        "https://youtube.com/watch?",
        "",
    ];
    (0..cases())
        .map(|_| {
            let shape = texts.pick(&shapes).to_owned();
            let most = 7;
            vec![shape + &texts.of(&more, most)]
        })
        .collect()
}

#[test]
fn urls_are_split_as_urlparse_splits_them() {
    compare("url", urls(4), |url| {
        let parts = split_url(&url[0]).ok()?;
        Some(vec![
            parts.host.unwrap_or_default(),
            parts.path,
            parts.query,
        ])
    });
}

#[test]
fn rows_of_one_video_share_the_key_that_others_give_them() {
    let mut ids = Texts(CpythonRandom::new(5));
    let pieces: Vec<&str> = BLANKS.into_iter().chain(["AbC", "x"]).collect();
    let texts = urls(6)
        .into_iter()
        .map(|url| vec![url[0].clone(), ids.of(&pieces, 3)])
        .collect();
    compare("row", texts, |texts| {
        let url = SourceUrl::read(&texts[0]).ok()?;
        Some(vec![url.row_key(&texts[1]).to_owned()])
    });
}

#[test]
fn entries_of_the_index_get_the_key_that_others_give_them() {
    compare("index", urls(7), |url| {
        let key = index_key(&url[0]).ok()?;
        Some(vec![key.unwrap_or_else(|| "-".to_owned())])
    });
}
