//! How the program ends: exit status, and errors that say what, why and what to do.

use std::{fmt, io::Write as _, process::ExitCode};

use crate::sink::text;

/// Exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: it was done.
    Done,
    /// 1: it failed.
    Failed,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: something was found that the caller asked to be told about.
    Finding,
    /// 4: this kernel or these privileges do not allow it.
    NotPermitted,
    /// The status of the program that was run, passed through.
    Child(u8),
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Finding => 3,
            Self::NotPermitted => 4,
            Self::Child(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// An error as the user sees it. The typed errors of other modules become one where a subcommand calls them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Exit status.
    pub exit: Exit,
    /// What went wrong and why, in one sentence without a full stop: `what: why`.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Error {
    /// Something failed.
    #[must_use]
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The command line makes no sense.
    #[must_use]
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The kernel or the privileges do not allow it.
    #[must_use]
    pub fn not_permitted(message: impl fmt::Display) -> Self {
        Self::new(Exit::NotPermitted, message)
    }

    fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            hint: None,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Prints it to standard error. There is nobody to tell when that fails.
    pub fn print(&self) {
        let _ = writeln!(std::io::stderr().lock(), "{self}");
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Messages quote names of processes and files, which may hold escape sequences.
        write!(f, "holdup: {}", text::sanitise(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {}", text::sanitise(hint)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_and_what_to_do() {
        let error = Error::failed("no process 7: it has exited").with_hint("look with ps");
        assert_eq!(
            error.to_string(),
            "holdup: no process 7: it has exited\n  hint: look with ps"
        );
        assert_eq!(Error::usage("a\x1b[2J").to_string(), "holdup: a\u{fffd}[2J");
    }

    #[test]
    fn statuses_are_those_documented() {
        let statuses = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Finding,
            Exit::NotPermitted,
        ];
        assert_eq!(statuses.map(Exit::code), [0, 1, 2, 3, 4]);
        assert_eq!(Exit::Child(130).code(), 130);
    }
}
