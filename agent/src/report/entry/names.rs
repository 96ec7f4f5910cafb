//! What to call locks, threads and places.

use std::{collections::HashMap, rc::Rc};

use holdup_abi::entry::{self as abi, Lock};

use crate::{
    ingest::entry::{EntryData, Stack},
    model::{
        Frame, Kind,
        entry::{EntryKind, OrderLock},
    },
    report::{
        engine::Engine,
        identify,
        lock::{Sources, space_of},
        name,
        reach::place::Sharing,
    },
    runtime,
    sink::name as readable,
    symbol::Space,
};

/// A lock with its names.
#[derive(Clone, Debug)]
pub struct Named {
    /// As it is called in the lock order.
    pub lock: OrderLock,
    /// What it is.
    pub kind: EntryKind,
    /// Stable id.
    pub id: String,
    /// Static variable.
    pub symbol: Option<String>,
    /// Where it is taken.
    pub site: Option<String>,
}

/// Looks names up, each once.
pub struct Names<'a> {
    engine: &'a mut Engine,
    data: &'a EntryData,
    /// By slot: which lock at its address it is, in the order of their births.
    lives: HashMap<u32, u32>,
    /// By slot: where it is taken.
    leads: HashMap<u32, Stack>,
    locks: HashMap<u32, Rc<Named>>,
}

impl<'a> Names<'a> {
    /// Nothing is looked up yet.
    pub fn new(data: &'a EntryData, engine: &'a mut Engine) -> Self {
        Self {
            engine,
            data,
            lives: lives(data),
            leads: leads(data),
            locks: HashMap::new(),
        }
    }

    /// The lock in `slot`; `None` when its slot was not read.
    pub fn lock(&mut self, slot: u32) -> Option<Rc<Named>> {
        if let Some(known) = self.locks.get(&slot) {
            return Some(Rc::clone(known));
        }
        let lock = self.data.locks.get(&slot)?;
        let named = Rc::new(self.name(slot, lock));
        self.locks.insert(slot, Rc::clone(&named));
        Some(named)
    }

    /// Which of the locks at its address it is; `None` when its slot was not read.
    pub fn life(&self, slot: u32) -> Option<u32> {
        self.lives.get(&slot).copied()
    }

    fn name(&mut self, slot: u32, lock: &Lock) -> Named {
        let (space, address, kind) = (space_of(&lock.key), lock.key.address, kind(lock.kind));
        self.engine.processes.meet(space);
        let lead = self.leads.get(&slot).cloned().map(|stack| {
            let frames = self.frames(space, &stack);
            (stack, frames)
        });
        let site = lead
            .as_ref()
            .and_then(|(_, frames)| runtime::application_frames(frames).first())
            .map(name::place);
        let mapping = self.engine.symbols.mapping(space, address);
        let sharing = Sharing::of(mapping.as_ref(), address);
        let mut sources = Sources {
            symbols: &mut self.engine.symbols,
            processes: &self.engine.processes,
            keepsakes: &self.engine.keepsakes,
            sharers: &self.engine.sharers,
            now_ns: 0,
            watched_ns: 0,
        };
        let (id, symbol) = identify::identify(
            space,
            address,
            family(kind),
            sharing.place(),
            lead.as_ref(),
            &mut sources,
        );
        let name = symbol
            .clone()
            .unwrap_or_else(|| format!("{} {address:#x}", kind.as_str()));
        Named {
            lock: OrderLock {
                pid: space.pid,
                address,
                generation: self.life(slot).unwrap_or_default(),
                name,
            },
            kind,
            id,
            symbol,
            site,
        }
    }

    /// Frames of a stack.
    pub fn frames(&mut self, space: Space, stack: &Stack) -> Vec<Frame> {
        self.engine.symbols.symbolize(space, stack)
    }

    /// Frames of a stack of the process that a lock belongs to.
    pub fn frames_at(&mut self, slot: u32, stack: &Stack) -> Vec<Frame> {
        let space = self.data.locks.get(&slot).map(|lock| space_of(&lock.key));
        space.map_or_else(Vec::new, |space| self.frames(space, stack))
    }

    /// Name of a thread now; empty when it is gone.
    pub fn comm(&self, pid: u32, tid: u32) -> String {
        self.engine.processes.thread_comm(pid, tid)
    }
}

/// Where in the application a stack is: `x.c:10`; `None` when it could not be read.
pub fn place(frames: &[Frame]) -> Option<String> {
    runtime::application_frames(frames)
        .first()
        .map(readable::word)
}

/// What the functions are for that were called with it.
pub const fn kind(kind: u32) -> EntryKind {
    match kind {
        abi::KIND_MUTEX => EntryKind::Mutex,
        abi::KIND_RWLOCK => EntryKind::Rwlock,
        abi::KIND_SPIN => EntryKind::Spin,
        abi::KIND_CONDVAR => EntryKind::Condvar,
        abi::KIND_SEMAPHORE => EntryKind::Semaphore,
        abi::KIND_BARRIER => EntryKind::Barrier,
        _ => EntryKind::Named,
    }
}

/// What its id is made of: the same as where waits for it are told.
const fn family(kind: EntryKind) -> Kind {
    match kind {
        EntryKind::Mutex | EntryKind::Spin => Kind::Mutex,
        EntryKind::Rwlock => Kind::RwlockWrite,
        EntryKind::Condvar => Kind::Condvar,
        EntryKind::Semaphore => Kind::Semaphore,
        EntryKind::Barrier => Kind::Barrier,
        EntryKind::Named => Kind::Unknown,
    }
}

fn lives(data: &EntryData) -> HashMap<u32, u32> {
    let mut born: Vec<_> = data
        .locks
        .iter()
        .map(|(&slot, lock)| (lock.key, lock.born_ns, slot))
        .collect();
    born.sort_unstable_by_key(|&(key, born_ns, slot)| {
        (key.tgid, key.generation, key.address, born_ns, slot)
    });
    let mut lives = HashMap::new();
    let mut last = (None, 0);
    for (key, _, slot) in born {
        last = match last {
            (Some(before), life) if before == key => (Some(key), life + 1),
            _ => (Some(key), 0),
        };
        lives.insert(slot, last.1);
    }
    lives
}

/// The longest hold tells best where a lock is taken; any other acquisition does for the rest.
fn leads(data: &EntryData) -> HashMap<u32, Stack> {
    let holds = data.long_holds.iter().map(|it| (it.slot, &it.acquired));
    let now = data.now.iter().map(|it| (it.lock.slot, &it.stack));
    let edges = data.edges.iter();
    let edges = edges.flat_map(|it| {
        [
            (it.asked.slot, &it.asked_stack),
            (it.held.slot, &it.held_stack),
        ]
    });
    let mut leads = HashMap::new();
    for (slot, stack) in holds.chain(now).chain(edges) {
        if !stack.is_empty() {
            leads.entry(slot).or_insert_with(|| Rc::clone(stack));
        }
    }
    leads
}
