//! The functions that goroutines pass when they park on a semaphore, and when they are made ready, for probes: found in
//! the function table, stripped or not. Source: `src/runtime/sema.go`.

use super::program::{Error, Program};
use crate::proc::memory::Process;

/// Where a goroutine is queued before it parks: not reached by who does not have to.
const QUEUE: &str = "runtime.(*semaRoot).queue";
/// What makes the goroutine of a `sudog` ready. Channels do not come by.
const READY_SUDOG: &str = "runtime.readyWithTime";
/// What makes any goroutine ready.
const READY: &str = "runtime.ready";
/// All functions that these may have become part of have one of these in their names.
const CALLERS: [&str; 4] = ["sem", "Sem", "notifyList", "goready"];

/// How it is told who becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyBy {
    /// The first argument is its `sudog`, whose first field it is.
    Sudog,
    /// The first argument is its record.
    Goroutine,
}

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name as Go prints it.
    pub name: &'static str,
    /// Address in memory of its first instruction.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// The two ends of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// A few milliseconds: all names are looked at.
    ///
    /// # Errors
    /// The compiler has made them part of others, as profile-guided optimisation may.
    pub fn find(program: &Program) -> Result<Self, Error> {
        let absorbed = absorbed(program);
        let place = |name: &'static str| {
            let is_it = |name: &str| !absorbed.iter().any(|absorbed| absorbed == name);
            place(program, name).filter(|place| is_it(place.name))
        };
        let missing = |name: &str| Error::Unsupported {
            version: program.version.text.clone(),
            reason: format!("{name} is part of its callers"),
        };
        let park = place(QUEUE).ok_or_else(|| missing(QUEUE))?;
        let (ready, ready_by) = place(READY_SUDOG)
            .map(|ready| (ready, ReadyBy::Sudog))
            .or_else(|| Some((place(READY)?, ReadyBy::Goroutine)))
            .ok_or_else(|| missing(READY))?;
        Ok(Self {
            park,
            ready,
            ready_by,
        })
    }
}

/// Functions that are part of those that may call ours: probes on them would miss calls.
fn absorbed(program: &Program) -> Vec<String> {
    let memory = Process { pid: program.pid };
    let table = &program.table;
    let callers = table.all().filter(|function| {
        let name = table.name(*function).unwrap_or_default();
        CALLERS.iter().any(|part| name.contains(part))
    });
    callers
        .flat_map(|function| table.inlined_into(function, &memory))
        .collect()
}

fn place(program: &Program, name: &'static str) -> Option<Place> {
    let table = &program.table;
    let function = table
        .all()
        .find(|function| table.is_named(*function, name))?;
    Some(Place {
        name,
        address: function.entry,
        size: table.end(function)?.checked_sub(function.entry)?,
    })
}
