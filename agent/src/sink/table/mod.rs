//! Reports for people, at least 80 columns wide. What somebody needs at three in the morning comes first: which lock,
//! how many wait, since when, at which line, who holds it.

mod bundle;
mod capture;
mod entry;
pub(super) mod footer;
mod goroutines;
mod group;
mod histogram;
pub(super) mod lock;
pub(super) mod page;
pub(super) mod sites;
mod snapshot;
pub(super) mod stack;
pub(super) mod threads;
pub(super) mod timeline;

pub use bundle::render as bundle;
pub use capture::render as capture;
pub use snapshot::render as snapshot;

/// Narrowest page: what every terminal has.
pub const MIN_WIDTH: usize = 80;
/// Widest page: longer lines are hard to follow.
pub const MAX_WIDTH: usize = 160;

/// How to lay a table out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Columns to fill; kept within [`MIN_WIDTH`] and [`MAX_WIDTH`].
    pub width: usize,
    /// Write colours (ANSI escape sequences).
    pub colour: bool,
    /// Most rows of each section.
    pub top: usize,
}

#[cfg(test)]
mod tests;
