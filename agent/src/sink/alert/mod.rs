//! Telling people: Alertmanager, webhooks, a log line.
