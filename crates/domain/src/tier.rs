//! The tier of a case and its risk of serious harm.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{identifier::InvalidValue, words::words};

/// A case's tier: a letter A to G, optionally with a change level 0 to 3, e.g. `A`, `B2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tier {
    letter: char,
    change_level: Option<u8>,
}

impl Tier {
    /// The letter, `A` to `G`.
    #[must_use]
    pub fn letter(self) -> char {
        self.letter
    }

    /// Whether a client that gives this tier may mean the tier that a case has already: the same
    /// one, or one of which this is the letter alone.
    #[must_use]
    pub fn includes(self, held: Self) -> bool {
        self == held || self == Self { letter: held.letter, change_level: None }
    }
}

impl FromStr for Tier {
    type Err = InvalidValue;
    fn from_str(value: &str) -> Result<Self, InvalidValue> {
        match value.as_bytes() {
            [letter @ b'A'..=b'G'] => Ok(Self { letter: char::from(*letter), change_level: None }),
            [letter @ b'A'..=b'G', level @ b'0'..=b'3'] => {
                Ok(Self { letter: char::from(*letter), change_level: Some(level - b'0') })
            }
            _ => Err(InvalidValue {
                what: "tier",
                value: value.to_owned(),
                format: "a letter A to G, optionally with a change level 0 to 3, e.g. A or B2",
            }),
        }
    }
}

impl TryFrom<String> for Tier {
    type Error = InvalidValue;
    fn try_from(value: String) -> Result<Self, InvalidValue> {
        value.parse()
    }
}

impl From<Tier> for String {
    fn from(tier: Tier) -> String {
        tier.to_string()
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.letter)?;
        self.change_level.map_or(Ok(()), |level| write!(f, "{level}"))
    }
}

words! {
    /// Risk of serious harm.
    RoshLevel {
        /// Very high.
        VeryHigh => "VERY_HIGH",
        /// High.
        High => "HIGH",
        /// Medium.
        Medium => "MEDIUM",
        /// Low.
        Low => "LOW",
    }
}

words! {
    /// The origin of a tier.
    TierSource {
        /// Calculated by or entered in Delius.
        Delius => "DELIUS",
        /// Entered by the head of offender management.
        Manual => "MANUAL",
    }
}
