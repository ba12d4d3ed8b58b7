//! Why the kernel refuses, in the words of FreeBSD's `strerror`.

use std::fmt;

macro_rules! errnos {
    ($($name:ident = $words:literal,)*) => {
        /// An error of the kernel.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Errno { $($name,)* }

        impl fmt::Display for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $words,)* })
            }
        }
    };
}

errnos! {
    AddressNotAvailable = "Can't assign requested address",
    Busy = "Device busy",
    Exists = "File exists",
    Invalid = "Invalid argument",
    NameTooLong = "File name too long",
    NoDevice = "Device not configured",
    NoEntry = "No such file or directory",
    Unreachable = "Network is unreachable",
}
