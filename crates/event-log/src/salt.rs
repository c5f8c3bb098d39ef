//! Salts: random bytes in the metadata of each event, so that the digest of an event's line tells
//! nothing of the line.
//!
//! A line has little that is not easily guessed: a prisoner number, a tier, a date. Without a salt,
//! a reader of the digest alone tries all of them until one fits. With 32 random bytes in the line
//! there is nothing to try, also when the line itself is gone.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Length of a salt in bytes: that of the digest which it protects.
const SALT_BYTES: usize = 32;

/// Length of the buffer that 43 characters of base64url are decoded into.
const DECODED_BYTES_MAX: usize = 33;

/// The salt of one event. It must belong to one try to append one event alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; SALT_BYTES]);

impl Salt {
    /// Draws a salt from the operating system.
    ///
    /// # Panics
    /// Where the operating system has no random bytes.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; SALT_BYTES];
        getrandom::fill(&mut bytes).expect("the operating system has random bytes");
        Self(bytes)
    }
}

impl From<[u8; SALT_BYTES]> for Salt {
    fn from(bytes: [u8; SALT_BYTES]) -> Self {
        Self(bytes)
    }
}

/// Base64url without padding (RFC 4648).
impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// The salt of a stored event, which was read and is not kept: only the stored bytes need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedSalt;

impl<'de> Deserialize<'de> for CheckedSalt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match URL_SAFE_NO_PAD.decode_slice(text, &mut [0; DECODED_BYTES_MAX]) {
            Ok(SALT_BYTES) => Ok(Self),
            Ok(_) | Err(_) => Err(de::Error::custom("a salt is 32 bytes in base64url without padding")),
        }
    }
}
