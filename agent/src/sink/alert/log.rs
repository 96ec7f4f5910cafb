//! A line in the agent's own log for each change.

use super::{
    http::Failure,
    notice::{Notice, What},
    worker,
};
use crate::sink::text;

/// The log.
#[derive(Debug)]
pub struct Log;

impl worker::Outlet for Log {
    fn batch(&self) -> usize {
        64
    }

    fn deliver(&self, notices: &[Notice]) -> Result<(), Failure> {
        notices.iter().for_each(line);
        Ok(())
    }
}

fn line(notice: &Notice) {
    let incident = &notice.incident;
    let lock = incident.lock.as_ref().map(|lock| lock.id.as_str());
    // Names come from targets, and the log may go to a terminal.
    let sentence = text::sanitise(&incident.text);
    let process = text::sanitise(&incident.comm);
    let change = notice.what.as_str();
    let snapshot = incident.snapshots.last().map(String::as_str);
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                change,
                incident = incident.key,
                reason = incident.reason.as_str(),
                process = &*process,
                pid = incident.pid,
                lock,
                waiters = incident.waiters,
                snapshot,
                "{sentence}"
            )
        };
    }
    match notice.what {
        What::Resolved => log!(info),
        _ => log!(warn),
    }
}
