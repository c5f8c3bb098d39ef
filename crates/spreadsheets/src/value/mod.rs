//! Reads values from cells, as prisons write them. Each function is pure. Its error is a fragment
//! that fits after the name of the field: "it is empty".
//!
//! White space, letter case, characters that cannot be seen, the marks that programs put around a
//! text (`="A1234BC"`, `'A1234BC`) and `Tier B` for `B` are tidied silently. The rest of a cell is
//! read whole or refused. Nothing is guessed: no letter for a digit that looks like it, and no
//! ASCII letter for another alphabet's.

mod absent;
mod date;
mod departure;
mod name;
mod prison;

use std::collections::BTreeMap;

use anyhow::anyhow;
use domain::{
    identifier::{PrisonerNumber, StaffId},
    officer::PomKind,
    text::{Excerpt, FORMULA_STARTS, Lines, Text, is_invisible},
    tier::Tier,
};

pub use absent::{AbsentValue, absence_of_name, is_absent_note, is_formula_error};
pub use date::{DateColumn, DateOrder, WrittenDate, date};
pub use departure::{CellDeparture, departure, says_no};
pub use name::{PersonName, name_of_parts, person_name};
pub use prison::listed_prison;

use super::reader::Cell;

/// The problem of a cell, in words.
pub type ValueProblem = String;

const EMPTY: &str = "it is empty";

const NO_KIND: &str = "prison (PRO) or probation (PO) is needed";

/// A prisoner number in any case, with stray spaces.
pub fn prisoner_number(cell: &Cell) -> Result<PrisonerNumber, ValueProblem> {
    without_blanks(&identifier_text(cell)?)
        .to_ascii_uppercase()
        .parse()
        .map_err(|_| "one letter, four digits and two letters are needed, such as A1234BC".to_owned())
}

/// A tier in any case, with stray spaces, with or without the word.
pub fn tier(cell: &Cell) -> Result<Tier, ValueProblem> {
    let text = without_blanks(&identifier_text(cell)?).to_ascii_uppercase();
    text.strip_prefix("TIER").unwrap_or(&text).trim_start_matches([':', '-']).parse().map_err(|_| {
        "a letter A to G is needed, with or without a change level 0 to 3 and an S, such as A, B2 or B2S".to_owned()
    })
}

/// A staff id as a number or as digits, which may be in groups of three.
pub fn staff_id(cell: &Cell) -> Result<StaffId, ValueProblem> {
    let text = identifier_text(cell)?;
    // Some programs write every number with decimals.
    let text = text.strip_suffix(".0").unwrap_or(&text);
    let mut groups = text.split_whitespace();
    let first = groups.next().unwrap_or_default();
    let is_grouped = first.len() <= 3 && groups.clone().all(|group| group.len() == 3);
    // Two numbers in a cell are not one.
    let is_one = groups.next().is_none() || is_grouped;
    let digits = without_blanks(text);
    let is_plain = is_one && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| digits.parse().ok()).flatten().ok_or_else(|| "a whole number is needed, such as 485926".to_owned())
}

/// The kinds of POM that a user gave for words of a sheet: `B4=PRISON`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PomKindWords(BTreeMap<String, PomKind>);

impl FromIterator<(String, PomKind)> for PomKindWords {
    /// Takes words as [`pom_kind_word`] parses them.
    fn from_iter<I: IntoIterator<Item = (String, PomKind)>>(words: I) -> Self {
        Self(words.into_iter().collect())
    }
}

impl PomKindWords {
    /// The kind that the user gave for what a cell says.
    fn kind_of(&self, text: &str) -> Option<PomKind> {
        self.0.get(&squash(text)).copied()
    }
}

