//! `/proc/PID/maps`: which file is mapped where.

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// Whether code in it can run.
    pub executable: bool,
    /// Whether it is writable.
    pub writable: bool,
    /// Whether it is shared (`s`), not private (`p`).
    pub shared: bool,
    /// Offset of `start` in the file.
    pub file_offset: u64,
    /// Device major and minor number.
    pub device: (u32, u32),
    /// Inode; 0 when no file is mapped.
    pub inode: u64,
    /// Path in the target's mount namespace, without ` (deleted)`; `[heap]`, `[vdso]`, ...; empty when anonymous.
    pub path: String,
    /// The file was deleted or replaced.
    pub deleted: bool,
}

/// A process's mappings, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps(pub Vec<Mapping>);

impl Maps {
    /// The mapping that holds `address`.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<&Mapping> {
        let index = self.0.partition_point(|mapping| mapping.end <= address);
        self.0.get(index).filter(|mapping| mapping.start <= address)
    }
}
