//! Names for locks, by the stack of one goroutine that waits. Function tables are large, so that few are kept and not for
//! long.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    report::goroutines::one::{self, Named},
    runtime::go::{Program, Record, one as goroutine},
    symbol::{Limits, Space, Symbols},
};

/// Programs that are kept.
const MAX_PROGRAMS: usize = 4;
/// How long one is kept that nobody asks for.
const IDLE: Duration = Duration::from_secs(10);
/// All that symbols are asked for is what variable an address is.
const LIMITS: Limits = Limits {
    spaces: 32,
    modules: 64,
    section_bytes: 32 << 20,
    symbol_bytes: 32 << 20,
    total_symbol_bytes: 32 << 20,
    resolvers: 4,
    symbols: 4096,
    perf_map_bytes: 0,
    frames: 128,
    scan_words: 0,
    stack_time: Duration::from_millis(500),
    refresh: Duration::from_secs(1),
};

/// See the module.
pub struct Names {
    programs: HashMap<u32, (Arc<Program>, Instant)>,
    symbols: Symbols,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            programs: HashMap::new(),
            symbols: Symbols::new(LIMITS),
        }
    }
}

impl Names {
    /// The program of a process; `None` when it cannot be opened any more.
    pub fn program(&mut self, pid: u32) -> Option<Arc<Program>> {
        let now = Instant::now();
        if let Some((program, used)) = self.programs.get_mut(&pid) {
            *used = now;
            return Some(Arc::clone(program));
        }
        let program = Arc::new(Program::open(pid).ok()?);
        self.keep(&program);
        Some(program)
    }

    /// Keeps a program that was opened.
    pub fn keep(&mut self, program: &Arc<Program>) {
        if self.programs.len() >= MAX_PROGRAMS {
            let oldest = self.programs.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(pid) = oldest.map(|(pid, _)| *pid) {
                self.programs.remove(&pid);
            }
        }
        self.programs
            .insert(program.pid, (Arc::clone(program), Instant::now()));
    }

    /// What the lock of a semaphore is called, by one who waits for it.
    pub fn name(&mut self, space: Space, semaphore: u64, waiter: &Record) -> Option<Named> {
        let program = self.program(space.pid)?;
        let stack = goroutine::stack(&program, waiter)?;
        one::name(&program, &stack, semaphore, space, &mut self.symbols)
    }

    /// Forgets a process that is gone.
    pub fn forget(&mut self, pid: u32) {
        self.programs.remove(&pid);
    }

    /// Forgets programs that nobody has asked for lately.
    pub fn sweep(&mut self) {
        self.programs.retain(|_, (_, used)| used.elapsed() < IDLE);
    }
}
