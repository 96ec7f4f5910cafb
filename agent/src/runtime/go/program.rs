//! A Go process that we can read.

use std::{fmt, io};

use super::{
    binary::Binary,
    check,
    globals::Globals,
    layout::{self, Layout},
    moduledata::Moduledata,
    pclntab::{self, Header, Pclntab},
    version::Version,
};
use crate::proc::memory::Process;

/// Oldest release whose function table has the form that we read.
const OLDEST: u32 = 18;
/// Sections with the function table; the second one in position-independent programs.
const TABLES: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];

/// Why a process cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not written in Go.
    #[error("not a Go program")]
    NotGo,
    /// It is, but of a release, or for a processor, that we cannot read.
    #[error("{version} not supported: {reason}")]
    Unsupported {
        /// The release, as it calls itself.
        version: String,
        /// What is missing.
        reason: String,
    },
    /// It is gone, or may not be looked at.
    #[error("cannot read the process")]
    Io(#[from] io::Error),
    /// Reading did not come back in time.
    #[error("the process could not be read in time")]
    TimedOut,
}

/// How it is known where the runtime keeps things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The release is in our table.
    Table,
    /// The program's own DWARF says so.
    Dwarf,
    /// That of another release fits all of what was checked.
    Neighbour(u32),
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => f.write_str("table"),
            Self::Dwarf => f.write_str("dwarf"),
            Self::Neighbour(minor) => write!(f, "go1.{minor}"),
        }
    }
}

/// What is known of a Go process before its goroutines are looked at.
#[derive(Debug)]
pub struct Program {
    /// Process id.
    pub pid: u32,
    /// Path of the executable in its own mount namespace.
    pub module: Option<String>,
    /// What to subtract from an address of code to get an ELF address.
    pub bias: u64,
    /// The release that built it.
    pub version: Version,
    /// Where the runtime keeps things.
    pub layout: Layout,
    /// How that is known.
    pub provenance: Provenance,
    /// Its functions.
    pub table: Pclntab,
    /// Its parts.
    pub data: Moduledata,
    /// The runtime's variables.
    pub globals: Globals,
}

impl Program {
    /// Recognises a process and finds its way about in it.
    ///
    /// # Cost
    /// 2 to 5 ms; nothing but the executable's headers for a process that is not written in Go.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn open(pid: u32) -> Result<Self, Error> {
        let binary = Binary::open(pid)?;
        let memory = Process { pid };
        let version = Version::of(&binary, &memory).ok_or(Error::NotGo)?;
        let unsupported = |reason: &str| Error::Unsupported {
            version: version.text.clone(),
            reason: reason.to_owned(),
        };
        if !binary.is_x86_64() {
            return Err(unsupported("goroutines can be read on x86-64 only"));
        }
        if version.minor < OLDEST {
            return Err(unsupported("older than go1.18"));
        }
        let (address, bytes) = function_table(&binary)
            .ok_or_else(|| unsupported("its function table was not found"))?;
        let mut refused = match version.experiments().next() {
            Some(name) => format!("GOEXPERIMENT={name} may have moved what is read"),
            None => "no layout is known".to_owned(),
        };
        for (layout, provenance) in layouts(&binary, &version) {
            match fit(&binary, memory, &layout, (address, &bytes)) {
                Ok((table, data, globals)) => {
                    return Ok(Self {
                        pid,
                        module: crate::proc::process::Proc::default().exe(pid),
                        bias: binary.bias,
                        version,
                        layout,
                        provenance,
                        table,
                        data,
                        globals,
                    });
                }
                Err(reason) => refused = reason,
            }
        }
        Err(unsupported(&refused))
    }
}

/// Layouts to try, the best first. DWARF is read only when the table has not fitted.
fn layouts<'a>(
    binary: &'a Binary,
    version: &Version,
) -> impl Iterator<Item = (Layout, Provenance)> + use<'a> {
    let minor = version.minor;
    // What an experiment has moved only the program itself can tell.
    let is_usual = version.experiments().next().is_none();
    let known = layout::of_minor(minor).filter(|_| is_usual);
    let known = known.map(|layout| (*layout, Provenance::Table));
    let neighbours = layout::candidates(minor)
        .into_iter()
        .filter(move |_| is_usual && known.is_none())
        .map(|layout| (*layout, Provenance::Neighbour(layout.minor)));
    let own = move || layout::dwarf::read(&binary.image, &binary.elf, minor);
    known
        .into_iter()
        .chain(
            std::iter::once_with(own)
                .flatten()
                .map(|layout| (layout, Provenance::Dwarf)),
        )
        .chain(neighbours)
}

type Found = (Pclntab, Moduledata, Globals);

/// Reads everything by one layout; says what does not fit.
fn fit(
    binary: &Binary,
    memory: Process,
    layout: &Layout,
    (address, bytes): (u64, &[u8]),
) -> Result<Found, String> {
    let fail = |what: &str| what.to_owned();
    let header = Header::parse(bytes).ok_or_else(|| fail("its function table is damaged"))?;
    let data = Moduledata::find(binary, &memory, layout, (address, header))
        .ok_or_else(|| fail("its module data was not found"))?;
    let table = Pclntab::new(bytes.to_vec(), address, layout, data.text, data.gofunc)
        .ok_or_else(|| fail("its function table is damaged"))?;
    let globals = Globals::find(binary, &memory, &table, &data)
        .ok_or_else(|| fail("its list of goroutines was not found"))?;
    check::check(&memory, layout, &table, &globals)?;
    Ok((table, data, globals))
}

/// Address and bytes of the function table.
fn function_table(binary: &Binary) -> Option<(u64, Vec<u8>)> {
    binary.section(&TABLES).or_else(|| {
        binary
            .segments(false)
            .chain(binary.segments(true))
            .find_map(|(address, bytes)| {
                let start = (0..bytes.len().saturating_sub(pclntab::HEADER))
                    .step_by(8)
                    .find(|start| bytes.get(*start..).and_then(Header::parse).is_some())?;
                Some((
                    address.checked_add(start as u64)?,
                    bytes.get(start..)?.to_vec(),
                ))
            })
    })
}
