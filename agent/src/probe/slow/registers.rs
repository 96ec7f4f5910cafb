//! Where the arguments of a static probe are.

/// The word of `struct pt_regs` in which an argument is; nothing when it is elsewhere or not all of it is there.
#[must_use]
pub fn register(arguments: &str, number: usize) -> Option<u32> {
    let argument = arguments.split_whitespace().nth(number)?;
    let (size, place) = argument.split_once('@')?;
    if size.trim_start_matches('-') != "8" {
        return None;
    }
    WORDS
        .iter()
        .position(|name| *name == place && !name.is_empty())
        .and_then(|word| u32::try_from(word).ok())
}

/// Names of the first words of `struct pt_regs` on this machine.
#[cfg(target_arch = "x86_64")]
const WORDS: &[&str] = &[
    "%r15", "%r14", "%r13", "%r12", "%rbp", "%rbx", "%r11", "%r10", "%r9", "%r8", "%rax", "%rcx",
    "%rdx", "%rsi", "%rdi",
];
#[cfg(target_arch = "aarch64")]
const WORDS: &[&str] = &[
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn arguments_in_whole_registers_are_found() {
        let arguments = "8@%r14 -4@%eax -8@%rbx 8@-24(%rbp) 8@$7";
        assert_eq!(register(arguments, 0), Some(1));
        assert_eq!(register(arguments, 1), None, "half a register");
        assert_eq!(register(arguments, 2), Some(5));
        assert_eq!(register(arguments, 3), None, "in memory");
        assert_eq!(register(arguments, 4), None, "a constant");
        assert_eq!(register(arguments, 5), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(arguments in "[-0-9@%$a-z() ]{0,60}", number in 0_usize..9) {
            let _ = register(&arguments, number);
        }
    }
}
