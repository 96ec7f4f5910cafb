//! The modules that are open now, shared between the processes that map the same file.

use std::{
    collections::HashMap,
    rc::{Rc, Weak},
};

use super::{Module, open::FileId};

/// What a module was made from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A file.
    File(FileId),
    /// The bytes of the vdso.
    Vdso(Box<[u8]>),
}

/// Most origins whose number is remembered.
const MAX_NUMBERS: usize = 8192;

/// Modules by origin. It owns none: the address spaces do.
#[derive(Default)]
pub struct Table {
    modules: HashMap<Key, Weak<Module>>,
    numbers: HashMap<Key, u64>,
    last: u64,
}

impl Table {
    /// The module made from `key`, if one is open.
    pub fn get(&self, key: &Key) -> Option<Rc<Module>> {
        self.modules.get(key)?.upgrade()
    }

    /// Adds a module.
    pub fn insert(&mut self, key: Key, module: &Rc<Module>) {
        self.modules.insert(key, Rc::downgrade(module));
    }

    /// The number for a module made from `key`: the same as last time, so that a program that is started again finds
    /// its symbols still read.
    pub fn number(&mut self, key: &Key) -> u64 {
        if self.numbers.len() >= MAX_NUMBERS {
            self.numbers.clear();
        }
        let last = &mut self.last;
        *self.numbers.entry(key.clone()).or_insert_with(|| {
            *last += 1;
            *last
        })
    }

    /// How many are open.
    pub fn len(&mut self) -> usize {
        self.modules.retain(|_, module| module.strong_count() > 0);
        self.modules.len()
    }
}
