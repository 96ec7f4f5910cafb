//! `--probe entry`: every call of a lock function of chosen processes.
//!
//! Path of a call: [`call`] (the uprobe on the function, and its attach cookie) -> [`ask`], [`release`] or [`condvar`] ->
//! `returned` of [`ask`] or [`condvar`] (the uprobe on the return, where the result is needed). [`edge`] notes what is
//! asked for with other locks held; [`event`] sends what is worth a stack.
//!
//! C libraries implement some lock functions by others: a call that is made while another one for the same lock has not
//! returned is part of it, and is left out. Calls and returns are matched by the caller's stack pointer.

mod ask;
mod call;
mod condvar;
mod context;
mod edge;
mod event;
mod life;
mod lock;
mod outcome;
mod place;
mod release;
