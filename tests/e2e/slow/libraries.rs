//! libs
