//! Files that once had another verdict here than elsewhere. The name says what others do with each.

use nexis_dataset::{Limits, read};
use nexis_protocol::profile::Profile;
use std::path::Path;

#[test]
fn every_kept_file_is_read_or_refused_as_its_name_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let outcome = read(
            &std::fs::read(&path).unwrap(),
            &Limits::default(),
            &Profile::default(),
        );
        if outcome.is_ok() != name.starts_with("read_") {
            wrong.push(format!("{name}: {:?}", outcome.map(|rows| rows.len())));
        }
        count += 1;
    }
    assert!(count >= 19, "only {count} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
