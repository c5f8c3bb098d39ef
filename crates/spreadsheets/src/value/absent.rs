//! Cells that hold no value, although something is in them: errors of formulas, placeholders such
//! as `TBC`, and words that say that no POM has the case.

/// The reason why a text is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbsentValue {
    /// The error of a formula, such as `#N/A`.
    Error,
    /// A word or a sign in the place of a value, such as `TBC`, `NULL`, `-` or `0`.
    Placeholder,
    /// A word that says that no POM has the case, such as `Unallocated` or `Vacant`.
    Vacancy,
}

/// The length in bytes of the longest text that may say that there is no value.
const ABSENT_LEN_MAX: usize = 200;

/// Words that are a placeholder where they are all that a text says.
const PLACEHOLDERS: &[&str] = &[
    "NULL",
    "NA",
    "NIL",
    "NAN",
    "BLANK",
    "EMPTY",
    "UNDEFINED",
    "NOTKNOWN",
    "NOTAPPLICABLE",
    "NOTAVAILABLE",
    "NOTSET",
    "PENDING",
    "TOBECONFIRMED",
    "TOBEADVISED",
    "TOBEDECIDED",
    "TOFOLLOW",
    "TRUE",
    "FALSE",
    "NK",
    "POM",
    "OMU",
    "PO",
    "AGENCY",
    "STAFF",
    "OFFICER",
    "DUTYPOM",
    "SEENOTES",
    "NPS",
    "COM",
    "COVER",
    "NIGHTSTAFF",
    "DITTO",
    "SAME",
    "ASABOVE",
    "SAMEASABOVE",
    "ALLOCATED",
    "LEAVER",
    "ONLEAVE",
    "MATERNITYLEAVE",
    "SICKLEAVE",
    "LONGTERMSICK",
    "X",
    "XX",
    "XXX",
];

/// Words that make a placeholder of any name that they are in: `Agency, TBC`.
const UNDECIDED_WORDS: &[&str] = &["TBC", "TBA", "TBD", "TBN", "UNKNOWN"];

/// Words that make a vacancy of any name that they are in: `Vacant (Band 4)`.
const VACANCY_WORDS: &[&str] =
    &["UNALLOCATED", "UNALLOC", "UNASSIGNED", "UNFILLED", "VACANT", "VACANCY", "AWAITING", "DEALLOCATED", "ALLOCATION"];

/// Texts that are a vacancy where they are all that a cell says.
const VACANCIES: &[&str] = &[
    "NONE",
    "NOBODY",
    "NOONE",
    "NOPOM",
    "NOPOMALLOCATED",
    "NOTALLOCATED",
    "NOTYETALLOCATED",
    "NOTASSIGNED",
    "NOTYETASSIGNED",
    "TOBEALLOCATED",
    "TOBEASSIGNED",
    "NEEDSALLOCATING",
    "NEEDSPOM",
    "PENDINGALLOCATION",
    "WAITING",
    "WAITINGLIST",
];

/// Beginnings that no name has, with the next word after `not`, `not yet` or `to be`.
const BEGINNINGS: &[&[&str]] = &[&["NOT", "YET"], &["NOT"], &["TO", "BE"]];

/// Surnames that are a placeholder where no forename follows.
const SURNAMES: &[&str] =
    &["NULL", "NA", "NIL", "PENDING", "BLANK", "PO", "OFFICER", "AGENCY", "STAFF", "COVER", "SAME", "LEAVER"];

