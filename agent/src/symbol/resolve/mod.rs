//! From an address inside a module to functions, lines and variables. Symbols are read when they are first asked for.

pub mod name;
pub mod perf_map;
mod resolver;
mod slim;
mod units;

use std::{collections::HashMap, rc::Rc};

use self::{
    resolver::{Resolver, Symbol},
    slim::SlimError,
};
use super::{
    limits::{Limits, Losses},
    module::Module,
};
use crate::model::Frame;

/// The symbols of all modules that are in use.
pub struct Symbolizer {
    limits: Limits,
    /// By module number, the most recently used last; nothing for a module whose symbols cannot be used.
    resolvers: Vec<(u64, Option<Resolver>)>,
    /// By module number and ELF virtual address.
    frames: HashMap<(u64, u64), Rc<[Frame]>>,
}

impl Symbolizer {
    /// Nothing is read yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            resolvers: Vec::new(),
            frames: HashMap::new(),
        }
    }

    /// The functions at an ELF virtual address of `module`, innermost first; at least one frame, perhaps nameless.
    pub fn frames(&mut self, module: &Module, address: u64, losses: &mut Losses) -> Rc<[Frame]> {
        let key = (module.number, address);
        if let Some(frames) = self.frames.get(&key) {
            return Rc::clone(frames);
        }
        let mut found = match self
            .resolver(module, losses)
            .map(|resolver| resolver.frames(address))
        {
            Some(Ok(frames)) => frames,
            Some(Err(_)) => {
                self.give_up(module, losses);
                Vec::new()
            }
            None => Vec::new(),
        };
        if found.is_empty() {
            found.push(Frame::default());
        }
        let found: Rc<[Frame]> = found.into();
        if self.frames.len() >= self.limits.symbols {
            self.frames.clear();
        }
        self.frames.insert(key, Rc::clone(&found));
        found
    }

    /// The function or variable that covers an ELF virtual address: `name` or `name+0x10`.
    pub fn symbol(&mut self, module: &Module, address: u64, losses: &mut Losses) -> Option<String> {
        match self.resolver(module, losses)?.symbol(address) {
            Ok(Some(Symbol { name, offset: 0 })) => Some(name),
            Ok(Some(Symbol { name, offset })) => Some(format!("{name}+{offset:#x}")),
            Ok(None) => None,
            Err(_) => {
                self.give_up(module, losses);
                None
            }
        }
    }

    fn resolver(&mut self, module: &Module, losses: &mut Losses) -> Option<&Resolver> {
        let known = self
            .resolvers
            .iter()
            .position(|(number, _)| *number == module.number);
        match known {
            Some(index) => {
                let resolver = self.resolvers.remove(index);
                self.resolvers.push(resolver);
            }
            None => self.load(module, losses),
        }
        self.resolvers.last()?.1.as_ref()
    }

    fn load(&mut self, module: &Module, losses: &mut Losses) {
        let resolver = match slim::copy(module, self.limits.symbol_bytes) {
            Ok(slim) => {
                losses.debug_too_large += u64::from(slim.without_debug);
                Some(Resolver::new(slim))
            }
            Err(SlimError::TooLarge) => {
                losses.module_too_large += 1;
                None
            }
            Err(SlimError::Io(_)) => {
                losses.symbols_unreadable += 1;
                None
            }
        };
        self.resolvers.push((module.number, resolver));
        while self.resolvers.len() > 1
            && (self.resolvers.len() > self.limits.resolvers
                || self.bytes() > self.limits.total_symbol_bytes)
        {
            self.resolvers.remove(0);
        }
    }

    fn give_up(&mut self, module: &Module, losses: &mut Losses) {
        losses.symbols_unreadable += 1;
        for (number, resolver) in &mut self.resolvers {
            if *number == module.number {
                *resolver = None;
            }
        }
    }

    fn bytes(&self) -> u64 {
        let resolvers = self
            .resolvers
            .iter()
            .filter_map(|(_, resolver)| resolver.as_ref());
        resolvers.map(Resolver::bytes).sum()
    }
}
