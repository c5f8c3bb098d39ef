//! Rule 13 of `docs/domain.md`: a free text names no other person in prison.

use crate::{Refusal, Rule, identifier::PrisonerNumber};

/// A free text of a command, with the name of its field.
pub(crate) type NamedText<'a> = (&'static str, &'a str);

/// The text of a field, where there is one.
pub(crate) fn named_text<'a>(field: &'static str, text: Option<&'a String>) -> Option<NamedText<'a>> {
    text.map(|text| (field, text.as_str()))
}

/// Refuses a text that holds a prisoner number, unless that is one of the case's own.
pub(crate) fn refuse_named_prisoners(
    texts: Vec<NamedText<'_>>,
    is_own: impl Fn(&PrisonerNumber) -> bool,
) -> Result<(), Refusal> {
    for (field, text) in texts {
        if let Some(number) = PrisonerNumber::all_in(text).find(|number| !is_own(number)) {
            return Err(Refusal::new(
                Rule::TextNamesPrisoner,
                format!(
                    "{field} names the prisoner number {number}. A text about one person tells of no other by number. \
                     Leave the number out."
                ),
            ));
        }
    }
    Ok(())
}