/// Whether a text is the error of a formula in any spreadsheet program: `#N/A`, `#REF!`, `#SPILL!`,
/// `Err:502`, `Error 2042`. Programs add codes, so the form is what counts.
#[must_use]
pub fn is_formula_error(text: &str) -> bool {
    let text = text.trim();
    if let Some(code) = text.strip_prefix('#') {
        let letters = code.bytes().filter(u8::is_ascii_uppercase).count();
        let is_code = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"/_!?".contains(&byte);
        return letters >= 2 && code.bytes().all(is_code);
    }
    ["err:", "error "].iter().any(|start| {
        let code = text.get(..start.len()).filter(|begun| begun.eq_ignore_ascii_case(start));
        code.is_some() && text[start.len()..].bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Whether a text says that there is no value, in the place of a name.
#[must_use]
pub fn absence_of_name(name: &str) -> Option<AbsentValue> {
    if is_formula_error(name) {
        return Some(AbsentValue::Error);
    }
    if name.len() > ABSENT_LEN_MAX {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    let has_word = |list: &[&str]| words(&upper).any(|word| list.contains(&word));
    if has_word(VACANCY_WORDS) || VACANCIES.contains(&squash(&upper).as_str()) {
        return Some(AbsentValue::Vacancy);
    }
    let all: Vec<&str> = words(&upper).collect();
    if let Some(beginning) =
        BEGINNINGS.iter().find(|beginning| all.starts_with(beginning) && all.len() > beginning.len())
    {
        let is_vacancy = ["ALLOCATED", "ASSIGNED", "FILLED"].contains(&all[beginning.len()]);
        return Some(if is_vacancy { AbsentValue::Vacancy } else { AbsentValue::Placeholder });
    }
    let (surname, forenames) = upper.split_once(',').unwrap_or((&upper, ""));
    let mut forenames = forenames.split(',').filter(|part| !part.trim().is_empty()).peekable();
    let has_forename = forenames.peek().is_some();
    let absent_forename = forenames.find_map(absence_of_part);
    if has_forename && absent_forename.is_none() && SURNAMES.contains(&surname.trim()) {
        return None;
    }
    absence_of_part(surname)
        .or(absent_forename)
        .or_else(|| has_word(UNDECIDED_WORDS).then_some(AbsentValue::Placeholder))
}

/// Whether a comment is nothing but an error or a sign in the place of a value.
#[must_use]
pub fn is_absent_note(note: &str) -> bool {
    is_formula_error(note) || note == "NULL" || note.chars().all(|sign| "-–—?./_".contains(sign))
}

/// A part of a name in upper case, between commas.
fn absence_of_part(part: &str) -> Option<AbsentValue> {
    if is_formula_error(part) {
        return Some(AbsentValue::Error);
    }
    let squashed = squash(part);
    let is_placeholder = squashed.chars().all(char::is_numeric)
        || PLACEHOLDERS.contains(&squashed.as_str())
        || UNDECIDED_WORDS.contains(&squashed.as_str());
    is_placeholder.then_some(AbsentValue::Placeholder)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// The letters and digits of a text.
fn squash(text: &str) -> String {
    text.chars().filter(|letter| letter.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_formulas_are_told_by_their_form() {
        for error in [
            "#N/A",
            "#REF!",
            "#NAME?",
            "#VALUE!",
            "#DIV/0!",
            "#NUM!",
            "#NULL!",
            "#SPILL!",
            "#CALC!",
            "#FIELD!",
            "#BLOCKED!",
            "#BUSY!",
            "#CONNECT!",
            "#UNKNOWN!",
            "#GETTING_DATA",
            "#ERROR!",
            "#WERT!",
            "Err:502",
            "Error 2042",
        ] {
            assert!(is_formula_error(error), "{error}");
            assert_eq!(absence_of_name(error), Some(AbsentValue::Error), "{error}");
            assert!(is_absent_note(error), "{error}");
        }
        for other in [
            "#",
            "#1",
            "# 1",
            "N/A",
            "#1 priority",
            "#N/A since May",
            "#late",
            "Err: see file",
            "é:502",
            "error in May",
        ] {
            assert!(!is_formula_error(other), "{other}");
        }
    }

    #[test]
    fn a_placeholder_is_no_name() {
        for placeholder in [
            "NULL",
            "null",
            "n/a",
            "N.A.",
            "-",
            "–",
            "--",
            "?",
            "???",
            ".",
            "0",
            "0.0",
            "485926",
            "TBC",
            "tbc",
            "T.B.C",
            "TBA",
            "Unknown",
            "Agency, TBC",
            "TBC (agency)",
            "TBC, TBC",
            "-, -",
            "Okafor, ?",
            "?, Grace",
            ", Grace",
            "Okafor, NULL",
            "TRUE",
            "To be confirmed",
            "Not known yet",
            "to be decided in May",
            "POM",
            "N/K",
            "NPS",
            "Ditto",
            "as above",
            "On leave",
            "Maternity leave",
            "Allocated",
            "Night staff",
        ] {
            assert_eq!(absence_of_name(placeholder), Some(AbsentValue::Placeholder), "{placeholder}");
        }
        for vacancy in [
            "Unallocated",
            "VACANT",
            "Vacant, Vacant",
            "Vacant post (Band 4)",
            "none",
            "No POM",
            "not yet allocated",
            "To be allocated soon",
            "pending allocation",
        ] {
            assert_eq!(absence_of_name(vacancy), Some(AbsentValue::Vacancy), "{vacancy}");
        }
        for name in [
            "Okafor, Grace",
            "Blank, Sue",
            "Po, Li",
            "Officer, Amy",
            "Agency, Sue",
            "Ditton, Al",
            "Leaver, Jo",
            "Null, Christopher",
            "Na, Min-ji",
            "Nunn",
            "Ng A",
            "O'Neill",
            "Vacanti, Ann",
            "Okafor,",
        ] {
            assert_eq!(absence_of_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_note_is_kept_unless_it_is_nothing_but_an_error_or_a_sign() {
        for note in ["n/a at present", "#1 priority", "TBC", "x", "0", "✓", "!"] {
            assert!(!is_absent_note(note), "{note}");
        }
        for absent in ["NULL", "-", "?", "#REF!"] {
            assert!(is_absent_note(absent), "{absent}");
        }
    }
}
