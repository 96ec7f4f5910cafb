//! Which functions are Go's own: an application is told by the others.

/// First parts of the import paths of the standard library.
const STANDARD: &[&str] = &[
    "archive",
    "bufio",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "structs",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "unique",
    "vendor",
    "weak",
];
/// Packages through which everybody waits.
const MACHINERY: [&str; 4] = ["runtime.", "sync.", "internal/", "syscall."];

/// What cgo makes of a function in C.
const FROM_C: [&str; 2] = ["._Cfunc_", "._cgo"];

/// Whether a function belongs to the standard library, or to what cgo adds.
#[must_use]
pub fn is_standard(function: &str) -> bool {
    let first = function.split(['/', '.']).next();
    let is_own = first.is_some_and(|first| STANDARD.contains(&first));
    (is_own && !function.starts_with("go.")) || FROM_C.iter().any(|part| function.contains(part))
}

/// Whether a function is of the standard library's innermost parts.
#[must_use]
pub fn is_machinery(function: &str) -> bool {
    MACHINERY.iter().any(|prefix| function.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_the_import_path() {
        for (function, standard) in [
            ("net/http.(*persistConn).roundTrip", true),
            ("bufio.(*Reader).fill", true),
            ("sync.(*Mutex).Lock", true),
            ("main.(*Patrol).sweep", false),
            ("github.com/prometheus/prometheus/tsdb.(*DB).run", false),
            ("go.uber.org/zap.(*Logger).Info", false),
            ("golang.org/x/net/http2.(*Framer).ReadFrame", false),
            ("network/server.Run", false),
            ("main._Cfunc_lock_in_c", true),
            ("", false),
        ] {
            assert_eq!(is_standard(function), standard, "{function}");
        }
        assert!(is_machinery("internal/poll.(*FD).Read") && !is_machinery("net.(*conn).Read"));
    }
}
