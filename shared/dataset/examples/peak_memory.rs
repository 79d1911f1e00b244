//! Peak resident memory of reading, screening and checking one submission of 100,000 rows.
//!
//! `peak_memory make FOLDER` writes the submission, `peak_memory judge FOLDER` judges it in a process that did nothing
//! else and prints `VmHWM`.

#[path = "../benches/submission/mod.rs"]
mod submission;

use std::path::Path;
use submission::{ROWS, Submission};

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, command, folder] = &arguments[..] else {
        return Err(std::io::Error::other(
            "usage: peak_memory make|judge FOLDER",
        ));
    };
    let folder = Path::new(folder);
    let (manifest, dataset) = (folder.join("manifest.json"), folder.join("dataset.parquet"));
    if command == "make" {
        let submission = Submission::of(ROWS);
        std::fs::write(manifest, &submission.manifest)?;
        return std::fs::write(dataset, &submission.dataset);
    }
    let submission = Submission {
        manifest: std::fs::read(manifest)?,
        dataset: std::fs::read(dataset)?,
    };
    println!("file: {} bytes", submission.dataset.len());
    println!("rows: {}", submission.judge());
    let status = std::fs::read_to_string("/proc/self/status")?;
    for line in status.lines().filter(|line| line.starts_with("Vm")) {
        println!("{line}");
    }
    Ok(())
}
