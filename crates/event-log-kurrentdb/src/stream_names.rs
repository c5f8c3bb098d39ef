//! The names of streams on the server.
//!
//! | stream | its name |
//! |---|---|
//! | of a person | the prefix, `person-`, and in hexadecimal HMAC-SHA-256 of `prisoner-A1234BC/0` |
//! | of a prison | the prefix and the ledger's name, `ledger-prison-LEI` |
//!
//! A server keeps the name of a stream for ever, also that of a deleted one, and shows names in its
//! user interface, statistics and logs. So the name of a person's stream tells nothing to a reader
//! without the [naming key](NamingKey). The text that is hashed has the ledger's name of the
//! stream, with its kind and the number, then a `/`, which no name has, and the generation.
//!
//! The generation is that of the stream's name: a server takes no event into a stream again that it
//! has deleted for good.

use std::{fmt, str::FromStr};

use domain::{Stream, text::Excerpt};
use ring::{
    hmac,
    rand::{SystemRandom, generate},
};

/// Length of a naming key in bytes.
const KEY_BYTES: usize = 32;

/// Length of HMAC-SHA-256 in hexadecimal digits.
const DIGEST_DIGITS: usize = 64;

/// The beginning of the name of a person's stream, after the prefix.
const PERSON: &str = "person-";

/// The generation of the streams that the ledger writes to.
pub(crate) const GENERATION: u64 = 0;

/// The prefix of the names of all streams of a ledger on the server. A stream belongs to the ledger
/// if the rest of its name is that of one of the ledger's streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPrefix(String);

/// A text that cannot be the prefix of stream names.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is no prefix of streams: letters, digits, `-` and `_` are allowed", Excerpt(.0))]
pub struct InvalidPrefix(String);

impl Default for StreamPrefix {
    fn default() -> Self {
        Self("ledger-".to_owned())
    }
}

impl FromStr for StreamPrefix {
    type Err = InvalidPrefix;
    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        // A `$` would make them system streams.
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match text.is_empty() || !text.bytes().all(is_allowed) {
            true => Err(InvalidPrefix(text.to_owned())),
            false => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for StreamPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StreamPrefix {
    /// Whether a stream of the ledger may have this name on the server. Other streams that begin
    /// with the prefix, such as those of a ledger with a longer prefix, are not streams of this
    /// ledger. The plain name of a person's stream is one: an event in it is damage, and must not
    /// be passed over.
    pub(crate) fn owns(&self, name: &str) -> bool {
        let Some(name) = name.strip_prefix(&self.0) else { return false };
        is_person_name(name) || name.parse::<Stream>().is_ok()
    }

    /// The name of a stream on the server that is beside the ledger's, such as one with a snapshot.
    /// No prefix may begin with its first character, so it belongs to no ledger, whatever the
    /// prefix of that one.
    pub(crate) fn stream_beside(&self, name: &str) -> String {
        format!(".{self}{name}")
    }

    /// The name of the ledger's stream whose settings this system stream holds; nothing where it
    /// holds those of another stream.
    pub(crate) fn stream_of_settings<'a>(&self, system_stream: &'a str) -> Option<&'a str> {
        system_stream.strip_prefix("$$").filter(|name| self.owns(name))
    }
}

/// Whether a name without its prefix has the form of that of a person's stream.
fn is_person_name(name: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.strip_prefix(PERSON).is_some_and(|digest| digest.len() == DIGEST_DIGITS && digest.bytes().all(is_digit))
}

/// The key from which the names of persons' streams are made. A holder can find the name of each
/// prisoner number, and so the number of each name.
#[derive(Clone)]
pub struct NamingKey(hmac::Key);

/// A text that is no naming key. It is not repeated: it may be a secret.
#[derive(Debug, thiserror::Error)]
#[error("a naming key is 64 hexadecimal digits")]
pub struct InvalidNamingKey;

impl FromStr for NamingKey {
    type Err = InvalidNamingKey;
    fn from_str(text: &str) -> Result<Self, InvalidNamingKey> {
        let mut key = [0; KEY_BYTES];
        if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidNamingKey);
        }
        for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = str::from_utf8(digits).map_err(|_| InvalidNamingKey)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidNamingKey)?;
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }
}

impl fmt::Debug for NamingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamingKey")
    }
}

impl NamingKey {
    /// A new key as a text, from the random bytes of the operating system.
    ///
    /// # Panics
    /// Where the operating system has no random bytes.
    #[must_use]
    pub fn new_text() -> String {
        let bytes = generate::<[u8; KEY_BYTES]>(&SystemRandom::new());
        hex(&bytes.expect("the operating system has random bytes").expose())
    }

    /// Tells one key from another, and nothing else of it.
    pub(crate) fn fingerprint(&self) -> String {
        // No stream has a name without a `/`, so this is no part of one.
        self.digest("fingerprint of the naming key")
    }

    fn digest(&self, text: &str) -> String {
        hex(hmac::sign(&self.0, text.as_bytes()).as_ref())
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The reason why names of streams cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NamingKeyError {
    /// No key was given.
    #[error(
        "the names of the streams of persons are made from the naming key of the ledger, and none is given: name its file \
         with LEDGER_NAMING_KEY_FILE. `allocation-ledger prepare` makes one for a new ledger"
    )]
    Missing,
    /// The ledger has another key.
    #[error(
        "the naming key that is given is not that of this ledger: give the key that `allocation-ledger prepare` made for \
         it. If that is lost, copy the log under a new one: `allocation-ledger copy` reads it without its key"
    )]
    Other,
}

