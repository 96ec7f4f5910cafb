//! Entry points: one file per kind of hook, each turning its arguments into a call of `wait` or `wake`.

mod census;
mod fentry;
mod lifecycle;
mod syscall;
mod tracepoint;
