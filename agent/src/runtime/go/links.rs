//! From goroutines to threads and clocks: read when somebody asks, since few do.

use super::{
    census::{Census, Goroutine},
    channel,
    goroutine::{self, Record},
    pages::Pages,
    status::Status,
};
use crate::proc::memory::{Memory as _, Process};

impl Census {
    /// Reads records again.
    #[must_use]
    pub fn again(&self, records: &[Record]) -> Vec<Option<Record>> {
        let addresses: Vec<u64> = records.iter().map(|record| record.address).collect();
        goroutine::read(&self.memory(), &addresses, &self.program.layout)
    }

    /// The thread that a goroutine runs on or makes its system call on, as the process calls it.
    #[must_use]
    pub fn thread(&self, goroutine: &Goroutine) -> Option<u32> {
        let record = &goroutine.record;
        let runs = matches!(record.status, Status::Running | Status::Syscall);
        let m = Some(record.m).filter(|_| runs)?;
        // It has run on meanwhile, or this is no thread at all.
        let field = m.checked_add(self.program.layout.m.curg)?;
        (self.memory().u64(field)? == record.address).then_some(())?;
        self.thread_of(m)
    }

    /// The thread that waits for a goroutine which waits: it may run on no other, since C called it there, or by
    /// `runtime.LockOSThread`.
    #[must_use]
    pub fn locked_thread(&self, record: &Record) -> Option<u32> {
        self.thread_of(Some(record.lockedm).filter(|_| record.status.waits())?)
    }

    fn thread_of(&self, m: u64) -> Option<u32> {
        let field = m.checked_add(self.program.layout.m.procid)?;
        let id = self.memory().u64(field).filter(|_| m != 0)?;
        u32::try_from(id).ok().filter(|id| *id != 0)
    }

    /// When a goroutine wakes that sleeps, on the monotonic clock in nanoseconds.
    #[must_use]
    pub fn wakes_at_ns(&self, goroutine: &Goroutine) -> Option<u64> {
        let record = &goroutine.record;
        let timer = (self.reason(goroutine) == "sleep").then_some(record.timer)?;
        channel::due(&mut Pages::new(&self.memory()), &self.program.layout, timer)
    }

    fn memory(&self) -> Process {
        Process {
            pid: self.program.pid,
        }
    }
}
