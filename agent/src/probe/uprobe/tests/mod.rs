//! What the tests of this module share.

mod arguments;
mod attached;
mod witness;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use aya::{Btf, Ebpf};

use crate::probe::{config, feature::Features, object};

/// The object with small maps, and nothing attached.
pub fn loaded() -> Ebpf {
    let capacity = object::Capacity {
        locks: 64,
        threads: 64,
        ring_bytes: 4096,
        ..object::Capacity::default()
    };
    let config = config::base(&Features::detect(), None);
    object::load(&config, capacity, Btf::from_sys_fs().ok().as_ref()).unwrap()
}

/// A compiled program. Dropping it removes it.
pub struct Compiled {
    /// Where it is.
    pub path: PathBuf,
    directory: PathBuf,
}

impl Compiled {
    pub fn new(name: &str, source: &str, compiler: &str, flags: &[&str]) -> Self {
        let directory = std::env::temp_dir().join(format!("holdup-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (input, path) = (directory.join("main.c"), directory.join(name));
        fs::write(&input, source).unwrap();
        let output = Command::new(compiler)
            .args(flags)
            .args([
                "-pthread".as_ref(),
                "-o".as_ref(),
                path.as_path(),
                input.as_path(),
            ] as [&Path; 4])
            .output()
            .unwrap_or_else(|error| panic!("this test needs `{compiler}`: {error}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        Self { path, directory }
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
