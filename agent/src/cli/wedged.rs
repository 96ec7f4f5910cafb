//! `holdup wedged`.
