//! A directory of bundles, bounded in every way: each file appears whole or not at all, whatever happens meanwhile.
//!
//! A file is written under a temporary name, brought to the disk, renamed, and the directory brought to the disk. What a
//! crash leaves behind has a temporary name and is removed at the next start. A directory that cannot be written to is an
//! error of that one bundle: the next incident tries again.

mod error;
mod file;
mod name;
mod open;
mod retain;
mod settings;

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

pub use self::{error::Error, settings::Settings};
use crate::{
    model::{bundle::Bundle, incident::Incident},
    sink::json,
};

/// Longest bundle that is kept or read back.
pub const MAX_BUNDLE_BYTES: u64 = 256 << 20;

/// A bundle in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name of the file.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was written.
    pub written_at: SystemTime,
}

/// What the store has done since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bundles written.
    pub written: u64,
    /// Bundles that could not be written.
    pub failed: u64,
    /// Bundles removed to make room, or for their age.
    pub removed: u64,
}

/// See the module. Writing takes as long as the disk does: it belongs on a thread of its own.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
    directory: PathBuf,
    /// One writer at a time: retention counts what is there.
    writing: Mutex<()>,
    written: AtomicU64,
    failed: AtomicU64,
    removed: AtomicU64,
}

impl Store {
    /// A store in this directory, which is made when it is not there. What an earlier run was writing when it was killed
    /// is removed. Whether anything can be written is seen when there is something to write.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let store = Self {
            directory: settings.directory.clone(),
            settings,
            writing: Mutex::new(()),
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            removed: AtomicU64::new(0),
        };
        // An error here comes again with the first bundle, and is told then.
        let _ = file::make_directory(&store.directory);
        file::remove_leftovers(&store.directory);
        store
    }

    /// Keeps a bundle and returns the name of its file. Older ones go as the settings say, never this one.
    ///
    /// # Errors
    /// It is not kept; everything else is as it was.
    pub fn put(&self, bundle: &Bundle) -> Result<String, Error> {
        let result = self.write(bundle);
        let count = match result {
            Ok(_) => &self.written,
            Err(_) => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn write(&self, bundle: &Bundle) -> Result<String, Error> {
        let bytes = json::compact(bundle).map_err(Error::Json)?;
        let most = self.settings.max_bytes.min(MAX_BUNDLE_BYTES);
        if bytes.len() as u64 > most {
            return Err(Error::TooLarge {
                bytes: bytes.len() as u64,
                most,
            });
        }
        // Nothing is left half done by a panic: there is nothing to recover.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        file::make_directory(&self.directory)?;
        let length = bytes.len() as u64;
        retain::make_room(&self.settings, self.list()?, length, &self.removed)?;
        file::write(&self.directory, &mut name::names(bundle), &bytes)
    }

    /// Removes bundles that are too old; to be called now and then, for an incident may be long in coming.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn sweep(&self) -> Result<(), Error> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        retain::sweep(&self.settings, &self.list()?, &self.removed)
    }

    /// All bundles, oldest first.
    ///
    /// # Errors
    /// The directory cannot be read. One that does not exist has none.
    pub fn list(&self) -> Result<Vec<Entry>, Error> {
        file::list(&self.directory)
    }

    /// Reads a bundle back as it was written.
    ///
    /// # Errors
    /// The name is not one of ours, or the file is not there, cannot be read or is too long.
    pub fn open(&self, name: &str) -> Result<Vec<u8>, Error> {
        if !name::is_ours(name) {
            return Err(Error::Name);
        }
        file::read(&self.directory, name, MAX_BUNDLE_BYTES)
    }

    /// Opens a bundle for reading.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn file(&self, name: &str) -> Result<File, Error> {
        if !name::is_ours(name) {
            return Err(Error::Name);
        }
        file::open(&self.directory, name)
    }

    /// Remembers which incidents are open, so that a restart goes on with them.
    ///
    /// # Errors
    /// What was remembered before stays.
    pub fn save_open(&self, incidents: &[Incident]) -> Result<(), Error> {
        let bytes = open::encode(incidents)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        file::make_directory(&self.directory)?;
        file::replace(&self.directory, open::NAME, &bytes)
    }

    /// The incidents that were open when they were last remembered; none when that never happened.
    ///
    /// # Errors
    /// They cannot be read, or make no sense: somebody else wrote them.
    pub fn load_open(&self) -> Result<Vec<Incident>, Error> {
        match file::read(&self.directory, open::NAME, open::MAX_BYTES) {
            Ok(bytes) => open::decode(&bytes),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// See [`Stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            written: read(&self.written),
            failed: read(&self.failed),
            removed: read(&self.removed),
        }
    }
}

#[cfg(test)]
mod tests;
