//! Who may depend on whom, which names are banned, how long a file may be.
//!
//! A new edge between crates fails here until its line in `EDGES` is changed: adding one is a visible line in a review.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Crate → crates of ours it may use (not as a dev-dependency; tests may use what they like).
const EDGES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("wire", &["protocol"]),
    ("dataset", &["protocol"]),
    ("ports", &["protocol", "wire"]),
    ("runtime", &[]),
    ("local", &["ports", "protocol", "runtime", "wire"]),
    ("amqp", &["ports", "protocol", "runtime", "wire"]),
    ("board", &["ports", "protocol", "runtime", "wire"]),
    ("chain", &["ports", "protocol", "runtime", "wire"]),
    ("bucket", &["ports", "protocol", "runtime"]),
    ("media", &["protocol"]),
    ("vision", &["protocol", "runtime"]),
    ("evidence", &["ports", "protocol", "runtime", "wire"]),
    ("devchain", &["protocol", "runtime"]),
    (
        "localnet",
        &[
            "bucket", "chain", "dataset", "devchain", "media", "ports", "protocol", "runtime",
            "wire",
        ],
    ),
    ("testkit", ALL),
    // What the binaries wire alike. The worker links it, so it never uses the chain.
    (
        "wiring",
        &[
            "amqp", "board", "bucket", "ports", "protocol", "runtime", "vision", "wire",
        ],
    ),
    // `local`: the archive folder that the replicas share.
    (
        "scheduler",
        &[
            "chain", "evidence", "local", "ports", "protocol", "runtime", "wire", "wiring",
        ],
    ),
    (
        "worker",
        &[
            "dataset", "media", "ports", "protocol", "runtime", "vision", "wire", "wiring",
        ],
    ),
    ("cli", ALL),
    ("e2e", ALL),
];

const ALL: &[&str] = &[
    "amqp",
    "board",
    "bucket",
    "chain",
    "dataset",
    "devchain",
    "evidence",
    "local",
    "localnet",
    "media",
    "ports",
    "protocol",
    "runtime",
    "scheduler",
    "vision",
    "wire",
    "wiring",
    "worker",
];

/// Crate → packages it must not reach over any path, with the reason.
const UNREACHABLE: &[(&str, &[&str], &str)] = &[
    (
        "worker",
        &["nexis-chain", "subxt", "subxt-signer", "schnorrkel"],
        "a worker holds no code that could sign",
    ),
    (
        "wiring",
        &["nexis-chain", "subxt-signer", "schnorrkel"],
        "the worker links it",
    ),
    (
        "protocol",
        &["tokio", "tracing", "serde_json", "rand"],
        "the core is a plain function of its arguments",
    ),
    (
        "wire",
        &["tokio", "tracing"],
        "the wire only turns bytes into values",
    ),
    (
        "dataset",
        &["tokio", "tracing", "subxt"],
        "reading parquet needs no outside",
    ),
    (
        "media",
        &["tokio", "nexis-ports"],
        "GStreamer stays off the async threads",
    ),
];

/// Names that say nothing.
const BANNED_NAMES: &[&str] = &[
    "utils", "util", "helpers", "common", "misc", "types", "manager", "handler",
];

/// What the pure core never mentions.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "SystemTime",
    "Instant::now",
    "std::thread",
];

/// Folders that may call `tokio::spawn`: the lifecycle itself, and what only imitates the outside.
const SPAWNERS: &[&str] = &[
    "shared/runtime",
    "shared/devchain",
    "shared/localnet",
    "shared/testkit",
];

/// Crates that nobody may use outside of tests.
const TOPS: &[&str] = &["cli", "e2e", "testkit"];

const FILE_LINES: usize = 600;
const MAIN_LINES: usize = 60;

