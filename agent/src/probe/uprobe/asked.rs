//! Which uprobes were asked for.

use std::str::FromStr;

/// Uprobes besides the default probes. None by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// Contended paths of runtimes: exact kinds and addresses of locks.
    pub slow: bool,
    /// Every lock and unlock: hold times, lock order.
    pub entry: bool,
    /// Goroutines as they wait.
    pub go: bool,
    /// Share of the target's processors, in percent, above which the uprobes are taken away; 100: never.
    pub max_overhead_percent: u32,
    /// Functions that acquire a lock, for `entry`.
    pub lock_functions: Vec<UserFunction>,
    /// Functions that release it.
    pub unlock_functions: Vec<UserFunction>,
}

impl Probes {
    /// Whether there are any.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.slow || self.entry || self.go
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            slow: false,
            entry: false,
            go: false,
            max_overhead_percent: 5,
            lock_functions: Vec::new(),
            unlock_functions: Vec::new(),
        }
    }
}

/// Longest name of a user's function in bytes; longer ones are mangled C++, which linkers limit to less.
const MAX_NAME: usize = 4096;
/// Arguments that are in registers on every architecture.
const REGISTER_ARGUMENTS: u8 = 6;

/// A function of the user's that acquires or releases a lock: `name(arg0)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFunction {
    /// Its name in the symbol table.
    pub name: String,
    /// Which argument, from 0, is the address of the lock.
    pub argument: u8,
}

impl FromStr for UserFunction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "not a function and an argument such as 'my_lock(arg0)'".to_owned();
        // From the right: a C++ or Rust name may have parentheses of its own.
        let inner = text.trim().strip_suffix(')').ok_or_else(wrong)?;
        let (name, argument) = inner.rsplit_once('(').ok_or_else(wrong)?;
        let number = argument.trim().strip_prefix("arg").ok_or_else(wrong)?;
        let name = name.trim();
        let is_name = !name.is_empty()
            && name.len() <= MAX_NAME
            && !name.bytes().any(|byte| byte.is_ascii_control());
        if !is_name || number.len() != 1 {
            return Err(wrong());
        }
        match number.parse() {
            Ok(argument) if argument < REGISTER_ARGUMENTS => Ok(Self {
                name: name.to_owned(),
                argument,
            }),
            Ok(_) => Err(format!(
                "only arg0 to arg{} are in registers",
                REGISTER_ARGUMENTS - 1
            )),
            Err(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn functions() {
        let function = |name: &str, argument| {
            Ok(UserFunction {
                name: name.to_owned(),
                argument,
            })
        };
        assert_eq!("my_lock(arg0)".parse(), function("my_lock", 0));
        assert_eq!(" a b ( arg5 ) ".parse(), function("a b", 5));
        assert_eq!("f(int)(arg1)".parse(), function("f(int)", 1));
        for text in [
            "",
            "(",
            ")",
            "()",
            "f",
            "f()",
            "f(arg)",
            "f(0)",
            "f(arg-1)",
            "f(arg+1)",
            "f(arg00)",
            "(arg0)",
            "f(arg0",
            "farg0)",
            "f(arg0)x",
            "f\ng(arg0)",
            "f(argé)",
        ] {
            assert!(text.parse::<UserFunction>().is_err(), "{text}");
        }
        assert_eq!(
            "f(arg6)".parse::<UserFunction>(),
            Err("only arg0 to arg5 are in registers".to_owned())
        );
        assert!(
            format!("{}(arg0)", "x".repeat(5000))
                .parse::<UserFunction>()
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,40}") {
            if let Ok(function) = text.parse::<UserFunction>() {
                prop_assert!(function.argument < 6 && !function.name.is_empty());
            }
        }
    }
}
