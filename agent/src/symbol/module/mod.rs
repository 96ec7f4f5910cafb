//! A module: one ELF file (or the vdso) that some process runs code of.

pub mod debug_file;
pub mod elf;
pub mod image;
pub mod open;
pub mod table;

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
};

use self::{
    elf::{EXECUTE, Elf, ElfError},
    image::Image,
    open::Root,
};
use super::{
    limits::Limits,
    unwind::{cfi::Cfi, rule::Row},
};

/// Unwind rules remembered per module; more distinct call sites than this are rare, and are computed again.
const MAX_ROWS: usize = 4096;
/// The largest page there is: a segment is mapped from the start of its first page on.
const PAGE: u64 = if cfg!(target_arch = "aarch64") {
    1 << 16
} else {
    1 << 12
};

/// An open ELF file with what was derived from it. It stays usable after its processes are gone.
pub struct Module {
    /// The same for the same file, and never given to another one.
    pub number: u64,
    /// The file.
    pub image: Image,
    /// Its headers.
    pub elf: Elf,
    /// Its separate debug file.
    pub debug: Option<(Image, Elf)>,
    section_bytes: u64,
    cfi: OnceCell<Cfi>,
    too_large: Cell<bool>,
    rows: RefCell<HashMap<u64, Option<Row>>>,
}

impl Module {
    /// Reads the headers and looks for the debug file.
    ///
    /// # Errors
    /// It is not a usable ELF file.
    pub fn new(
        number: u64,
        image: Image,
        root: &Root,
        path: &str,
        limits: &Limits,
    ) -> Result<Self, ElfError> {
        let elf = Elf::parse(&image)?;
        let debug = match &image {
            Image::File(_) => debug_file::find(root, path, (&image, &elf), limits.symbol_bytes),
            Image::Bytes(_) => None,
        };
        Ok(Self {
            number,
            image,
            elf,
            debug,
            section_bytes: limits.section_bytes,
            cfi: OnceCell::new(),
            too_large: Cell::new(false),
            rows: RefCell::default(),
        })
    }

    /// Difference between addresses in memory and ELF virtual addresses, wrapping, when code at `file_offset` of the
    /// file is mapped at `start`.
    pub fn bias(&self, start: u64, file_offset: u64) -> Option<u64> {
        // The vdso is an image of memory: it is mapped whole.
        let whole = matches!(self.image, Image::Bytes(_));
        let segment = self.elf.loads().find(|segment| {
            let first = segment.offset & !(PAGE - 1);
            segment.flags & EXECUTE != 0
                && (whole
                    || (first..segment.offset.saturating_add(segment.file_size))
                        .contains(&file_offset))
        })?;
        Some(
            start
                .wrapping_sub(file_offset)
                .wrapping_add(segment.offset)
                .wrapping_sub(segment.address),
        )
    }

    /// The unwind rules at an ELF virtual address.
    pub fn row(&self, address: u64) -> Option<Row> {
        let cfi = self.cfi.get_or_init(|| {
            let debug = self.debug.as_ref().map(|(image, elf)| (image, elf));
            let cfi = Cfi::load((&self.image, &self.elf), debug, self.section_bytes);
            self.too_large.set(cfi.too_large);
            cfi
        });
        let mut rows = self.rows.borrow_mut();
        if let Some(row) = rows.get(&address) {
            return row.clone();
        }
        if rows.len() >= MAX_ROWS {
            rows.clear();
        }
        let row = cfi.row(address);
        rows.insert(address, row.clone());
        row
    }

    /// Whether unwind sections turned out too large to be read since this was last asked.
    pub fn take_too_large(&self) -> bool {
        self.too_large.take()
    }
}
