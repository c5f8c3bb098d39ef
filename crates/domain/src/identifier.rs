//! The identifiers of people, places and events, each its own type.
//!
//! Parsing accepts exactly the format given in each type's doc; callers that read spreadsheets tidy
//! first (trim, upper case) and parse then, so that a stored identifier has one spelling.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::text::Excerpt;

/// A text that is not the identifier that it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a {what}: {format}", Excerpt(.value))]
pub struct InvalidValue {
    /// The kind of identifier, in words, e.g. "prisoner number".
    pub what: &'static str,
    /// The text as given.
    pub value: String,
    /// The format of a valid one.
    pub format: &'static str,
}

/// A text identifier: a newtype over `String` that can only be made by parsing.
macro_rules! text_identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal, $format:expr, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidValue;
            fn try_from(value: String) -> Result<Self, InvalidValue> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&value) {
                    Ok(Self(value))
                } else {
                    Err(InvalidValue { what: $what, value, format: $format })
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;
            fn from_str(value: &str) -> Result<Self, InvalidValue> {
                Self::try_from(value.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(identifier: $name) -> String {
                identifier.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Whether `text` has the `shape`: `A` is any upper-case letter, `9` any digit.
fn has_shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, kind)| match kind {
            b'A' => byte.is_ascii_uppercase(),
            _ => byte.is_ascii_digit(),
        })
}

text_identifier!(
    /// NOMS number of a person in prison, e.g. `A1234BC`.
    PrisonerNumber,
    "prisoner number",
    "one letter, four digits, two letters, in upper case, e.g. A1234BC",
    |text| has_shape(text, "A9999AA")
);

impl PrisonerNumber {
    /// The words of a text that are prisoner numbers, in lower case, too.
    pub fn all_in(text: &str) -> impl Iterator<Item = Self> {
        text.split(|c: char| !c.is_alphanumeric()).filter_map(|word| word.to_ascii_uppercase().parse().ok())
    }
}

text_identifier!(
    /// Agency code of an establishment, e.g. `LEI`.
    PrisonCode,
    "prison code",
    "three upper-case letters, e.g. LEI",
    |text| has_shape(text, "AAA")
);

impl PrisonCode {
    /// Whether this is one of the codes that NOMIS has for a person who is outside or on the way
    /// between two prisons.
    #[must_use]
    pub fn is_in_transit(&self) -> bool {
        matches!(self.as_str(), "OUT" | "TRN")
    }
}

text_identifier!(
    /// Number of the case in Delius, e.g. `X123456`.
    Crn,
    "CRN",
    "one upper-case letter and six digits, e.g. X123456",
    |text| has_shape(text, "A999999")
);

text_identifier!(
    /// The username of a recorder as HMPPS sign-on has it, in upper case: that of a NOMIS account,
    /// of a service, or an e-mail address.
    Username,
    "username",
    Username::FORMAT,
    |text| {
        let is_allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"_.-@'".contains(&b);
        (1..=USERNAME_LEN_MAX).contains(&text.len()) && text.bytes().all(is_allowed)
    }
);

/// Longest username: an e-mail address has no more characters.
const USERNAME_LEN_MAX: usize = 254;

impl Username {
    /// The format, in words.
    pub const FORMAT: &str = "1 to 254 characters of A-Z, 0-9, _, ., -, @ and '";

    /// Reads a username as people and programs write it: with space around it, and in any case.
    ///
    /// # Errors
    /// [`InvalidValue`] where a character is none of a username. No character is replaced.
    pub fn read(text: &str) -> Result<Self, InvalidValue> {
        text.trim()
            .to_ascii_uppercase()
            .parse()
            .map_err(|invalid: InvalidValue| InvalidValue { value: text.to_owned(), ..invalid })
    }
}

text_identifier!(
    /// Where a person signed on, in the word of HMPPS sign-on, e.g. `nomis`, `delius` or `none`.
    AuthSource,
    "auth source",
    "1 to 40 characters of a-z, 0-9, _ and -",
    |text| {
        let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        (1..=40).contains(&text.len()) && text.bytes().all(is_allowed)
    }
);

/// NOMIS staff id of a Prison Offender Manager; a positive integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct StaffId(i64);

impl StaffId {
    /// The id as a number, always positive.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for StaffId {
    type Error = InvalidValue;
    fn try_from(value: i64) -> Result<Self, InvalidValue> {
        // NOMIS ids are Oracle NUMBER(10); 2^53 is where JSON numbers stop being exact.
        if (1..1 << 53).contains(&value) {
            Ok(Self(value))
        } else {
            Err(InvalidValue {
                what: "staff id",
                value: value.to_string(),
                format: "a positive whole number, e.g. 485926",
            })
        }
    }
}

impl FromStr for StaffId {
    type Err = InvalidValue;
    fn from_str(value: &str) -> Result<Self, InvalidValue> {
        value.parse::<i64>().map_or_else(
            |_| {
                Err(InvalidValue {
                    what: "staff id",
                    value: value.to_owned(),
                    format: "a positive whole number, e.g. 485926",
                })
            },
            Self::try_from,
        )
    }
}

impl From<StaffId> for i64 {
    fn from(id: StaffId) -> i64 {
        id.0
    }
}

impl fmt::Display for StaffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An id made of a UUID.
macro_rules! uuid_identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_identifier!(
    /// Identifies one command; sent again, the same id gets the same answer and never a second
    /// event.
    CommandId
);

uuid_identifier!(
    /// Identifies one event in the ledger: UUIDv5 of the command id, the stream and the event's
    /// index in the command ([`CommandId::event_id`]).
    EventId
);

/// The first bytes of the ids of the ledger's own commands, which are of UUID version 8. Part of
/// the published format, never to be changed.
const OWN_COMMAND: [u8; 4] = [0x1e, 0xd9, 0xe2, 0x5e];

/// The maker of a command of the ledger's own. Ids of different makers differ, whatever they are
/// derived from: a caller may send an event id, or an import's name space, as the key of a bulk.
#[derive(Debug, Clone, Copy)]
enum OwnCommandMaker {
    /// A request of several commands.
    Request,
    /// A policy, or a merge, because of an event.
    Policy,
    /// A tool that records what it finds in a file.
    Tool,
}

impl OwnCommandMaker {
    fn id(self, from: Uuid, name: &str) -> CommandId {
        let maker = match self {
            Self::Request => "request",
            Self::Policy => "policy",
            Self::Tool => "tool",
        };
        let mut bytes = Uuid::new_v5(&from, format!("{maker} {name}").as_bytes()).into_bytes();
        bytes[..OWN_COMMAND.len()].copy_from_slice(&OWN_COMMAND);
        CommandId(Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl CommandId {
    /// The id of the command that a caller sends with this idempotency key. `None` if the key is in
    /// the name space of the ledger's own commands, which no caller may use: version 8, beginning
    /// with `1ed9e25e`.
    #[must_use]
    pub fn from_key(key: Uuid) -> Option<Self> {
        let id = Self(key);
        (!id.is_of_the_ledger()).then_some(id)
    }

    /// Whether this is the id of a command of the ledger's own.
    #[must_use]
    pub fn is_of_the_ledger(self) -> bool {
        self.0.get_version_num() == 8 && self.0.as_bytes().starts_with(&OWN_COMMAND)
    }

    /// The id of a command that is part of this one and concerns `part` alone, e.g. one case of a
    /// bulk reallocation.
    #[must_use]
    pub fn derive(self, part: &str) -> Self {
        OwnCommandMaker::Request.id(self.0, part)
    }

    /// The id of a command that a tool makes of `content`, e.g. of a row of a file. The name space
    /// tells the tools apart.
    #[must_use]
    pub fn of_content(namespace: Uuid, content: &str) -> Self {
        OwnCommandMaker::Tool.id(namespace, content)
    }
}

impl EventId {
    /// The id of the command that a policy issues because of this event; `part` tells several
    /// apart.
    #[must_use]
    pub fn derive_command(self, part: &str) -> CommandId {
        OwnCommandMaker::Policy.id(self.0, part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prisoner_number_is_found_in_a_text_as_a_word_of_its_own() {
        let found = |text: &str| PrisonerNumber::all_in(text).map(String::from).collect::<Vec<_>>();
        assert_eq!(found("A1234BC"), ["A1234BC"]);
        assert_eq!(found("brother of a1234bc (see:B2345CD).\nC3456DE_2"), ["A1234BC", "B2345CD", "C3456DE"]);
        for other in ["", "A1234BCD", "xA1234BC", "A1234B", "AA234BC", "A12345C", "X123456", "é1234BC", "A1234BCé"] {
            assert!(found(other).is_empty(), "{other}");
        }
    }

    /// The ids are in logs: other ones would record once more what is recorded.
    #[test]
    fn the_ids_of_the_ledgers_own_commands_never_change() {
        let id = Uuid::from_u128(1);
        let ids = [
            CommandId(id).derive("A1234BC"),
            EventId(id).derive_command("A1234BC"),
            CommandId::of_content(id, "A1234BC"),
        ];
        assert_eq!(
            ids.map(|id| id.to_string()),
            [
                "1ed9e25e-87b2-87a8-94a7-c0eb6a5ccfea",
                "1ed9e25e-7675-8079-aae6-ebe743fbdb21",
                "1ed9e25e-3ae1-8273-963e-56bc53767b08"
            ]
        );
    }

    #[test]
    fn no_key_of_a_caller_is_the_id_of_a_command_of_the_ledgers_own() {
        for id in [Uuid::nil(), Uuid::from_u128(1), Uuid::max()] {
            for own in [
                CommandId(id).derive("A1234BC"),
                EventId(id).derive_command("A1234BC"),
                CommandId::of_content(id, "A1234BC"),
            ] {
                assert_eq!(CommandId::from_key(own.0), None, "{own}");
            }
        }
    }

    #[test]
    fn a_username_is_folded_to_upper_case_and_no_character_is_replaced() {
        let read = |text: &str| Username::read(text).map(String::from).ok();
        let longest = "A".repeat(254);
        for (given, folded) in [
            ("AB12345_GEN", "AB12345_GEN"),
            (" pk000223 ", "PK000223"),
            ("mary.o'neil-smith@justice.gov.uk", "MARY.O'NEIL-SMITH@JUSTICE.GOV.UK"),
            (longest.to_lowercase().as_str(), longest.as_str()),
        ] {
            assert_eq!(read(given).as_deref(), Some(folded), "{given}");
        }
        let too_long = "a".repeat(255);
        for refused in ["", " ", "Frank Smith", "frank\u{301}", "straße", "a+b@c", "a\u{0}b", "a\nb", "ＡＢ", &too_long]
        {
            assert_eq!(read(refused), None, "{refused:?}");
        }
        assert_eq!("mary".parse::<Username>().ok(), None, "the log holds one spelling");
    }

    #[test]
    fn keys_of_every_version_are_taken_from_callers() {
        for version in 0..16_u128 {
            let key = Uuid::from_u128(0x7d3f_0b0e_7f3a_0a58_9d10_3c2b_7d8b_6c11 | version << 76);
            assert_eq!(CommandId::from_key(key), Some(CommandId(key)));
        }
        for text in ["1ed9e25e-7f3a-4a58-9d10-3c2b7d8b6c11", "00000000-7f3a-8a58-9d10-3c2b7d8b6c11"] {
            let key = text.parse().expect("a UUID");
            assert_eq!(CommandId::from_key(key), Some(CommandId(key)), "{text}");
        }
    }
}
