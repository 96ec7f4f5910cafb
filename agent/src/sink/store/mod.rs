//! Bundles in a directory: written whole or not at all, and never too many.
