//! The agent's eyes: once a tick, everything that waits on the node as one [`crate::model::watch::View`].
