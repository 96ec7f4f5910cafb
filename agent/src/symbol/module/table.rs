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

/// Modules by origin. It owns none: the address spaces do.
#[derive(Default)]
pub struct Table {
    modules: HashMap<Key, Weak<Module>>,
    numbers: u64,
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

    /// A number for the next module.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// How many are open.
    pub fn len(&mut self) -> usize {
        self.modules.retain(|_, module| module.strong_count() > 0);
        self.modules.len()
    }
}
