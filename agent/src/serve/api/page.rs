//! One page of a list.

use serde::{Deserialize, Serialize};

/// Entries without `?limit=`.
pub const DEFAULT_LIMIT: usize = 100;
/// Most entries of one answer.
pub const MAX_LIMIT: usize = 10_000;

/// Which part of a list is asked for. The list may change between two pages.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Window {
    /// Most entries.
    pub limit: Option<usize>,
    /// Entries before the first one.
    pub offset: usize,
}

/// Whose entries are asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Who {
    /// Of the process with this id.
    pub pid: Option<u32>,
    /// Of processes of this name.
    pub comm: Option<String>,
}

impl Who {
    /// Whether it is about this process; the name of one that is gone is not known.
    pub fn is(&self, pid: u32, comm: Option<&str>) -> bool {
        self.pid.is_none_or(|wanted| wanted == pid)
            && (self.comm.is_none() || self.comm.as_deref() == comm)
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// What it is and its version, e.g. `holdup.locks/v1`.
    pub schema: String,
    /// Of when it is, RFC 3339 in UTC; null before the first tick.
    pub at: Option<String>,
    /// Entries that match, on this page or not.
    pub total: usize,
    /// Entries before the first one here.
    pub offset: usize,
    /// Those of this page.
    pub items: Vec<T>,
}

impl Window {
    /// The page of `all`, in `order`, each entry made by `show`. Only the entries up to the page's end are put in order.
    pub fn page<A, T>(
        self,
        schema: &str,
        at: Option<String>,
        mut all: Vec<A>,
        order: impl Fn(&A, &A) -> std::cmp::Ordering,
        show: impl Fn(A) -> T,
    ) -> Page<T> {
        let total = all.len();
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let end = self.offset.saturating_add(limit).min(total);
        if (1..total).contains(&end) {
            all.select_nth_unstable_by(end - 1, &order);
        }
        all.truncate(end);
        all.sort_unstable_by(order);
        Page {
            schema: schema.to_owned(),
            at,
            total,
            offset: self.offset,
            items: all.into_iter().skip(self.offset).map(show).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: Option<usize>, offset: usize) -> (usize, Vec<u32>) {
        let all = vec![5, 1, 4, 2, 3];
        let page = Window { limit, offset }.page("s", None, all, Ord::cmp, |item| item * 10);
        (page.total, page.items)
    }

    #[test]
    fn pages_are_in_order_and_whole() {
        assert_eq!(page(None, 0), (5, vec![10, 20, 30, 40, 50]));
        assert_eq!(page(Some(2), 0), (5, vec![10, 20]));
        assert_eq!(page(Some(2), 2), (5, vec![30, 40]));
        assert_eq!(page(Some(2), 4), (5, vec![50]));
        assert_eq!(page(Some(0), 0), (5, vec![]));
        assert_eq!(page(Some(usize::MAX), usize::MAX), (5, vec![]));
    }
}
