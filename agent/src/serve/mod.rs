//! HTTP: metrics, health, the API and its event stream. Whoever reads slowly is cut off, never waited for.
//!
//! - `/metrics`: [`crate::sink::prometheus`]
//! - `/livez`, `/readyz`: how the agent is; open to all, also when a token is set, since probes have none
//! - `/api/v1/...`: [`api`]
//! - `/api/v1/events`: server-sent events

pub mod access;
pub mod api;
mod conn;
mod error;
mod events;
mod health;
mod listen;
mod metrics;
mod router;
pub mod settings;
mod state;
mod stats;

pub use access::Access;
pub use listen::{Error, bind, serve};
pub use settings::Settings;
pub use state::{Snapshots, Sources, State, Stored};
