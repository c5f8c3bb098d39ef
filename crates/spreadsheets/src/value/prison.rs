//! Reads cells that name a prison.

use domain::{identifier::PrisonCode, prison::LIST_DATE, text::Excerpt};

use super::{ValueProblem, identifier_text};
use crate::reader::Cell;

/// Words before or after a prison's name that are no part of it in the list of prisons.
const KINDS_OF_PRISON: [&str; 5] = ["HMP", "HMYOI", "YOI", "HMPYOI", "PRISON"];

/// The code of a prison that the program's list of prisons has, from its code or its name. Another
/// code may be a slip of the pen, and is refused.
pub fn listed_prison(cell: &Cell) -> Result<PrisonCode, ValueProblem> {
    let text = identifier_text(cell)?;
    let code = text.to_ascii_uppercase().parse::<PrisonCode>().ok();
    if let Some(code) = code.as_ref().filter(|code| code.listed_name().is_some()) {
        return Ok(code.clone());
    }
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '\'' && letter != '’');
    let name: Vec<&str> = words.filter(|word| !KINDS_OF_PRISON.contains(&word.to_ascii_uppercase().as_str())).collect();
    PrisonCode::of_listed_name(&name.join(" ")).ok_or_else(|| match code {
        Some(code) => code.unlisted_sentence().trim_end_matches('.').to_owned(),
        None => format!(
            "`{}` is neither the code nor the name of a prison in the list of {LIST_DATE}",
            Excerpt(text.as_str())
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let found = listed_prison(&Cell::text(text)).map(|code| code.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_prison_is_read_by_its_code_or_its_name() {
        for text in ["MDI", " mdi ", "Moorland", "MOORLAND", "HMP Moorland", "HMP/YOI Moorland", "Moorland (HMP & YOI)"]
        {
            check(text, Ok("MDI"));
        }
        check("Guy's Marsh", Ok("GMI"));
        check("Usk", Ok("UKI"));
    }

    #[test]
    fn what_the_list_lacks_is_refused_with_the_reason() {
        check("LEE", Err("LEE is not in the list of prisons of 29 November 2026. Near it are LEI (Leeds)"));
        check("", Err("it is empty"));
        let neither = "is neither the code nor the name of a prison in the list of 29 November 2026";
        for text in ["Leeds or Hull", "MDI 02/12/2019", "Scotland"] {
            check(text, Err(&format!("`{text}` {neither}")));
        }
    }
}