/// Parses the value of a `--pom-kind`, such as `B4=PRISON`: the word as it is compared, and its
/// kind.
///
/// # Errors
/// The value is not a word, `=`, and `PRISON` or `PROBATION`.
pub fn pom_kind_word(text: &str) -> anyhow::Result<(String, PomKind)> {
    let parsed = text.rsplit_once('=').and_then(|(word, kind)| {
        let kind = match squash(kind).as_str() {
            "PRISON" => PomKind::Prison,
            "PROBATION" => PomKind::Probation,
            _ => return None,
        };
        Some((squash(word), kind)).filter(|(word, _)| !word.is_empty())
    });
    parsed.ok_or_else(|| {
        anyhow!(
            "`{}` does not say which kind a word means: write the word of the sheet, `=`, and PRISON or PROBATION, e.g. \
             --pom-kind \"B4=PRISON\"",
            Excerpt(text)
        )
    })
}

/// Prison or probation, in the words that prisons use, or those of a user. `PRO` is NOMIS's code
/// for a prison officer, `PO` for a probation officer.
pub fn pom_kind(cell: &Cell, known: &PomKindWords) -> Result<PomKind, ValueProblem> {
    let text = identifier_text(cell)?.to_ascii_uppercase();
    if text.len() > IDENTIFIER_LEN_MAX {
        return Err(NO_KIND.to_owned());
    }
    if let Some(kind) = known.kind_of(&text) {
        return Ok(kind);
    }
    let words: Vec<_> = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let squashed = words.concat();
    // `Not probation`, `Ex-prison officer` say something else.
    let is_denied = words
        .iter()
        .any(|word| matches!(*word, "NOT" | "NON" | "NO" | "EX" | "FORMER" | "FORMERLY" | "WAS" | "NEITHER" | "OR"));
    let prison =
        words.iter().any(|word| matches!(*word, "PRISON" | "PRIS" | "HMPS" | "HMPPS" | "UNIFORM" | "UNIFORMED"))
            || squashed.starts_with("PRISON")
            || matches!(&*squashed, "PRO" | "PR" | "PRPOM" | "PROPOM" | "PPOM" | "SO" | "CM" | "B4" | "BAND4")
            || matches!(&*squashed, "OPERATIONAL" | "CUSTODIALMANAGER" | "SUPERVISINGOFFICER");
    let probation = words.iter().any(|word| matches!(*word, "PROBATION" | "PROB" | "NPS" | "PS"))
        || squashed.starts_with("PROBATION")
        || matches!(&*squashed, "PO" | "PSO" | "SPO" | "POPOM" | "PB" | "PBN");
    match (prison, probation) {
        (true, false) if !is_denied => Ok(PomKind::Prison),
        (false, true) if !is_denied => Ok(PomKind::Probation),
        _ => Err(NO_KIND.to_owned()),
    }
}

/// Text in one line about a POM, by the rules that the ledger has for it: it names no person in
/// prison (rule 13). `None` for an empty cell.
pub fn text(text: String) -> Result<Option<String>, ValueProblem> {
    if let Some(number) = PrisonerNumber::all_in(&text).next() {
        return Err(format!("it names the prisoner number {number}: leave that out"));
    }
    let read = |text: String| Text::try_from(text).map(Into::into).map_err(|wrong| wrong.to_string());
    Some(text).filter(|text| !text.is_empty()).map(read).transpose()
}

/// A comment in lines, by the rule that the ledger has for all text; `None` for an empty cell, and
/// for one that says nothing.
pub fn note(cell: &Cell) -> Result<Option<String>, ValueProblem> {
    let read = |text: String| Lines::try_from(text).map(Into::into).map_err(|wrong| wrong.to_string());
    let text = cell.to_string();
    let text = unwrapped(&text);
    // An apostrophe keeps a spreadsheet program from taking a text for a formula.
    let text = match text.strip_prefix('\'') {
        Some(rest) if rest.starts_with(FORMULA_STARTS) => rest,
        _ => text,
    };
    (!text.is_empty() && !is_absent_note(text)).then(|| read(text.to_owned())).transpose()
}

/// The length in bytes from which on a text is neither an identifier nor a date.
const IDENTIFIER_LEN_MAX: usize = 400;

