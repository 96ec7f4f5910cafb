//! Compilers and the tools around them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::symbol::scratch::Scratch;

/// Runs a tool that the test cannot do without.
pub fn run(tool: &str, arguments: &[&str]) {
    let output = Command::new(tool)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("this test needs `{tool}`: {error}"));
    assert!(
        output.status.success(),
        "{tool} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Compiles `source` into `scratch` with `compiler flags -o NAME`.
pub fn compile(
    scratch: &Scratch,
    name: &str,
    source: &str,
    compiler: &str,
    flags: &[&str],
) -> PathBuf {
    let extension = if compiler.contains("++") { "cc" } else { "c" };
    let (input, output) = (
        scratch.path(format!("{name}.{extension}")),
        scratch.path(name),
    );
    std::fs::write(&input, source).unwrap();
    let mut arguments = flags.to_vec();
    arguments.extend(["-pthread", "-o", text(&output), text(&input)]);
    run(compiler, &arguments);
    output
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Line of the source that contains `needle`, from 1.
pub fn line_of(source: &str, needle: &str) -> u32 {
    let at = source.lines().position(|line| line.contains(needle));
    at.unwrap() as u32 + 1
}
