//! The tier of a case and its risk of serious harm.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{identifier::InvalidValue, words::words};

/// A case's tier: a letter A to G, optionally with a change level 0 to 3, optionally with `S` for a
/// case that is not supervised now, as the tier service writes it: `A`, `B2`, `B2S`. The ledger
/// keeps it as given, and the rules look at the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tier {
    letter: char,
    change_level: Option<u8>,
    is_unsupervised: bool,
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
        self == held || self == Self { letter: held.letter, change_level: None, is_unsupervised: false }
    }
}

impl FromStr for Tier {
    type Err = InvalidValue;
    fn from_str(value: &str) -> Result<Self, InvalidValue> {
        let bytes = value.as_bytes();
        let (bytes, is_unsupervised) = bytes.strip_suffix(b"S").map_or((bytes, false), |rest| (rest, true));
        let tier = |letter: &u8, change_level| Self { letter: char::from(*letter), change_level, is_unsupervised };
        match bytes {
            [letter @ b'A'..=b'G'] => Ok(tier(letter, None)),
            [letter @ b'A'..=b'G', level @ b'0'..=b'3'] => Ok(tier(letter, Some(level - b'0'))),
            _ => Err(InvalidValue {
                what: "tier",
                value: value.to_owned(),
                format: "a letter A to G, optionally with a change level 0 to 3 and an S for a case that is not \
                         supervised, e.g. A, B2 or B2S",
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
        self.change_level.map_or(Ok(()), |level| write!(f, "{level}"))?;
        if self.is_unsupervised { write!(f, "S") } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_kept_as_it_was_given() {
        for letter in 'A'..='G' {
            for level in ["", "0", "1", "2", "3"] {
                for unsupervised in ["", "S"] {
                    let text = format!("{letter}{level}{unsupervised}");
                    let tier: Tier = text.parse().expect("a tier");
                    assert_eq!((tier.to_string(), tier.letter()), (text.clone(), letter));
                    let bare: Tier = letter.to_string().parse().expect("a tier");
                    assert!(bare.includes(tier), "{letter} may mean {text}");
                    assert_eq!(tier.includes(bare), tier == bare, "{text} says more than {letter}");
                }
            }
        }
        for wrong in ["", "S", "H", "B4", "B4S", "2S", "BSS", "BS2", "b2s", "B2s", "B 2S", "B2S ", "ß", "AS1S"] {
            assert!(wrong.parse::<Tier>().is_err(), "{wrong}");
        }
    }
}
