//! Comparing output with the files in `tests/golden`; `HOLDUP_BLESS=1` rewrites them.

use std::{fs, path::Path};

/// Fails when `actual` is not what the golden file `name` holds.
pub fn check(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("HOLDUP_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{name} differs; HOLDUP_BLESS=1 accepts it\n--- expected\n{expected}\n--- actual\n{actual}"
    );
}