/// A text without the formula that a program wrote around it so that it stays a text: `="0123"`.
fn unwrapped(text: &str) -> &str {
    let inner = text.trim().strip_prefix('=').map(str::trim_start);
    let inner = inner.and_then(|inner| inner.strip_prefix('"')?.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(text).trim()
}

/// The text of a cell without the marks around it, and without characters that cannot be seen and
/// are no white space.
fn visible_text(cell: &Cell) -> String {
    let text = cell.to_string();
    if text.len() > IDENTIFIER_LEN_MAX {
        return text;
    }
    let seen: String =
        unwrapped(&text).chars().filter(|letter| letter.is_whitespace() || !is_invisible(*letter)).collect();
    seen.trim()
        .trim_start_matches(['\'', '‘', '’', '`', '"', '“'])
        .trim_end_matches(['.', ',', ';', ':', '\'', '’', '"', '”'])
        .trim()
        .to_owned()
}

/// As [`visible_text`], of a cell that must not be empty.
fn identifier_text(cell: &Cell) -> Result<String, ValueProblem> {
    if *cell == Cell::Empty {
        return Err(EMPTY.to_owned());
    }
    let text = visible_text(cell);
    // The rest may read exactly as it should.
    match text.chars().find(|letter| letter.is_control() && !letter.is_whitespace()) {
        Some(control) => Err(format!("it has the control character U+{:04X}", u32::from(control))),
        None => Ok(text),
    }
}

fn without_blanks(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).collect()
}

