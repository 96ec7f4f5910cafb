//! One test per rule, on memory written by hand after what running programs showed.

mod frames;
mod glibc;
mod language;
mod musl;
mod operation;

use holdup_abi::futex;

use super::{
    Verdict, Wait, application_frames, classify,
    fake::{self, Bytes, PRIVATE_ABSOLUTE, PRIVATE_BITSET, PRIVATE_WAIT, wait, wait_at},
};
use crate::model::Kind;

const LOCK: u64 = 0x10000;
const STACK: u64 = 0x7f00_0000_0000;
const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;

fn owner(verdict: &Verdict) -> u32 {
    verdict.owner.as_ref().map_or(0, |owner| owner.tid)
}

fn summary(verdict: &Verdict) -> (Kind, Option<&'static str>, u64, u32) {
    (
        verdict.kind,
        verdict.runtime,
        verdict.address,
        owner(verdict),
    )
}

const UNKNOWN: (Kind, Option<&'static str>, u64, u32) = (Kind::Unknown, None, LOCK, 0);

fn glibc_mutex(word: u32, tid: u32, users: u32, kind: u32, list: [u64; 2]) -> Bytes {
    Bytes::default()
        .words(LOCK, &[word, 0, tid, users, kind, 0])
        .pointers(LOCK + 24, &list)
}
