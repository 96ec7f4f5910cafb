//! Go: its threads as they show in futexes, and its goroutines, read from outside with nobody stopped: no debugger, no
//! endpoint, no symbol is needed.
//!
//! - [`program`]: recognises a Go process and finds its way about in it, stripped or not
//! - [`census`]: all goroutines with their stacks and what they wait for
//! - [`ages`]: since when, for who looks more than once
//! - [`poll`]: whether a census is worth its price; [`queues`]: how many wait for what; [`tally`]: what all of them do;
//!   [`one`]: one of them
//! - [`parking`]: the functions that goroutines pass when they park, and when they are made ready
//!
//! Below them: `layout` (offsets by release), `pclntab` (functions, lines, stack depths), `moduledata` and `globals`
//! (where things are), `check` (whether all of that fits), `goroutine`, `sema`, `channel`, `parked` (what is waited for),
//! `stack`, `operation` (what the waiter wanted), `lockword` (what the lock says), `links` (threads and timers),
//! `suspect`, `calls`, `behind` and `heap` (who may hold it), `standard` (which functions are Go's own).
//!
//! Not here: uprobes themselves (`probe::golang`), and processors other than x86-64.

pub mod ages;
mod behind;
mod binary;
mod calls;
pub mod census;
pub mod channel;
mod check;
mod globals;
mod goroutine;
mod heap;
mod layout;
mod links;
pub mod lockword;
mod moduledata;
pub mod one;
pub mod operation;
mod pages;
mod parked;
pub mod parking;
pub mod pclntab;
pub mod poll;
pub mod program;
pub mod queues;
mod sema;
pub mod stack;
pub mod standard;
pub mod status;
pub mod suspect;
pub mod tally;
mod threads;
mod version;

pub use census::Census;
pub use goroutine::Record;
pub use poll::Poll;
pub use program::Program;
pub(super) use threads::Go;
