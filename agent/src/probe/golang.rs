//! Uprobes on goroutines that park on a semaphore, which is what every lock of Go is built on: only those that have to
//! wait come by.

use std::io;

use super::uprobe::{
    Site,
    find::Binary,
    placement::{self, Needs, Placement},
};
use crate::{
    proc::maps::Maps,
    runtime::go::{
        Program,
        parking::{Parking, Place, ReadyBy},
        program::Error,
    },
    symbol::module::open::Root,
};

/// Registers of Go's calling convention by their hardware numbers, since 1.17: the goroutine, and the arguments.
#[cfg(target_arch = "x86_64")]
mod register {
    pub const GOROUTINE: u8 = 14;
    pub const ARGUMENTS: [u8; 2] = [0, 3];
}
#[cfg(target_arch = "aarch64")]
mod register {
    pub const GOROUTINE: u8 = 28;
    pub const ARGUMENTS: [u8; 2] = [0, 1];
}

/// A place, and the program that goes there.
#[derive(Debug)]
pub struct Probe {
    /// Name of the program.
    pub program: &'static str,
    /// Name of the function.
    pub function: &'static str,
    /// Where.
    pub site: Site,
    /// What the place is like.
    pub why: &'static str,
}

/// The probes of an executable.
#[derive(Debug)]
pub struct Probes {
    /// Ends of waits come first, so that no wait that is seen to begin can end unseen.
    pub probes: [Probe; 2],
    /// The executable, which the places' path leads to.
    _binary: Binary,
}

impl Probes {
    /// Finds the places in a process.
    ///
    /// # Errors
    /// See [`Parking::find`]; or the process is gone.
    pub fn find(program: &Program) -> Result<Self, Error> {
        let Parking {
            park,
            ready,
            ready_by,
        } = Parking::find(program)?;
        let maps = Maps::read(program.pid)?;
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let mapping = maps.find(park.address).ok_or_else(gone)?;
        let binary = Binary::mapped(program.pid, &Root::of(program.pid), mapping)?;
        let probe = |place: Place, program, needs| {
            let inside = place.address.checked_sub(mapping.start)?;
            let offset = mapping.file_offset.checked_add(inside)?;
            // Out of the file: in memory there may be others' breakpoints.
            let code = binary.code(offset, place.size);
            let placement: Placement = placement::place(&code, offset, needs);
            Some(Probe {
                program,
                function: place.name,
                site: Site::new(&binary, &placement, 0, 0),
                why: placement.why,
            })
        };
        let [first, second] = register::ARGUMENTS;
        let needs = Needs::NONE.register(register::GOROUTINE).register(second);
        let park = probe(park, "go_park", needs);
        let program = match ready_by {
            ReadyBy::Sudog => "go_ready_sudog",
            ReadyBy::Goroutine => "go_ready",
        };
        let ready = probe(ready, program, Needs::NONE.register(first));
        let (park, ready) = park.zip(ready).ok_or_else(gone)?;
        Ok(Self {
            probes: [ready, park],
            _binary: binary,
        })
    }
}
