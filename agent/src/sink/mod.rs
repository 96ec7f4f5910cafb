//! Where captures and snapshots go: each sink is a pure function from the model to bytes.
