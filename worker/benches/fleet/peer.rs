//! The same jobs through Celery.

use crate::ours::jobs;
use nexis_protocol::Netuid;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Jobs per second.
pub struct Rates {
    pub workers: u64,
    pub end_to_end: f64,
    pub publish: f64,
}

/// Whether Celery waits for the broker's confirms, as we do.
#[derive(Clone, Copy)]
pub enum Confirms {
    Yes,
    No,
}

/// Runs the script beside this file with the environment that `make bench-fleet` makes.
pub fn measure(
    amqp: &str,
    redis: &str,
    count: usize,
    rounds: usize,
    workers: &[usize],
    confirms: Confirms,
) -> Vec<Rates> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../target/venv-celery/bin/python");
    if !python.exists() {
        println!("Celery is not there: run `make bench-fleet`, which installs it");
        return Vec::new();
    }
    let mut file = tempfile::NamedTempFile::new().expect("a throw-away file");
    for job in jobs(Netuid::new(1), count) {
        let line = serde_json::to_string(&job).expect("plain data");
        writeln!(file, "{line}").expect("written");
    }
    let output = Command::new(python)
        .arg(here.join("benches/fleet/peer.py"))
        .arg(file.path())
        .arg(rounds.to_string())
        .args(workers.iter().map(ToString::to_string))
        .env("PEER_BROKER", amqp)
        .env("PEER_BACKEND", redis)
        .env(
            "PEER_CONFIRMS",
            match confirms {
                Confirms::Yes => "yes",
                Confirms::No => "no",
            },
        )
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stderr(Stdio::inherit())
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let rates = text.lines().map(|line| {
        let rates: Value = serde_json::from_str(line).expect("a line of JSON");
        let rate = |name: &str| rates[name].as_f64().expect("a number");
        Rates {
            workers: rates["workers"].as_u64().expect("a number"),
            end_to_end: rate("end_to_end"),
            publish: rate("publish"),
        }
    });
    rates.collect()
}
