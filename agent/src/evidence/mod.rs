//! Evidence of an incident, taken while it lasts: a process that hangs is restarted sooner or later, and then nobody can
//! tell what it was.
//!
//! [`flight`] keeps the last minutes of all processes in bounded memory; [`collect`] puts a bundle together within a
//! deadline; [`replay`] plays a snapshot to the detectors; [`facts`] is what the kernel says about a process and its control group. Where bundles are kept is
//! [`crate::sink::store`]'s business.

pub mod collect;
pub mod facts;
pub mod flight;
pub mod replay;
mod rests;
pub mod settings;

pub use collect::{Collector, Request};
pub use settings::Settings;
