//! Where the report goes: standard output, or a file that appears only when it is complete.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, IsTerminal as _, Write},
    path::{Path, PathBuf},
};

use super::{config::ReportOptions, exit::Error};
use crate::sink::{self, Document, Report, table};

/// A destination that was found writable.
#[derive(Debug)]
pub struct Output {
    sink: Sink,
    options: ReportOptions,
}

#[derive(Debug)]
enum Sink {
    Stdout,
    /// A device, a pipe or a socket: written in place.
    Device(File, PathBuf),
    File(Pending),
}

/// A file under a temporary name beside its final one; removed unless it is renamed.
#[derive(Debug)]
struct Pending {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    done: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

impl Output {
    /// Checks that the report can be written, before the work that leads to it begins.
    ///
    /// # Errors
    /// When the file cannot be created, or when a binary format would go to a terminal.
    pub fn open(options: &ReportOptions) -> Result<Self, Error> {
        let sink = match &options.output {
            Some(path) => open(path).map_err(|error| not_writable(path, &error))?,
            None => {
                if options.format.is_binary() && io::stdout().is_terminal() {
                    return Err(Error::usage(
                        "a pprof profile is binary and would garble the terminal",
                    )
                    .with_hint("pass -o FILE, or redirect standard output"));
                }
                Sink::Stdout
            }
        };
        Ok(Self {
            sink,
            options: options.clone(),
        })
    }

    /// Renders a report as asked and writes it.
    ///
    /// # Errors
    /// When it cannot be rendered or written. A reader that went away (`| head`) is no error.
    pub fn report(self, report: &Report) -> Result<(), Error> {
        let bytes = sink::render(report, self.options.format, &self.table());
        self.write(&bytes.map_err(Error::failed)?)
    }

    /// The same with a document of any kind.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub fn document(self, document: Document) -> Result<(), Error> {
        let bytes = document.render(self.options.format, &self.table());
        self.write(&bytes.map_err(Error::failed)?)
    }

    /// How tables are laid out for where they go.
    #[must_use]
    pub fn table(&self) -> table::Options {
        let terminal = matches!(self.sink, Sink::Stdout) && io::stdout().is_terminal();
        table::Options {
            width: if terminal {
                terminal_width()
            } else {
                table::MIN_WIDTH
            },
            colour: terminal && colours_wanted(),
            top: self.options.top,
        }
    }

    /// Writes bytes and makes the file appear.
    ///
    /// # Errors
    /// When they cannot be written. A reader that went away is no error.
    pub fn write(self, bytes: &[u8]) -> Result<(), Error> {
        match self.sink {
            Sink::Stdout => write_all(&mut io::stdout().lock(), bytes).map_err(|error| {
                Error::failed(format!("cannot write to standard output: {error}"))
            }),
            Sink::Device(mut file, path) => {
                write_all(&mut file, bytes).map_err(|error| not_writable(&path, &error))
            }
            Sink::File(mut pending) => {
                let written = write_all(&mut pending.file, bytes)
                    .and_then(|()| std::fs::rename(&pending.temporary, &pending.path));
                pending.done = written.is_ok();
                written.map_err(|error| not_writable(&pending.path, &error))
            }
        }
    }
}

fn write_all(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    match to.write_all(bytes).and_then(|()| to.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn not_writable(path: &Path, error: &io::Error) -> Error {
    Error::failed(format!("cannot write {}: {error}", path.display()))
}

fn open(path: &Path) -> io::Result<Sink> {
    // Through symbolic links, so that the link stays and its target is replaced.
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        // Renaming over /dev/null would replace it for everybody.
        Ok(metadata) if !metadata.is_file() => {
            let file = OpenOptions::new().write(true).open(&path)?;
            return Ok(Sink::Device(file, path));
        }
        // A read-only file is not to be replaced.
        Ok(_) => drop(OpenOptions::new().write(true).open(&path)?),
        Err(_) => {}
    }
    let (file, temporary) = create_beside(&path)?;
    Ok(Sink::File(Pending {
        file,
        temporary,
        path,
        done: false,
    }))
}

/// Creates a new file in the directory of `path`. Never one that exists: in a directory that others can write to, it
/// could be their symbolic link.
fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut attempt = 0;
    loop {
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{attempt}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
        {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < 100 => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

fn terminal_width() -> usize {
    terminal_size::terminal_size().map_or(table::MIN_WIDTH, |(width, _)| width.0.into())
}

/// See <https://no-color.org>.
fn colours_wanted() -> bool {
    let is = |name: &str, predicate: fn(&std::ffi::OsStr) -> bool| {
        std::env::var_os(name).is_some_and(|value| predicate(&value))
    };
    !is("NO_COLOR", |value| !value.is_empty()) && !is("TERM", |value| value == "dumb")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sink::{Format, fixture};

    /// A directory that is removed in the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("holdup-output-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> = names
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn options(path: impl Into<PathBuf>) -> ReportOptions {
        ReportOptions {
            output: Some(path.into()),
            format: Format::Json,
            ..ReportOptions::default()
        }
    }

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let directory = Directory::new("appears");
        let path = directory.0.join("report.json");
        let output = Output::open(&options(&path)).unwrap();
        assert!(!path.exists());
        let capture = fixture::capture();
        output.report(&Report::Capture(capture.clone())).unwrap();
        let read = Report::parse(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, Report::Capture(capture));
        assert_eq!(directory.names(), ["report.json"]);
    }

    #[test]
    fn giving_up_leaves_the_old_file_and_nothing_else() {
        let directory = Directory::new("old");
        let path = directory.0.join("report");
        fs::write(&path, "old").unwrap();
        drop(Output::open(&options(&path)).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(directory.names(), ["report"]);
    }

    #[test]
    fn names_that_others_have_planted_are_not_written_through() {
        let directory = Directory::new("planted");
        let victim = directory.0.join("victim");
        fs::write(&victim, "precious").unwrap();
        let planted = format!(".report.{}-0.tmp", std::process::id());
        std::os::unix::fs::symlink(&victim, directory.0.join(planted)).unwrap();
        let path = directory.0.join("report");
        Output::open(&options(&path))
            .unwrap()
            .write(b"new")
            .unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_link_stays_a_link() {
        let directory = Directory::new("link");
        let (link, real) = (directory.0.join("link"), directory.0.join("real"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        Output::open(&options(&link))
            .unwrap()
            .write(b"new")
            .unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn places_that_cannot_be_written_are_found_at_once() {
        let directory = Directory::new("refused");
        let missing = directory.0.join("missing/report");
        let error = Output::open(&options(&missing)).unwrap_err();
        let expected = format!(
            "cannot write {}: No such file or directory (os error 2)",
            missing.display()
        );
        assert_eq!(error.message, expected);
        let error = Output::open(&options(&directory.0)).unwrap_err();
        assert!(
            error.message.ends_with(": is a directory"),
            "{}",
            error.message
        );
        assert_eq!(directory.names(), [""; 0]);
    }

    #[test]
    fn devices_are_written_not_replaced() {
        Output::open(&options("/dev/null"))
            .unwrap()
            .write(b"x")
            .unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let error = Output::open(&options("/dev/full"))
            .unwrap()
            .write(b"x")
            .unwrap_err();
        assert!(
            error
                .message
                .starts_with("cannot write /dev/full: No space")
        );
    }

    #[test]
    fn readers_may_go_away() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        write_all(&mut writer, b"x").unwrap();
    }
}
