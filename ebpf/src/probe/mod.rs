//! Entry points: one file per kind of hook, each turning its arguments into a call of `wait`, `settle` or
//! `wake`.

mod census;
mod fentry;
mod lifecycle;
mod syscall;
mod tracepoint;
