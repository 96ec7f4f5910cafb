//! Rust's standard library on Linux, since 1.62, when its locks became futexes.
//!
//! `std::sys::*::Mutex` is one word; `RwLock` is a state word, on which readers wait, and a word on which writers wait;
//! `Condvar` and `Once` are one word. None of them stores a holder. Measured on 1.95; sources
//! `library/std/src/sys/sync/{mutex,rwlock,condvar,once,thread_parking}/futex.rs`, up to 1.76
//! `library/std/src/sys/unix/locks/futex_*.rs`.
//! Only names tell: the words alone (2, 0, all-ones) are those of many other locks.

use super::{Runtime, Verdict, Wait, name::Call};
use crate::model::Kind;

/// Rust's standard library.
pub(super) struct RustStd;

/// Name in reports.
const NAME: &str = "rust-std";
/// `RwLock::writer_notify` after the state word.
const WRITER_NOTIFY: u64 = 4;

impl Runtime for RustStd {
    fn by_calls(&self, wait: &Wait<'_>, calls: &[Call<'_>]) -> Option<Verdict> {
        let (rule, call) = calls.iter().find_map(|call| Some((rule(call)?, call)))?;
        let (kind, offset) = match rule {
            Rule::Lock(kind, offset) => (kind, offset),
            Rule::Park => return Some(parked(wait, calls)),
        };
        Some(Verdict::new(
            kind,
            NAME,
            wait.address.checked_sub(offset).unwrap_or(wait.address),
            format!("called from {}", call.name),
        ))
    }
}

enum Rule {
    /// A kind of lock, and the offset of its futex in it.
    Lock(Kind, u64),
    /// Thread parking: what for, the callers say.
    Park,
}

fn rule(call: &Call<'_>) -> Option<Rule> {
    // The path has changed often, its ends have not.
    let is_internal = call.name.starts_with("std::sys") && call.name.contains("futex");
    if !is_internal {
        return None;
    }
    let of = |object: &str| call.name.contains(object);
    match call.last() {
        "lock_contended" => Some(Rule::Lock(Kind::Mutex, 0)),
        "read_contended" => Some(Rule::Lock(Kind::RwlockRead, 0)),
        "write_contended" => Some(Rule::Lock(Kind::RwlockWrite, WRITER_NOTIFY)),
        "wait" | "wait_timeout" | "wait_optional_timeout" if of("Condvar::") => {
            Some(Rule::Lock(Kind::Condvar, 0))
        }
        "call" | "wait" if of("Once::") => Some(Rule::Lock(Kind::Once, 0)),
        "park" | "park_timeout" if of("Parker::") => Some(Rule::Park),
        _ => None,
    }
}

/// A parked thread waits on its own token; who will unpark it depends on what it parked for.
fn parked(wait: &Wait<'_>, calls: &[Call<'_>]) -> Verdict {
    let purpose = calls.iter().find_map(|call| {
        let name = call.name;
        if name.starts_with("std::sync::mp") || name.starts_with("crossbeam_channel::") {
            Some((Kind::Condvar, "parked by a channel"))
        } else if name.starts_with("std::thread::scope") {
            Some((Kind::Join, "parked until the threads of a scope end"))
        } else {
            None
        }
    });
    match purpose {
        Some((kind, evidence)) => Verdict::new(kind, NAME, wait.address, evidence),
        None => Verdict::unknown(
            wait,
            Some(NAME),
            "std::thread::park: for what, only its caller knows",
        ),
    }
}
