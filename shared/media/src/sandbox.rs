//! The child process that reads hostile bytes: how it is locked up, and what it is asked.
//!
//! A child is this same executable, started with [`CHILD_ARGUMENT`] and an environment of a few fixed words.
//! Its standard input is one end of a socket pair; requests come in with the clip as a sealed memfd, answers go
//! out. Its standard output is a second pair on which nothing is ever said: its end tells that the parent is gone.

mod child;
mod restrict;
mod talk;

pub use child::{child_main, child_main_with};
pub use restrict::{Isolation, Landlock, Layers};
pub(crate) use talk::{Answer, Ask, Hello, NoSize, TalkError, read_frame, send_ask};

/// Tells a child from the program it is made of.
pub(crate) const CHILD_ARGUMENT: &str = "--nexis-media-child";

/// The whole environment of a child: no plugin is looked for, no registry is read, written or forked for.
pub(crate) const CHILD_ENVIRONMENT: &[(&str, &str)] = &[
    ("GST_PLUGIN_PATH_1_0", ""),
    ("GST_PLUGIN_SYSTEM_PATH_1_0", ""),
    ("GST_REGISTRY_1_0", "/dev/null"),
    ("GST_REGISTRY_DISABLE", "yes"),
    ("GST_REGISTRY_FORK", "no"),
    ("GST_REGISTRY_UPDATE", "no"),
    ("GST_DEBUG", "0"),
    ("HOME", "/nonexistent"),
    ("TMPDIR", "/nonexistent"),
    ("XDG_RUNTIME_DIR", "/nonexistent"),
    ("LC_ALL", "C"),
    ("MALLOC_ARENA_MAX", "2"),
];
