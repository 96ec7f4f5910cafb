//! Names of bundles: sorted by time, told apart by what they are about, harmless in a shell and in a URL.

use crate::model::bundle::Bundle;

/// Ends every name.
const SUFFIX: &str = ".json";
/// Longest name; the kernel takes 255 bytes.
const MAX_LENGTH: usize = 128;
/// Longest part that is taken from a process.
const MAX_COMM: usize = 15;

/// `20261121T120000.123Z-parked-confd-4242.json`, then the same with `-1`, `-2` and so on.
pub fn names(bundle: &Bundle) -> impl Iterator<Item = String> {
    let at: String = bundle
        .taken_at
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '.')
        .take(24)
        .collect();
    let incident = &bundle.incident;
    let comm: String = incident
        .comm
        .chars()
        .take(MAX_COMM)
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    let name = format!("{at}-{}-{comm}-{}", incident.reason.as_str(), incident.pid);
    (0..100_u32).map(move |attempt| match attempt {
        0 => format!("{name}{SUFFIX}"),
        more => format!("{name}-{more}{SUFFIX}"),
    })
}

/// Whether the store gives such names: nothing that leads elsewhere, nothing hidden, nothing temporary.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(SUFFIX) else {
        return false;
    };
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
    // Years begin with a digit; `open.json` does not.
    name.len() <= MAX_LENGTH
        && stem.bytes().next().is_some_and(|c| c.is_ascii_digit())
        && stem.bytes().all(is_plain)
        && stem.contains('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sink::fixture;

    #[test]
    fn names_say_when_why_and_who() {
        let bundle = fixture::bundle();
        let names: Vec<String> = names(&bundle).take(2).collect();
        assert_eq!(
            names,
            [
                "20261121T120000.123Z-parked-confd-4242.json",
                "20261121T120000.123Z-parked-confd-4242-1.json"
            ]
        );
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_ours() {
        for name in [
            "",
            ".json",
            "open.json",
            "2-../x.json",
            "2-a/b.json",
            "../2-a.json",
            "/2-a.json",
            ".2-a.json.tmp",
            "2-a",
            "2-a.json\0",
            "2-a\n.json",
            "2.json",
        ] {
            assert!(!is_ours(name), "{name:?}");
        }
        assert!(!is_ours(&format!("2-{}.json", "a".repeat(200))));
    }

    proptest! {
        #[test]
        fn whatever_a_process_is_called(comm in ".*", at in ".*", pid: u32) {
            let mut bundle = fixture::bundle();
            bundle.taken_at = format!("2{at}");
            bundle.incident.comm = comm;
            bundle.incident.pid = pid;
            for name in names(&bundle) {
                prop_assert!(is_ours(&name), "{name:?}");
            }
        }
    }
}
