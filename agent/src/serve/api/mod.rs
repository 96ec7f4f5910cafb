//! `/api/v1`: what is known of the node now, as JSON. Lists are cut to `?limit=` and say how many there are.

pub mod incidents;
pub mod locks;
pub mod page;
pub mod params;
pub mod processes;
pub mod snapshots;
pub mod verdict;
