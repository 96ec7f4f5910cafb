//! One goroutine that waits, where a census of all of them would be too much.

use super::{
    census::Stack,
    goroutine::{self, Record},
    program::Program,
    stack::Unwinder,
};
use crate::proc::memory::{Memory as _, Process};

/// Bytes of the stack that are read at first.
const TOP: u64 = 1024;

/// The stack of the goroutine with this record; `None` when it does not rest.
///
/// # Cost
/// Some 100 us, most of them for the names.
#[must_use]
pub fn stack(program: &Program, record: &Record) -> Option<Stack> {
    let memory = Process { pid: program.pid };
    record.is_whole().then_some(())?;
    let used = (record.stack_hi - record.sp).min(TOP);
    let mut top = vec![0; usize::try_from(used).ok()?];
    memory.read(record.sp, &mut top).then_some(())?;
    let addresses = Unwinder::default().walk(&program.table, &memory, record, &top);
    let again = goroutine::read(&memory, &[record.address], &program.layout);
    let again = again.first().copied().flatten()?;
    let is_steady = record.rests_as(&again) && record.stops == again.stops && !addresses.is_empty();
    is_steady.then(|| Stack::of(program, &memory, &addresses, record.reason))
}
