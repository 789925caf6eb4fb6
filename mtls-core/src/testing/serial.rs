//! Serial numbers, and the part of a subject that makes it unique.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

use rcgen::SerialNumber;

/// A random positive serial number, printed as whole bytes in lowercase hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Serial(u128);

impl Serial {
    pub(super) fn random() -> Self {
        let random = u128::from(unique()) << 64 | u128::from(unique());
        // RFC 5280 §4.1.2.2: the serial number MUST be a positive integer. A clear top bit spares DER a zero byte in
        // front, so that no two tools print it differently.
        Self((random >> 1).max(1))
    }

    pub(super) fn to_be_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl From<Serial> for SerialNumber {
    fn from(serial: Serial) -> Self {
        Self::from_slice(&serial.to_be_bytes())
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:x}", self.0);
        // Whole bytes, as openssl prints them.
        write!(f, "{}{hex}", if hex.len() % 2 == 1 { "0" } else { "" })
    }
}

/// A number that no other call returns, in this process or another, but for a chance of one in 2^64.
///
/// The hash maps' keys come from the system's randomness. Nothing secret rests on this.
pub(super) fn unique() -> u64 {
    RandomState::new().build_hasher().finish()
}
