//! `/proc/locks`: who holds the file lock that a process waits for.

/// Most lines read.
const MAX_LINES: usize = 65_536;

/// A line: a lock, or one that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    id: u64,
    /// 0 for a lock that is held, more for those that wait for it, and for those that wait for them.
    depth: usize,
    /// 0 when it has none: locks of an open file (`OFD`) belong to no process, and some processes are not visible.
    pid: u32,
    inode: u64,
}

/// Process that holds the lock on `inode` that `pid` waits for.
pub(super) fn holder(text: &str, pid: u32, inode: Option<u64>) -> Option<u32> {
    let lines: Vec<Line> = text.lines().take(MAX_LINES).filter_map(parse).collect();
    let is_waiter = |line: &Line| {
        line.depth > 0 && line.pid == pid && inode.is_none_or(|inode| inode == line.inode)
    };
    let at = lines.iter().position(is_waiter)?;
    let waiter = lines.get(at)?;
    let before = lines.get(..at)?.iter().rev();
    before
        .take_while(|line| line.id == waiter.id)
        .find(|line| line.depth == 0)
        .map(|line| line.pid)
        .filter(|&pid| pid != 0)
}

/// `1: -> FLOCK  ADVISORY  WRITE 4711 08:01:5678 0 EOF`
fn parse(line: &str) -> Option<Line> {
    let (id, rest) = line.split_once(':')?;
    let (depth, rest) = match rest.split_once("->") {
        Some((indent, rest)) => (indent.len(), rest),
        None => (0, rest),
    };
    let mut fields = rest.split_ascii_whitespace().skip(3);
    // Negative for an OFD lock.
    let pid = fields.next()?.parse().unwrap_or(0);
    let inode = fields.next()?.rsplit_once(':')?.1.parse().ok()?;
    Some(Line {
        id: id.trim().parse().ok()?,
        depth,
        pid,
        inode,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "1: POSIX  ADVISORY  WRITE 700 00:1c:9 0 EOF\n\
                        2: FLOCK  ADVISORY  WRITE 800 00:1c:5678 0 EOF\n\
                        2: -> FLOCK  ADVISORY  WRITE 801 00:1c:5678 0 EOF\n\
                        2:  -> FLOCK  ADVISORY  WRITE 802 00:1c:5678 0 EOF\n\
                        3: OFDLCK ADVISORY  WRITE -1 00:1c:7 0 EOF\n\
                        3: -> POSIX  ADVISORY  WRITE 803 00:1c:7 0 EOF\n";

    #[test]
    fn holders() {
        assert_eq!(holder(TEXT, 801, Some(5678)), Some(800));
        assert_eq!(holder(TEXT, 802, None), Some(800));
        assert_eq!(holder(TEXT, 801, Some(9)), None);
        assert_eq!(holder(TEXT, 803, Some(7)), None);
        assert_eq!(holder(TEXT, 800, Some(5678)), None);
    }

    proptest! {
        #[test]
        fn any_cut(cut in 0..TEXT.len(), pid in 800..804_u32) {
            let found = holder(&TEXT[..cut], pid, None);
            prop_assert!(found.is_none_or(|found| found == 800));
        }

        #[test]
        fn any_text(text in "[ -~\n]{0,128}") {
            let _ = holder(&text, 1, None);
        }
    }
}
