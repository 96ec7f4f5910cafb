//! What the kernel says about a process and its control group: how near to their limits they are.

mod cgroup;
mod process;

pub use self::{cgroup::facts as cgroup, process::facts as process};