/// What the checks read: packages and their normal and build dependencies, by package name.
#[derive(Default)]
struct Graph {
    ours: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn of(metadata: &Metadata) -> Self {
        let names: BTreeMap<_, String> = metadata
            .packages
            .iter()
            .map(|package| (&package.id, package.name.to_string()))
            .collect();
        let mut graph = Self::default();
        for id in &metadata.workspace_members {
            graph.ours.insert(names[id].clone());
        }
        let resolve = metadata
            .resolve
            .as_ref()
            .expect("metadata with dependencies");
        for node in &resolve.nodes {
            for dep in &node.deps {
                // Build scripts and tests are not part of what ships.
                if dep
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal)
                {
                    graph
                        .edges
                        .entry(names[&node.id].clone())
                        .or_default()
                        .insert(names[&dep.pkg].clone());
                }
            }
        }
        graph
    }

    fn uses(&self, name: &str) -> impl Iterator<Item = &String> {
        self.edges.get(name).into_iter().flatten()
    }

    /// A path from `from` to `to`, when there is one.
    fn path(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut queue = std::collections::VecDeque::from([vec![from.to_owned()]]);
        let mut seen = BTreeSet::from([from.to_owned()]);
        while let Some(path) = queue.pop_front() {
            for next in self.uses(path.last()?) {
                let mut longer = path.clone();
                longer.push(next.clone());
                if next == to {
                    return Some(longer);
                }
                if seen.insert(next.clone()) {
                    queue.push_back(longer);
                }
            }
        }
        None
    }
}

/// Folder-like name of one of our packages; the command line's package is plain `nexis`.
fn short_name(package: &str) -> &str {
    if package == "nexis" {
        "cli"
    } else {
        package.strip_prefix("nexis-").unwrap_or(package)
    }
}

fn edge_faults(graph: &Graph, allowed: &[(&str, &[&str])]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in &graph.ours {
        let short = short_name(package);
        let Some((_, may)) = allowed.iter().find(|(name, _)| *name == short) else {
            faults.push(format!("{package} has no line in EDGES"));
            continue;
        };
        for used in graph
            .uses(package)
            .filter(|used| graph.ours.contains(*used))
        {
            let used = short_name(used);
            let testkit_use = short == "testkit" || short == "e2e";
            if !may.contains(&used) || (TOPS.contains(&used) && !testkit_use) {
                faults.push(format!("{short} may not use {used}"));
            }
        }
    }
    faults
}

