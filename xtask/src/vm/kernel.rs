//! Kernels of Debian's releases, fetched with apt but without touching this system's package lists: apt is given a
//! state folder and sources of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{paths, shell};

/// Series that Debian's releases have, with the best hook on the futex call that each is known to allow. The agent finds
/// it out by trying; here it is written down so that a regression is noticed.
pub const SERIES: [(&str, &str); 3] = [
    ("5.10", "tracepoint"),
    ("6.1", "fentry"),
    ("6.12", "fentry"),
];

/// Releases that have them.
const RELEASES: [&str; 4] = ["bullseye", "bookworm", "bookworm-backports", "trixie"];

/// Depends on the newest kernel for virtual machines.
const METAPACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel that can be booted.
pub struct Kernel {
    /// Package version, e.g. `6.12.107-1`.
    pub version: String,
    /// The compressed image.
    pub image: PathBuf,
}

/// Downloads the newest kernel of a series, or takes the one that an earlier run has downloaded.
pub fn fetch(series: &str) -> Result<Kernel> {
    let folder = paths::target().join("vm").join(series);
    let (image, stamp) = (folder.join("vmlinuz"), folder.join("VERSION"));
    if let (true, Ok(version)) = (image.is_file(), fs::read_to_string(&stamp)) {
        return Ok(Kernel { version, image });
    }
    create(&folder)?;
    let apt = Apt::new(&paths::target().join("vm/apt"))?;
    let (package, version) = apt.newest(series)?;
    let archive = apt.download(&folder, &package, &version)?;

    shell::run(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(&archive)
            .arg(folder.join("unpacked")),
    )?;
    let boot = folder.join("unpacked/boot");
    let unpacked = fs::read_dir(&boot)
        .with_context(|| format!("cannot read {}", boot.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| file_name(path).starts_with("vmlinuz-"))
        .with_context(|| format!("{package} holds no kernel image"))?;
    fs::rename(&unpacked, &image).context("cannot move the kernel image")?;
    // Modules are most of the package, and the machine needs none.
    fs::remove_dir_all(folder.join("unpacked")).context("cannot remove the unpacked package")?;
    fs::remove_file(&archive).context("cannot remove the package")?;
    fs::write(&stamp, &version).context("cannot write the version")?;
    Ok(Kernel { version, image })
}

/// apt with a state of its own.
struct Apt {
    config: PathBuf,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self> {
        for name in ["state/lists/partial", "cache/archives/partial"] {
            create(&folder.join(name))?;
        }
        fs::copy("/var/lib/dpkg/status", folder.join("state/status"))
            .context("cannot read /var/lib/dpkg/status: is this Debian?")?;
        let mirror = mirror()?;
        let sources = RELEASES.iter().fold(String::new(), |all, release| {
            all + "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
                + &format!("{mirror} {release} main\n")
        });
        fs::write(folder.join("sources.list"), sources).context("cannot write sources.list")?;
        let config = folder.join("apt.conf");
        let base = folder.display();
        let text = format!(
            "Dir::State \"{base}/state\";\n\
             Dir::State::status \"{base}/state/status\";\n\
             Dir::Cache \"{base}/cache\";\n\
             Dir::Etc::SourceList \"{base}/sources.list\";\n\
             Dir::Etc::SourceParts \"-\";\n\
             APT::Architectures {{ \"amd64\"; }};\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n"
        );
        fs::write(&config, text).context("cannot write apt.conf")?;
        let apt = Self { config };
        shell::run(apt.command("apt-get").args(["-qq", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.config);
        command
    }

    /// Name and version of the package that holds the newest kernel of a series.
    fn newest(&self, series: &str) -> Result<(String, String)> {
        let text = shell::capture(self.command("apt-cache").args(["show", METAPACKAGE]))?;
        newest(&text, series).with_context(|| format!("no release has a kernel {series}"))
    }

    fn download(&self, folder: &Path, package: &str, version: &str) -> Result<PathBuf> {
        shell::run(self.command("apt-get").current_dir(folder).args([
            "-qq",
            "download",
            &format!("{package}={version}"),
        ]))?;
        let prefix = format!("{package}_");
        fs::read_dir(folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| file_name(path).starts_with(&prefix))
            .with_context(|| format!("apt-get download left no {package} in {}", folder.display()))
    }
}

/// Finds the newest kernel of `series` among the stanzas of the metapackage, which apt prints newest first.
fn newest(stanzas: &str, series: &str) -> Option<(String, String)> {
    let is_of_series = |version: &str| {
        version
            .strip_prefix(series)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    stanzas.split("\n\n").find_map(|stanza| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name));
        let version = field("Version: ").filter(|version| is_of_series(version))?;
        let package = field("Depends: ")?
            .split([',', ' '])
            .find(|word| word.starts_with("linux-image-"))?;
        Some((package.to_owned(), version.to_owned()))
    })
}

/// The mirror that this system is configured with.
fn mirror() -> Result<String> {
    let format = ["--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"];
    let text = shell::capture(Command::new("apt-get").arg("indextargets").args(format))?;
    let uri = text.lines().find_map(|line| line.strip_prefix("Debian "));
    uri.map(|uri| uri.trim_end_matches('/').to_owned())
        .context("apt has no Debian mirror configured")
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn create(folder: &Path) -> Result<()> {
    if let Err(error) = fs::create_dir_all(folder) {
        bail!("cannot create {}: {error}", folder.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn finds_the_newest_of_a_series() {
        let text = "Package: linux-image-cloud-amd64\nVersion: 6.12.107-1\n\
                    Depends: linux-image-6.12.107+deb13-cloud-amd64 (= 6.12.107-1)\n\n\
                    Package: linux-image-cloud-amd64\nVersion: 6.12.95-1~bpo12+1\n\
                    Depends: linux-image-6.12.95+deb12-cloud-amd64 (= 6.12.95-1~bpo12+1)\n\n\
                    Package: linux-image-cloud-amd64\nVersion: 6.1.176-1\n\
                    Depends: foo, linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1)\n";
        let found = |package: &str, version: &str| Some((package.to_owned(), version.to_owned()));
        assert_eq!(
            newest(text, "6.12"),
            found("linux-image-6.12.107+deb13-cloud-amd64", "6.12.107-1")
        );
        assert_eq!(
            newest(text, "6.1"),
            found("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1")
        );
        assert_eq!(newest(text, "5.10"), None);
    }
}
