//! `docs/configuration.md` is generated: this fails when it is older than the table.
//! Write it anew with `touch target/bless && cargo test -p nexis-runtime --test configuration_page`.

use std::path::Path;

#[test]
fn the_page_of_settings_says_what_the_table_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = root.join("docs/configuration.md");
    let bless = root.join("target/bless");
    if bless.exists() {
        std::fs::write(&page, nexis_runtime::config::reference()).expect("page written");
        std::fs::remove_file(&bless).expect("mark removed");
    }
    let written = std::fs::read_to_string(&page).expect("docs/configuration.md exists");
    assert!(
        written == nexis_runtime::config::reference(),
        "docs/configuration.md is out of date: touch target/bless and run this test again"
    );
}