/// The letters and digits of a text in upper case.
fn squash(text: &str) -> String {
    text.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prisoner_numbers_are_read_in_any_case() {
        let check = |text: &str, expected: Option<&str>| {
            let found = prisoner_number(&Cell::text(text)).ok();
            assert_eq!(found.as_ref().map(PrisonerNumber::as_str), expected, "{text}");
        };
        check("A1234BC", Some("A1234BC"));
        check(" a1234bc\u{a0}", Some("A1234BC"));
        check("A 1234 BC", Some("A1234BC"));
        check("A1234B", None);
        check("A12345BC", None);
        check("AO234BC", None);
        check("", None);
        for marked in ["A1234BC.", "'A1234BC", "=\"A1234BC\"", "= \"A1234BC\"", "\"A1234BC\"", "‘A1234BC’", "A1234BC,"]
        {
            check(marked, Some("A1234BC"));
        }
        let control = prisoner_number(&Cell::text("A12\u{7}34BC"));
        assert_eq!(control, Err("it has the control character U+0007".to_owned()));
        for two in ["A1234BC A1235BC", "A1234BC/A1235BC", "A1234BC\nA1235BC", "A1234BC?", "A1234BC*"] {
            check(two, None);
        }
    }

    /// A character that cannot be seen, wherever it is, changes nothing that a person reads.
    #[test]
    fn characters_that_cannot_be_seen_are_no_part_of_a_value() {
        for unseen in ['\u{ad}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{2060}', '\u{2066}', '\u{feff}'] {
            let marked = |text: &str| {
                let letters: String = text.chars().flat_map(|letter| [unseen, letter]).collect();
                Cell::text(&format!("{letters}{unseen}"))
            };
            assert_eq!(prisoner_number(&marked("A1234BC")).expect("a number").as_str(), "A1234BC", "{unseen:?}");
            assert_eq!(tier(&marked("Tier B2")).expect("a tier").to_string(), "B2", "{unseen:?}");
            assert_eq!(staff_id(&marked("485926")).expect("an id").get(), 485_926, "{unseen:?}");
            assert_eq!(pom_kind(&marked("PRO"), &PomKindWords::default()), Ok(PomKind::Prison), "{unseen:?}");
            let read = DateColumn::default().read(&marked("01/07/2019"));
            assert_eq!(read.expect("a date").0.to_string(), "2019-07-01", "{unseen:?}");
        }
    }

    /// Upper case makes two letters of one, and ASCII letters of others: the number of another
    /// person.
    #[test]
    fn only_ascii_letters_and_digits_are_part_of_an_identifier() {
        for letter in (0..=0x1_ffff).filter_map(char::from_u32).filter(|letter| !letter.is_ascii()) {
            if is_invisible(letter) || "‘’“”".contains(letter) {
                continue;
            }
            for text in [
                format!("A1234{letter}"),
                format!("A1234B{letter}"),
                format!("{letter}1234BC"),
                format!("A123{letter}BC"),
            ] {
                assert!(prisoner_number(&Cell::text(&text)).is_err(), "{text}");
            }
            assert!(tier(&Cell::text(&letter.to_string())).is_err(), "{letter}");
            assert!(staff_id(&Cell::text(&format!("48592{letter}"))).is_err(), "{letter}");
        }
    }

    #[test]
    fn tiers_are_read_with_or_without_the_word() {
        let check = |text: &str, expected: Option<&str>| {
            let found = tier(&Cell::text(text)).ok().map(|tier| tier.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("B", Some("B"));
        check(" b ", Some("B"));
        check("Tier B", Some("B"));
        check("tier: b2", Some("B2"));
        check("B 2", Some("B2"));
        check("b2s", Some("B2S"));
        check("Tier A3S", Some("A3S"));
        check("B 2 S", Some("B2S"));
        check("AS", Some("AS"));
        check("B.", Some("B"));
        check("=\"B\"", Some("B"));
        check("N/A", None);
        check("NA", None);
        check("B2 (provisional)", None);
        check("H", None);
        check("B4", None);
        check("A/B", None);
        check("", None);
        check("High", None);
    }

    #[test]
    fn staff_ids_are_read_from_numbers_and_digits() {
        let check = |cell: Cell, expected: Option<i64>| {
            assert_eq!(staff_id(&cell).ok().map(StaffId::get), expected, "{cell:?}");
        };
        check(Cell::Number(485_926.0), Some(485_926));
        check(Cell::text("485926 "), Some(485_926));
        check(Cell::text("485926.0"), Some(485_926));
        check(Cell::Number(485_926.5), None);
        check(Cell::Number(-1.0), None);
        check(Cell::text("0"), None);
        check(Cell::text("TBC"), None);
        check(Cell::text("+485926"), None);
        check(Cell::text("=\"485926\""), Some(485_926));
        check(Cell::text("'485926"), Some(485_926));
        check(Cell::text("485 926"), Some(485_926));
        check(Cell::text("485926 485927"), None);
        check(Cell::text("485926\n485927"), None);
        check(Cell::text("485926/485927"), None);
        check(Cell::Empty, None);
    }

    #[test]
    fn pom_kinds_are_read_from_usual_words() {
        let check = |text: &str, expected: Option<PomKind>| {
            assert_eq!(pom_kind(&Cell::text(text), &PomKindWords::default()).ok(), expected, "{text}");
        };
        for prison in ["PRO", "pro ", "Prison", "PRISON POM", "Prison Officer", "Prison Offender Manager", "prison-POM"]
        {
            check(prison, Some(PomKind::Prison));
        }
        for probation in ["PO", "P.O.", "Probation", "Probation Officer", "NPS", "probation POM", "PSO"] {
            check(probation, Some(PomKind::Probation));
        }
        for neither in ["", "POM", "Prison/Probation", "n/a", "?", "Not probation", "ex-prison officer", "PRO or PO"] {
            check(neither, None);
        }
    }

    #[test]
    fn a_user_says_which_kind_a_word_means() {
        let known: PomKindWords =
            ["Band 6=probation", "PO = PRISON"].map(|text| pom_kind_word(text).expect("a kind")).into_iter().collect();
        let read = |text: &str| pom_kind(&Cell::text(text), &known).ok();
        assert_eq!(read("band-6"), Some(PomKind::Probation));
        assert_eq!(read("P.O."), Some(PomKind::Prison), "the user knows better");
        assert_eq!(read("Band 7"), None);
        for wrong in ["B4", "B4=PO", "=PRISON", "B4=", "- = PRISON"] {
            let error = pom_kind_word(wrong).expect_err(wrong).to_string();
            assert!(error.contains("--pom-kind \"B4=PRISON\""), "{error}");
        }
    }
}
