//! `cargo xtask demo`

use std::{process::Command, time::Duration};

use anyhow::Result;

use crate::{child::Running, paths, shell, ui};

/// Build everything, start a contended demo program, record it and print the report
#[derive(clap::Args)]
pub struct Args {
    /// How long to record
    #[arg(short, long, default_value = "3s")]
    duration: String,
    /// Use an optimised agent (takes longer to build)
    #[arg(long)]
    release: bool,
}

/// Runs the demo.
pub fn run(args: &Args) -> Result<()> {
    let agent = build_agent(args.release)?;
    let program = paths::target().join("demo/contended-demo");
    let source = paths::root().join("xtask/workload/demo.c");
    shell::compile_c(&source, &program, &[])?;

    let demo = Running::start(&mut Command::new(&program))?;
    demo.line_with("ready", Duration::from_secs(10))?;
    ui::step(format_args!(
        "{} runs as process {}",
        program.display(),
        demo.pid()
    ));
    shell::run(
        shell::as_root(agent)?
            .args(["record", "-d", &args.duration, "-p"])
            .arg(demo.pid().to_string()),
    )
}

/// Builds the agent for this machine and gives its path.
pub fn build_agent(release: bool) -> Result<std::path::PathBuf> {
    let mut build = shell::cargo();
    build.args(["build", "--quiet", "--package", "holdup"]);
    if release {
        build.arg("--release");
    }
    shell::run(&mut build)?;
    let profile = if release { "release" } else { "debug" };
    Ok(paths::target().join(profile).join("holdup"))
}
