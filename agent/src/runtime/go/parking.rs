//! The functions that goroutines pass when they park on a semaphore, and when they are made ready, for probes: found in
//! the function table, stripped or not. Source: `src/runtime/sema.go`.

use super::{
    binary::Binary,
    pclntab::Function,
    program::{Error, Program},
};
use crate::{
    proc::memory::Process,
    symbol::module::elf::{EXECUTE, LOAD},
};

/// Where a goroutine is queued before it parks: not reached by who does not have to.
const QUEUE: &str = "runtime.(*semaRoot).queue";
/// What makes the goroutine of a `sudog` ready. Channels do not come by.
const READY_SUDOG: &str = "runtime.readyWithTime";
/// What makes any goroutine ready.
const READY: &str = "runtime.ready";
/// All functions that the first two may have become part of have this in their names, in one spelling or the other.
const CALLERS: [&str; 4] = ["sem", "Sem", "notifyList", "goready"];
/// Bytes of a function that are read: a probe goes to its very beginning.
const CODE: u64 = 64;

/// How a goroutine is told that becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyBy {
    /// The first argument is its `sudog`, whose first field it is.
    Sudog,
    /// The first argument is its record.
    Goroutine,
}

/// Where a function lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name as Go prints it.
    pub name: &'static str,
    /// Offset in the file of its first instruction.
    pub offset: u64,
    /// Its first bytes.
    pub code: Vec<u8>,
}

/// The two ends of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parking {
    /// Called with the root, the semaphore's address and the `sudog` by a goroutine that will park.
    pub park: Place,
    /// Called for the one that is made ready.
    pub ready: Place,
    /// With what.
    pub ready_by: ReadyBy,
}

impl Parking {
    /// Finds the functions of a program.
    ///
    /// # Cost
    /// A few milliseconds: all names are compared.
    ///
    /// # Errors
    /// The process is gone, or the compiler has made them part of others (profile-guided optimisation may).
    pub fn find(program: &Program) -> Result<Self, Error> {
        let binary = Binary::open(program.pid)?;
        let absorbed = absorbed(program);
        let place = |name: &'static str| {
            let function = program.table.all().find(|function| {
                !absorbed.contains(&name) && program.table.is_named(*function, name)
            })?;
            place(program, &binary, name, function)
        };
        let missing = |name: &str| Error::Unsupported {
            version: program.version.text.clone(),
            reason: format!("{name} has no code of its own"),
        };
        let park = place(QUEUE).ok_or_else(|| missing(QUEUE))?;
        let (ready, ready_by) = match place(READY_SUDOG) {
            Some(ready) => (ready, ReadyBy::Sudog),
            None => (
                place(READY).ok_or_else(|| missing(READY))?,
                ReadyBy::Goroutine,
            ),
        };
        Ok(Self {
            park,
            ready,
            ready_by,
        })
    }
}

/// Which of the functions are part of others, so that probes on them would miss calls.
fn absorbed(program: &Program) -> Vec<&'static str> {
    let memory = Process { pid: program.pid };
    let table = &program.table;
    let callers = table.all().filter(|function| {
        let name = table.name(*function).unwrap_or_default();
        CALLERS.iter().any(|part| name.contains(part))
    });
    let inlined: Vec<String> = callers
        .flat_map(|function| table.inlined_into(function, &memory))
        .collect();
    [QUEUE, READY_SUDOG, READY]
        .into_iter()
        .filter(|name| inlined.iter().any(|inlined| inlined == name))
        .collect()
}

fn place(
    program: &Program,
    binary: &Binary,
    name: &'static str,
    function: Function,
) -> Option<Place> {
    let address = function.entry.wrapping_sub(program.bias);
    let size = program.table.end(function)?.checked_sub(function.entry)?;
    let segment = binary.elf.segments.iter().find(|segment| {
        let inside = address.checked_sub(segment.address);
        segment.kind == LOAD
            && segment.flags & EXECUTE != 0
            && inside.is_some_and(|inside| inside < segment.file_size)
    })?;
    let offset = segment.offset.checked_add(address - segment.address)?;
    // Not out of memory, where others may have put breakpoints.
    let code = binary.image.read(offset, size.min(CODE), CODE)?;
    Some(Place { name, offset, code })
}
