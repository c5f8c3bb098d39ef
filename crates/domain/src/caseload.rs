//! The work that cases are, by tier ("Suggestions" in `docs/domain.md`): weights, which are a
//! setting, and what a POM's cases come to. All of it is in whole numbers, so that an order by it
//! is the same everywhere.

use std::{fmt, iter::Sum, ops::Add, str::FromStr};

use crate::{identifier::InvalidValue, officer::WorkingPattern, tier::Tier};

const LETTERS: [char; 7] = ['A', 'B', 'C', 'D', 'E', 'F', 'G'];

/// The greatest weight, in hundredths: a bound that no sensible setting comes near.
const HUNDREDTHS_MAX: u32 = 10_000;

/// The weight of a case whose tier is not known, in hundredths. A case has a tier before it has a
/// POM, so this is for entries by older rules.
const UNKNOWN_HUNDREDTHS: u32 = 100;

/// Divided by every working pattern in tenths without a remainder.
const SHARES: u64 = 2_520;

/// The weight of a case by the letter of its tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierWeights {
    /// In hundredths, in the order of [`LETTERS`].
    hundredths: [u32; LETTERS.len()],
}

impl Default for TierWeights {
    fn default() -> Self {
        Self { hundredths: [300, 200, 150, 100, 100, 100, 100] }
    }
}

impl TierWeights {
    /// The weight of a case for its primary POM.
    #[must_use]
    pub fn of_primary(self, tier: Option<Tier>) -> CaseWeight {
        self.of_letter(tier.map(Tier::letter))
    }

    /// The weight of so many cases of one letter for their primary POM; `None` of an unknown tier.
    #[must_use]
    pub fn of_primaries(self, letter: Option<char>, cases: u64) -> CaseWeight {
        CaseWeight(self.of_letter(letter).0 * cases)
    }

    /// The weight of so many cases of one letter for their co-working POM: half.
    #[must_use]
    pub fn of_coworking(self, letter: Option<char>, cases: u64) -> CaseWeight {
        CaseWeight(self.of_letter(letter).0 / 2 * cases)
    }

    /// Every letter with its weight, in order.
    pub fn letters(self) -> impl Iterator<Item = (char, CaseWeight)> {
        LETTERS.into_iter().map(move |letter| (letter, self.of_letter(Some(letter))))
    }

    fn of_letter(self, letter: Option<char>) -> CaseWeight {
        let index = LETTERS.iter().position(|known| letter == Some(*known));
        let hundredths = index.and_then(|index| self.hundredths.get(index)).copied();
        CaseWeight(u64::from(hundredths.unwrap_or(UNKNOWN_HUNDREDTHS)) * 2)
    }
}

impl FromStr for TierWeights {
    type Err = InvalidValue;

    /// Reads `A=3,B=1.5`; a letter that is left out keeps its default.
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || InvalidValue {
            what: "list of weights",
            value: text.to_owned(),
            format: "letters of tiers, each once, with a weight from 0 to 100 in hundredths, e.g. A=3,B=2,C=1.5",
        };
        let mut weights = Self::default();
        let mut given = [false; LETTERS.len()];
        for part in text.split(',') {
            let (letter, weight) = part.split_once('=').ok_or_else(invalid)?;
            let letter = letter.trim().to_ascii_uppercase();
            let index = LETTERS.iter().position(|known| letter == known.to_string()).ok_or_else(invalid)?;
            weights.hundredths[index] = parse_hundredths(weight.trim()).ok_or_else(invalid)?;
            if std::mem::replace(&mut given[index], true) {
                return Err(invalid());
            }
        }
        Ok(weights)
    }
}

/// Reads a decimal number with at most two places.
fn parse_hundredths(text: &str) -> Option<u32> {
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits =
        |part: &str, len_max| (1..=len_max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole, 3) || !is_digits(places, 2) {
        return None;
    }
    let hundredths = whole.parse::<u32>().ok()? * 100 + format!("{places:0<2}").parse::<u32>().ok()?;
    (hundredths <= HUNDREDTHS_MAX).then_some(hundredths)
}

impl fmt::Display for TierWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (letter, weight)) in self.letters().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{letter}={}", f64::from(weight))?;
        }
        Ok(())
    }
}

/// The weight of cases, in halves of hundredths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CaseWeight(u64);

impl CaseWeight {
    /// The load that this weight is for a POM: what it would weigh for one who works full time.
    #[must_use]
    pub fn load(self, pattern: WorkingPattern) -> FullTimeLoad {
        FullTimeLoad(self.0 * (SHARES / u64::from(pattern.tenths())))
    }
}

impl Add for CaseWeight {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sum for CaseWeight {
    fn sum<I: Iterator<Item = Self>>(weights: I) -> Self {
        weights.fold(Self::default(), Add::add)
    }
}

impl From<CaseWeight> for f64 {
    fn from(weight: CaseWeight) -> f64 {
        weight.0 as f64 / 200.0
    }
}

/// A weight divided by a POM's share of full time. Compared exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FullTimeLoad(u64);

impl From<FullTimeLoad> for f64 {
    fn from(load: FullTimeLoad) -> f64 {
        load.0 as f64 * 10.0 / 200.0 / SHARES as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_and_written() {
        let read = |text: &str| text.parse::<TierWeights>().map(|weights| weights.to_string());
        let default = "A=3,B=2,C=1.5,D=1,E=1,F=1,G=1";
        assert_eq!(read(default).as_deref(), Ok(default));
        assert_eq!(TierWeights::default().to_string(), default);
        assert_eq!(read(" a = 0.25 , G=100").as_deref(), Ok("A=0.25,B=2,C=1.5,D=1,E=1,F=1,G=100"));
        for wrong in
            ["", "A", "A=", "A=3,", "A=3,A=3", "H=1", "AB=1", "A=-1", "A=+1", "A=1e1", "A=100.01", "A=1.234", "A=.5"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_load_is_a_weight_for_each_full_time_pom() {
        let weights: TierWeights = "A=3,C=0.75".parse().expect("weights");
        let weight =
            [weights.of_primaries(Some('A'), 2), weights.of_coworking(Some('C'), 1), weights.of_primaries(None, 1)];
        let weight: CaseWeight = weight.into_iter().sum();
        assert_eq!(f64::from(weight), 7.375);
        for (pattern, expected) in [(1.0, 7.375), (0.5, 14.75), (0.1, 73.75)] {
            let pattern = pattern.try_into().expect("a working pattern");
            assert!((f64::from(weight.load(pattern)) - expected).abs() < 1e-9, "{expected}");
        }
        let thirds = |weight: CaseWeight, pattern: f64| weight.load(pattern.try_into().expect("a working pattern"));
        let three = weights.of_primary("A".parse().ok());
        assert_eq!(thirds(three, 0.3), thirds(three + three, 0.6), "exactly, though neither is a decimal");
    }
}
