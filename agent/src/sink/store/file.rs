//! Files that appear whole.

use std::{
    ffi::CString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::Path,
    time::SystemTime,
};

use super::{Entry, Error, name};

/// Ends every temporary name, which also begins with a dot.
const TEMPORARY: &str = ".tmp";
/// Most names of a directory that are looked at: somebody else's may be there.
const MAX_NAMES: usize = 1_000_000;

fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Makes the directory when it is not there. What is in it is for the user of the agent alone: it shows what others'
/// processes do.
pub fn make_directory(directory: &Path) -> Result<(), Error> {
    if directory.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(directory)
        .map_err(failed("make directory", directory))
}

/// Removes what a run that was killed has left.
pub fn remove_leftovers(directory: &Path) {
    for entry in fs::read_dir(directory)
        .into_iter()
        .flatten()
        .take(MAX_NAMES)
    {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let inner = name
            .strip_prefix('.')
            .and_then(|name| name.strip_suffix(TEMPORARY));
        if inner.is_some_and(|name| name::is_ours(name) || name == super::open::NAME) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes a new file under the first of these names that is free, and returns it.
pub fn write(
    directory: &Path,
    names: &mut impl Iterator<Item = String>,
    bytes: &[u8],
) -> Result<String, Error> {
    let is_free = |name: &String| fs::symlink_metadata(directory.join(name)).is_err();
    let name = names.find(is_free).ok_or(Error::Name)?;
    replace(directory, &name, bytes)?;
    Ok(name)
}

/// Writes a file, in place of one that may be there.
pub fn replace(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let path = directory.join(name);
    let temporary = directory.join(format!(".{name}{TEMPORARY}"));
    // A leftover of a failure; and never through somebody's link.
    let _ = fs::remove_file(&temporary);
    let written = write_through(&temporary, bytes)
        .map_err(failed("write", &temporary))
        .and_then(|()| fs::rename(&temporary, &path).map_err(failed("rename to", &path)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    // The name too must be on the disk.
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(failed("sync", directory))
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Bundles in a directory, oldest first.
pub fn list(directory: &Path) -> Result<Vec<Entry>, Error> {
    let names = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.map_err(failed("read directory", directory))?,
    };
    let mut entries: Vec<Entry> = names
        .take(MAX_NAMES)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            // Not through links: what they lead to is not ours to count or remove.
            let metadata = entry.metadata().ok()?;
            (name::is_ours(&name) && metadata.is_file()).then(|| Entry {
                name,
                bytes: metadata.len(),
                written_at: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            })
        })
        .collect();
    entries.sort_by(|a, b| (a.written_at, &a.name).cmp(&(b.written_at, &b.name)));
    Ok(entries)
}

/// Opens a file, not through links.
pub fn open(directory: &Path, name: &str) -> Result<File, Error> {
    let path = directory.join(name);
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path)
        .map_err(failed("open", &path))
}

/// Reads a file of at most `most` bytes.
pub fn read(directory: &Path, name: &str, most: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    open(directory, name)?
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(failed("read", &directory.join(name)))?;
    if bytes.len() as u64 > most {
        return Err(Error::TooLarge {
            bytes: bytes.len() as u64,
            most,
        });
    }
    Ok(bytes)
}

/// Removes a file; one that is gone already is no error.
pub fn remove(directory: &Path, name: &str) -> Result<(), Error> {
    let path = directory.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", &path)(error)),
        _ => Ok(()),
    }
}

/// Bytes that an ordinary user may still write to the file system of a directory.
pub fn free_bytes(directory: &Path) -> Result<u64, Error> {
    let error = failed("ask for the free space of", directory);
    let path = CString::new(directory.as_os_str().as_bytes())
        .map_err(|_| error(ErrorKind::InvalidInput.into()))?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with a zero, and the kernel fills `answer` in when it returns 0.
    let filled = unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) } == 0;
    if !filled {
        return Err(error(io::Error::last_os_error()));
    }
    // SAFETY: filled in.
    let answer = unsafe { answer.assume_init() };
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}
