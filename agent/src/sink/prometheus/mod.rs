//! The node as Prometheus metrics.