/// The names of a ledger's streams.
pub(crate) struct StreamNames {
    pub(crate) prefix: StreamPrefix,
    /// None for a reader of the whole log, which names no stream.
    pub(crate) key: Option<NamingKey>,
}

impl StreamNames {
    /// The name of a stream on the server.
    pub(crate) fn name(&self, stream: &Stream, generation: u64) -> Result<String, NamingKeyError> {
        let Self { prefix, key } = self;
        if stream.person().is_none() {
            return Ok(format!("{prefix}{stream}"));
        }
        let key = key.as_ref().ok_or(NamingKeyError::Missing)?;
        Ok(format!("{prefix}{PERSON}{}", key.digest(&format!("{stream}/{generation}"))))
    }

    /// Whether a stream has this name on the server. Without the key, only the form of a person's
    /// is looked at.
    pub(crate) fn is_name_of(&self, name: &str, stream: &Stream, generation: u64) -> bool {
        match self.name(stream, generation) {
            Ok(named) => named == name,
            Err(_) => name.strip_prefix(&self.prefix.0).is_some_and(is_person_name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(key: Option<&str>) -> StreamNames {
        let key = key.map(|key| key.repeat(32).parse().expect("a key"));
        StreamNames { prefix: StreamPrefix::default(), key }
    }

    fn stream(name: &str) -> Stream {
        name.parse().expect("a stream")
    }

    /// As `printf prisoner-A1234BC/0 | openssl dgst -sha256 -mac HMAC -macopt hexkey:0b0b…` says.
    #[test]
    fn a_person_has_a_name_by_key_and_generation_and_a_prison_a_plain_one() {
        let (names, person, prison) = (names(Some("0b")), stream("prisoner-A1234BC"), stream("prison-LEI"));
        let name = |generation| names.name(&person, generation).expect("a name");
        assert_eq!(name(0), "ledger-person-193db7a207b8955f5ef3f60ded563f3a1f262fc27ac2ccc5b2ff0af7d5b536b8");
        assert_eq!(name(1), "ledger-person-96d6bcfb355d3cce4f0a8b4c7a3eec03d4add666a32cd90c72d0e07d91dcc3e6");
        assert_eq!(names.name(&prison, 0).expect("a name"), "ledger-prison-LEI");
        assert_ne!(names.name(&person, 0).ok(), self::names(Some("0c")).name(&person, 0).ok());
    }

    #[test]
    fn a_name_is_checked_by_the_key_and_without_it_by_its_form() {
        let (with, without) = (names(Some("0b")), names(None));
        let (one, other, prison) = (stream("prisoner-A1234BC"), stream("prisoner-A1234BD"), stream("prison-LEI"));
        let name = with.name(&one, 1).expect("a name");
        assert!(
            with.is_name_of(&name, &one, 1) && !with.is_name_of(&name, &one, 0) && !with.is_name_of(&name, &other, 1)
        );
        assert!(without.is_name_of(&name, &one, 0) && without.name(&one, 0).is_err());
        for names in [with, without] {
            assert!(names.is_name_of("ledger-prison-LEI", &prison, 0));
            for wrong in ["ledger-prison-MDI", "ledger-prisoner-A1234BC", name.trim_end_matches(char::is_alphanumeric)]
            {
                assert!(!names.is_name_of(wrong, &prison, 0) && !names.is_name_of(wrong, &one, 0), "{wrong}");
            }
            assert!(!names.is_name_of(&name, &prison, 0));
        }
    }

    #[test]
    fn a_ledger_owns_the_names_that_its_streams_may_have() {
        let (prefix, digest) = (StreamPrefix::default(), "0a".repeat(32));
        for owned in [format!("ledger-person-{digest}"), "ledger-prison-LEI".into(), "ledger-prisoner-A1234BC".into()] {
            assert!(prefix.owns(&owned) && prefix.stream_of_settings(&format!("$${owned}")).is_some(), "{owned}");
        }
        let others = ["ledger", "ledger-person-0a", "ledger-accounts", "person-", ".ledger-naming-key"];
        let longer = [format!("ledger-b-person-{digest}"), format!("ledger-person-{}", digest.to_uppercase())];
        for other in others.map(str::to_owned).into_iter().chain(longer) {
            assert!(!prefix.owns(&other), "{other}");
        }
    }

    #[test]
    fn a_key_is_64_digits_and_is_not_shown() {
        let text = NamingKey::new_text();
        let key: NamingKey = text.parse().expect("a key");
        assert_ne!(text, NamingKey::new_text());
        assert!(!format!("{key:?}").contains(&text[..8]));
        for wrong in ["", &text[1..], &format!("{text}0"), &"g".repeat(64), &"é".repeat(32)] {
            let error = wrong.parse::<NamingKey>().expect_err("no key").to_string();
            assert_eq!(error, "a naming key is 64 hexadecimal digits");
        }
    }
}
