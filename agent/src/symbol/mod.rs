//! Stacks to functions and lines.
