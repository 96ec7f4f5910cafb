//! Netlink framing: messages and attributes out of bytes, total and bounded by the bytes themselves.

/// Length of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
/// `NLMSG_ERROR`: an errno, 0 for an acknowledgement.
pub(super) const ERROR: u16 = 2;
/// `NLMSG_DONE`: end of a dump.
pub(super) const DONE: u16 = 3;
/// `NLM_F_REQUEST`.
pub(super) const REQUEST: u16 = 1;
/// `NLM_F_DUMP`: all objects, not one.
pub(super) const DUMP: u16 = 0x300;
/// `SOCK_DIAG_BY_FAMILY`.
pub(super) const BY_FAMILY: u16 = 20;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_seq`, as in the request.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// Splits a datagram into messages; stops at the first that does not fit.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            sequence: u32_at(bytes, 8)?,
            payload: bytes.get(HEADER..length)?,
        };
        bytes = rest(bytes, length);
        Some(message)
    })
}

/// Splits what follows a message's fixed part into attributes (kind, payload); stops at the first that does not fit.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        // The two highest bits are flags.
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let payload = bytes.get(4..length)?;
        bytes = rest(bytes, length);
        Some((kind, payload))
    })
}

/// A request of one message.
pub(super) fn request(flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// What follows an object of `length` bytes, which is padded to four.
fn rest(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(4)..).unwrap_or_default()
}

/// Copies `N` bytes from `at`.
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The byte at `at`.
pub(super) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// The native `u16` at `at`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_ne_bytes)
}

/// The native `u32` at `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}

/// The native `u64` at `at`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = request(DUMP, 7, &[1, 2, 3, 4, 5]);
        bytes.extend([0; 3]);
        bytes.extend(request(0, 8, &[]));
        let read: Vec<_> = messages(&bytes)
            .map(|message| (message.sequence, message.payload.to_vec()))
            .collect();
        assert_eq!(read, [(7, vec![1, 2, 3, 4, 5]), (8, vec![])]);
        let list = [5, 0, 2, 0, 9, 0, 0, 0, 4, 0, 3, 0x80, 8, 0, 1];
        let list: Vec<_> = attributes(&list).collect();
        assert_eq!(list, [(2, &[9][..]), (3, &[])]);
    }

    #[test]
    fn a_length_of_nothing_ends() {
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(attributes(&[0; 64]).count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(0..40_u8, 0..256)) {
            let total: usize = messages(&bytes).map(|message| HEADER + message.payload.len()).sum();
            prop_assert!(total <= bytes.len());
            let total: usize = attributes(&bytes).map(|(_, payload)| 4 + payload.len()).sum();
            prop_assert!(total <= bytes.len());
        }
    }
}
