//! Developer commands: `cargo xtask <command>`. Each is one file, and none relies on what another left on the machine.

mod apt;
mod paths;
mod pip;
mod shell;
mod ui;

mod child;

mod bench;
mod build_ebpf;
mod compiler;
mod demo;
mod dist;
mod fuzz;
mod go;
mod object_file;
mod test;
mod toolchain;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "Builds, tests, measures and shows holdup"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Toolchain(toolchain::Args),
    BuildEbpf(build_ebpf::Args),
    Demo(demo::Args),
    Test(test::Args),
    Bench(bench::Args),
    Fuzz(fuzz::Args),
    Dist(dist::Args),
    GoLayout(go::Args),
    Vm(vm::Args),
    #[command(hide = true)]
    VmInner(vm::InnerArgs),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Toolchain(args) => toolchain::run(&args),
        Command::BuildEbpf(args) => build_ebpf::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::GoLayout(args) => go::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::VmInner(args) => vm::run_inner(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&error);
            ExitCode::FAILURE
        }
    }
}
