//! HTTP: metrics, health, the API and its event stream. Whoever reads slowly is cut off, never waited for.
