//! Whether goroutines pile up, for next to nothing: what to look at before a census is worth its price.

use super::{
    check,
    goroutine::{self, Record},
    layout::Layout,
    program::{Error, Program},
    queues::{self, Queues},
    sema,
};
use crate::proc::memory::{Memory as _, Process};

/// Reads two numbers of a Go process as often as one likes. The target does not notice.
///
/// # Cost
/// [`Poll::waiting`] about 1 us (one read of 16 KiB), [`Poll::goroutines`] about 0.4 us (one read of 8 bytes).
#[derive(Clone, Copy, Debug)]
pub struct Poll {
    memory: Process,
    layout: Layout,
    allgs: u64,
    semtable: u64,
    allglen: u64,
}

impl Poll {
    /// Finds its way about in a process; see [`Program::open`] for the price.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn open(pid: u32) -> Result<Self, Error> {
        Program::open(pid).map(|program| Self::of(&program))
    }

    /// Polls a process that is known already.
    #[must_use]
    pub const fn of(program: &Program) -> Self {
        Self {
            memory: Process { pid: program.pid },
            layout: program.layout,
            allgs: program.globals.allgs,
            semtable: program.globals.semtable,
            allglen: program.globals.allglen,
        }
    }

    /// Goroutines that wait for a `Mutex`, an `RWMutex`, a `WaitGroup` or the like now; `None` when the process is gone.
    #[must_use]
    pub fn waiting(&self) -> Option<u64> {
        sema::waiting(&self.memory, &self.layout, self.semtable)
    }

    /// How many wait for what, with up to `first` waiters of each; `None` when the process is gone. See [`queues::read`].
    #[must_use]
    pub fn queues(&self, first: usize) -> Option<Queues> {
        queues::read(&self.memory, &self.layout, self.semtable, first)
    }

    /// Addresses of the records of all goroutines, `most` of them; `None` when the process is gone.
    #[must_use]
    pub fn all(&self, most: u64) -> Option<Vec<u64>> {
        check::addresses(&self.memory, self.allgs, most)
    }

    /// Reads records; `None` for each that makes no sense.
    #[must_use]
    pub fn records(&self, addresses: &[u64]) -> Vec<Option<Record>> {
        goroutine::read(&self.memory, addresses, &self.layout)
    }

    /// Most goroutines that there ever were at once, a few of the runtime's own among them: records are used again, but
    /// never given back. It grows while goroutines pile up. `None` when the process is gone.
    #[must_use]
    pub fn goroutines(&self) -> Option<u64> {
        self.memory.u64(self.allglen)
    }
}