fn reach_faults(graph: &Graph, unreachable: &[(&str, &[&str], &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (from, targets, reason) in unreachable {
        for to in *targets {
            if let Some(path) = graph.path(&format!("nexis-{from}"), to) {
                faults.push(format!("{} ({reason})", path.join(" -> ")));
            }
        }
    }
    faults
}

/// Lines up to the inline tests.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let inline = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
    inline.unwrap_or(lines.len())
}

/// Faults of one source file; `path` is relative to the workspace.
fn file_faults(path: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let shown = path.display();
    let parts: Vec<String> = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let is_test = parts.iter().any(|part| {
        part == "tests" || part == "conformance" || part == "tests.rs" || part == "benches"
    });
    let lines = lines_without_tests(text);
    if !is_test && lines > FILE_LINES {
        faults.push(format!(
            "{shown}: {lines} lines without tests, at most {FILE_LINES}"
        ));
    }
    if path.ends_with("src/main.rs") && lines > MAIN_LINES {
        faults.push(format!(
            "{shown}: {lines} lines, a main has at most {MAIN_LINES}"
        ));
    }
    for part in &parts {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        if BANNED_NAMES.contains(&stem) {
            faults.push(format!("{shown}: {stem} is not a name"));
        }
    }
    let may_spawn = SPAWNERS.iter().any(|folder| path.starts_with(folder));
    if !is_test && !may_spawn && code(text).contains("tokio::spawn(") {
        faults.push(format!(
            "{shown}: a task is started outside of runtime::lifecycle"
        ));
    }
    if path.starts_with("shared/protocol/src") {
        for word in IMPURE.iter().filter(|word| code(text).contains(**word)) {
            faults.push(format!("{shown}: the core mentions {word}"));
        }
    }
    faults
}

/// The text without comment lines and without inline tests.
fn code(text: &str) -> String {
    let lines = text.lines().take(lines_without_tests(text));
    lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() && !name.starts_with("target") && !name.starts_with('.') {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace holds this package")
        .to_owned()
}

fn workspace() -> Graph {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        // Not offline: other platforms' crates may not have been fetched by the build.
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .expect("cargo metadata of this workspace");
    Graph::of(&metadata)
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let faults = edge_faults(&workspace(), EDGES);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_must_not_be_reached_is_not_reached_over_any_path() {
    let faults = reach_faults(&workspace(), UNREACHABLE);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_are_short_well_named_and_the_core_is_pure() {
    let root = root();
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(
        found.len() > 50,
        "only {} source files found below {}",
        found.len(),
        root.display()
    );
    let mut faults = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).expect("a source file is text");
        faults.extend(file_faults(
            path.strip_prefix(&root).expect("below the root"),
            &text,
        ));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

mod of_the_checker_itself {
    use super::{Graph, edge_faults, file_faults, reach_faults};
    use std::path::Path;

    fn graph(ours: &[&str], edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        graph
            .ours
            .extend(ours.iter().map(|name| (*name).to_owned()));
        for (from, to) in edges {
            graph
                .edges
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
        }
        graph
    }

    #[test]
    fn a_new_edge_an_unknown_crate_and_a_use_of_a_top_are_found() {
        let graph = graph(
            &["nexis-a", "nexis-b", "nexis-cli", "nexis-new"],
            &[
                ("nexis-a", "nexis-b"),
                ("nexis-b", "nexis-a"),
                ("nexis-a", "nexis-cli"),
                ("nexis-a", "serde"),
            ],
        );
        let allowed: &[(&str, &[&str])] = &[("a", &["b", "cli"]), ("b", &[]), ("cli", &[])];
        assert_eq!(
            edge_faults(&graph, allowed),
            [
                "a may not use cli",
                "b may not use a",
                "nexis-new has no line in EDGES"
            ]
        );
    }

    #[test]
    fn a_forbidden_package_is_found_at_any_distance_and_cycles_end() {
        let graph = graph(
            &[],
            &[
                ("nexis-worker", "x"),
                ("x", "y"),
                ("y", "x"),
                ("y", "subxt"),
                ("nexis-other", "subxt"),
            ],
        );
        let found = reach_faults(
            &graph,
            &[("worker", &["subxt", "schnorrkel"], "no signing")],
        );
        assert_eq!(found, ["nexis-worker -> x -> y -> subxt (no signing)"]);
    }

    #[test]
    fn long_files_fat_mains_bad_names_and_an_impure_core_are_found() {
        let long = "x\n".repeat(601);
        assert_eq!(file_faults(Path::new("a/src/b.rs"), &long).len(), 1);
        assert_eq!(file_faults(Path::new("a/tests/b.rs"), &long).len(), 0);
        assert_eq!(file_faults(Path::new("a/src/b/tests.rs"), &long).len(), 0);
        let tested = "x\n".repeat(600) + "#[cfg(test)]\nmod tests {\n" + &long;
        assert_eq!(file_faults(Path::new("a/src/b.rs"), &tested).len(), 0);
        assert_eq!(
            file_faults(Path::new("a/src/main.rs"), &"x\n".repeat(61)).len(),
            1
        );
        assert_eq!(file_faults(Path::new("a/src/utils.rs"), "").len(), 1);
        assert_eq!(file_faults(Path::new("a/src/helpers/x.rs"), "").len(), 1);
        let spawn = "tokio::spawn(task);\n";
        assert_eq!(file_faults(Path::new("worker/src/x.rs"), spawn).len(), 1);
        assert_eq!(
            file_faults(Path::new("shared/runtime/src/x.rs"), spawn).len(),
            0
        );
        let core = Path::new("shared/protocol/src/x.rs");
        assert_eq!(
            file_faults(core, "use std::fs;\nlet t = SystemTime::now();\n").len(),
            2
        );
        assert_eq!(file_faults(core, "// std::fs is not used\n").len(), 0);
        assert_eq!(
            file_faults(Path::new("shared/local/src/x.rs"), "use std::fs;\n").len(),
            0
        );
    }
}
