//! `cargo xtask vm`

mod cpio;
mod inner;
mod kernel;
mod machine;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

pub use inner::{Args as InnerArgs, run as run_inner};

use crate::{apt, dist, paths, shell, ui};

/// What an emulated machine needs besides a kernel.
const PACKAGES: &[&str] = &["qemu-system-x86", "busybox-static"];

/// Workloads of the end-to-end tests that count their own waits.
const WORKLOADS: &[&str] = &["futex_ops", "futex_storm"];

/// Boot another kernel in QEMU (software emulation) and run the futex end-to-end test there, with every way of hooking
#[derive(clap::Args)]
pub struct Args {
    /// Kernel series of a Debian release
    #[arg(long, default_value = "6.12", value_parser = kernel::SERIES.map(|(series, _)| series).to_vec())]
    kernel: String,
    /// Kill the machine after this many seconds
    #[arg(long, default_value_t = 300)]
    deadline: u64,
    /// Only boot and look around, without the agent
    #[arg(long)]
    boot_only: bool,
}

/// Boots the kernel and fails unless the machine reports success.
pub fn run(args: &Args) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("needs an x86-64 machine to build the programs that run inside");
    }
    apt::install(PACKAGES)?;
    let kernel = kernel::fetch(&args.kernel)?;
    ui::step(format_args!(
        "kernel {} in {}",
        kernel.version,
        kernel.image.display()
    ));
    let folder = paths::target().join("vm").join(&args.kernel);
    let initramfs = folder.join("initramfs.cpio");
    let programs = programs(args.boot_only)?;
    fs::write(&initramfs, archive(&programs, &init(args))?)
        .with_context(|| format!("cannot write {}", initramfs.display()))?;

    let deadline = Duration::from_secs(args.deadline);
    let log = folder.join("console.log");
    let verdict = machine::boot(&kernel.image, &initramfs, &log, deadline)?;
    if verdict != "success" && !verdict.starts_with("success ") {
        bail!("kernel {}: see {}", kernel.version, log.display());
    }
    ui::line(format_args!("kernel {}: {verdict}", kernel.version));
    Ok(())
}

/// Builds what runs inside, linked statically: path inside and path here.
fn programs(boot_only: bool) -> Result<Vec<(String, PathBuf)>> {
    let mut packages = vec!["xtask"];
    let mut programs = vec![("bin/busybox".to_owned(), PathBuf::from("/bin/busybox"))];
    if !boot_only {
        packages = dist::PACKAGES.to_vec();
        for name in WORKLOADS {
            let program = paths::target().join("vm/workloads").join(name);
            let source = paths::root().join(format!("tests/workloads/{name}.c"));
            shell::compile_c(&source, &program, &["-static"])?;
            programs.push((format!("bin/{name}"), program));
        }
    }
    let built = dist::build(&packages)?;
    programs.extend(
        packages
            .iter()
            .map(|package| (format!("bin/{package}"), built.join(package))),
    );
    Ok(programs)
}

/// The initial file system.
fn archive(programs: &[(String, PathBuf)], init: &str) -> Result<Vec<u8>> {
    let mut archive = cpio::Archive::default();
    for folder in ["bin", "dev", "proc", "sys", "tmp"] {
        archive.folder(folder);
    }
    // The kernel opens it for the first program before anything is mounted.
    archive.console("dev/console");
    archive.file("init", init.as_bytes());
    for (name, path) in programs {
        archive.file(name, &read(path)?);
    }
    Ok(archive.finish())
}

/// The first program. Its last line is the verdict that [`machine`] waits for.
fn init(args: &Args) -> String {
    let hook = kernel::SERIES
        .iter()
        .find(|(series, _)| *series == args.kernel)
        .map_or("", |(_, hook)| hook);
    let mut inner = format!(" --expect {hook}");
    if args.boot_only {
        inner += " --boot-only";
    }
    format!(
        "#!/bin/busybox sh\n\
         export PATH=/bin\n\
         echo '{}'\n\
         busybox mount -t proc proc /proc\n\
         busybox mount -t sysfs sysfs /sys\n\
         busybox mount -t devtmpfs devtmpfs /dev\n\
         busybox mount -t tracefs tracefs /sys/kernel/tracing\n\
         busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
         xtask vm-inner{inner} || echo '{}failure'\n\
         busybox sleep 1\n\
         busybox poweroff -f\n",
        machine::STARTED,
        machine::VERDICT
    )
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
