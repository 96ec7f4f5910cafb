//! Detectors, and the life of what they find: an incident is opened once, refreshed while it is true, and resolved.
