//! Lists of POM contacts from NOMIS: reads their rows, and plans the commands that record them.
//!
//! If the list is complete, a contact that the ledger knows and the list lacks has gone from NOMIS.
//! A complete list must be in one sheet: [`check_whole_list`].

use std::collections::BTreeSet;

use anyhow::ensure;
use chrono::{DateTime, Utc};
use domain::{
    Command,
    identifier::{CommandId, PrisonCode, PrisonerNumber, StaffId},
    prison::{self, ContactSeen},
    text::Excerpt,
};
use event_log::request_digest;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::{
    heading::Field,
    layout::{FieldSet, Layout, RowKind, row_kind},
    plan::PlannedCommand,
    reader::{Cell, Row, Sheet},
    staff::{name_words, spelling},
    value::{self, absence_of_name},
};

/// The fields that a list of contacts must have, and may have.
pub const FIELDS: FieldSet =
    FieldSet { needed: &[Field::PrisonerNumber], welcome: &[Field::StaffId, Field::PomName, Field::ContactType] };

/// The namespace of the command ids of contact imports. It must never change: later imports
/// recognise earlier ones by it.
const NAMESPACE: Uuid = Uuid::from_u128(0xb1c4_07d9_2e63_4a58_9f10_c87a_44e6_5b03);

/// The contact type of a list without that column.
const CONTACT_TYPE: &str = "POM";

/// A line of the report: a row of the file, or a contact that is no longer in it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContactLine {
    /// The number of the row; absent for a contact that is no longer in the file.
    pub row: Option<u32>,
    /// The outcome, in a word.
    pub outcome: &'static str,
    /// The prisoner.
    pub prisoner_number: Option<PrisonerNumber>,
    /// The staff id of the contact.
    pub staff_id: Option<StaffId>,
    /// The name of the contact.
    pub name: Option<String>,
    /// The kind of contact, in the words of NOMIS.
    pub contact_type: Option<String>,
    /// The reason why the contact is refused, or its removal is not confirmed.
    pub reason: Option<String>,
}

/// A line of the report and the command that would record it.
#[derive(Debug, Clone)]
pub struct PlannedContact {
    /// The line of the report.
    pub line: ContactLine,
    /// The command; absent if there is nothing to record.
    pub step: Option<PlannedCommand>,
}

/// Refuses a file with contacts in more than one sheet: a contact in another sheet would be taken
/// for one that has gone from NOMIS. The user may have named the sheet that is the whole list.
///
/// # Errors
/// Other sheets hold contacts, too, or could not be read.
pub fn check_whole_list(sheets: &[Sheet], layout: &Layout, sheet_name: Option<&str>) -> anyhow::Result<()> {
    if let Some((sheet, reason)) =
        sheets.iter().find_map(|sheet| sheet.marks.unread.as_ref().map(|reason| (sheet, reason)))
    {
        ensure!(
            sheet_name.is_some(),
            "the sheet `{}` cannot be read, and may hold contacts: {reason}. Say with --sheet which sheet is the whole list",
            Excerpt(&sheet.name)
        );
    }
    ensure!(
        layout.passed_over.is_empty(),
        "there are contacts in more than one sheet (`{}`, {}): bring them together in one, or say with --sheet which one \
         is the whole list",
        Excerpt(&sheets[layout.sheet].name),
        layout.passed_over.iter().map(|sheet| format!("`{}`", Excerpt(&sheet.name))).collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

/// A row of the file with its number: a contact, or the line of the report that refuses it.
pub type ContactRow = (u32, Result<ContactSeen, Box<ContactLine>>);

/// Reads every row below the header, except blank rows and totals.
#[must_use]
pub fn contacts(sheet: &Sheet, layout: &Layout) -> Vec<ContactRow> {
    let cases = |row: &&Row| !matches!(row_kind(sheet, layout, row), RowKind::Blank | RowKind::Total);
    // A row that looks like a note counts as an unreadable contact: passing it over might confirm a
    // removal.
    sheet.rows[layout.header + 1..]
        .iter()
        .filter(cases)
        .map(|row| (row.number, contact(layout, &sheet.data_row(row))))
        .collect()
}

fn contact(layout: &Layout, row: &Row) -> Result<ContactSeen, Box<ContactLine>> {
    let cell = |field: Field| layout.columns.get(&field).map_or(&Cell::Empty, |&column| row.cell(column));
    let excerpt = |field: Field| Some(Excerpt(&cell(field).to_string()).to_string()).filter(|text| !text.is_empty());
    let refused = |field: Field, wrong: String| {
        Box::new(ContactLine {
            row: Some(row.number),
            outcome: "refused",
            prisoner_number: value::prisoner_number(cell(Field::PrisonerNumber)).ok(),
            staff_id: None,
            name: excerpt(Field::PomName),
            contact_type: excerpt(Field::ContactType),
            reason: Some(format!("{field}: {wrong} (`{}`)", Excerpt(&cell(field).to_string()))),
        })
    };
    let prisoner_number =
        value::prisoner_number(cell(Field::PrisonerNumber)).map_err(|wrong| refused(Field::PrisonerNumber, wrong))?;
    let staff_id = match cell(Field::StaffId) {
        Cell::Empty => None,
        cell => Some(value::staff_id(cell).map_err(|wrong| refused(Field::StaffId, wrong))?),
    };
    let read = |field: Field, text: String| value::text(text).map_err(|wrong| refused(field, wrong));
    let written = cell(Field::PomName).to_string();
    let name = match written.is_empty() || absence_of_name(&written).is_some() {
        true => None,
        false => read(Field::PomName, value::person_name(&written).text)?,
    };
    if staff_id.is_none() && name.is_none() {
        return Err(refused(Field::StaffId, "the row names nobody".to_owned()));
    }
    let contact_type = read(Field::ContactType, cell(Field::ContactType).to_string())?;
    let contact_type = contact_type.unwrap_or_else(|| CONTACT_TYPE.to_owned());
    Ok(ContactSeen { prisoner_number, staff_id, name, contact_type })
}

/// Works out the changes that the file brings: contacts that are new or seen again and, with
/// `complete`, contacts that have gone.
#[must_use]
pub fn plan(
    rows: Vec<ContactRow>,
    history: &prison::History,
    complete: bool,
    now: DateTime<Utc>,
) -> Vec<PlannedContact> {
    let code = history.code();
    let known = &history.roster().contacts;
    let mut seen = BTreeSet::new();
    let mut planned = Vec::with_capacity(rows.len());
    let mut unreadable = false;
    for (row, contact) in rows {
        let contact = match contact {
            Ok(contact) => contact,
            Err(line) => {
                unreadable = true;
                planned.push(PlannedContact { line: *line, step: None });
                continue;
            }
        };
        let contact = with_known_spelling(contact, history);
        let contact_id = contact.contact_id(code);
        let first = seen.insert(contact_id);
        let before = known.get(&contact_id);
        let in_nomis = before.is_some_and(|before| before.removed_at.is_none());
        let mut line = ContactLine {
            row: Some(row),
            outcome: "already-recorded",
            prisoner_number: Some(contact.prisoner_number.clone()),
            staff_id: contact.staff_id,
            name: contact.name.clone(),
            contact_type: Some(contact.contact_type.clone()),
            reason: (!first).then(|| "duplicate: the same contact is in an earlier row".to_owned()),
        };
        let step = (first && !in_nomis).then(|| {
            line.outcome = "would-record";
            // A contact that comes back after its removal is new again.
            let since = before.and_then(|before| before.removed_at);
            let body = json!([contact.prisoner_number, contact.staff_id, contact.name, contact.contact_type]);
            let id = json!(["found", contact_id, since]);
            step(code, prison::Command::RecordNomisContact(contact), "nomis-contacts", &id, &body, now)
        });
        planned.push(PlannedContact { line, step });
    }
    if complete {
        for (contact_id, contact) in
            known.iter().filter(|(id, contact)| contact.removed_at.is_none() && !seen.contains(*id))
        {
            let mut line = ContactLine {
                row: None,
                outcome: "would-confirm-removed",
                prisoner_number: Some(contact.found.prisoner_number.clone()),
                staff_id: contact.found.staff_id,
                name: contact.found.name.clone(),
                contact_type: Some(contact.found.contact_type.clone()),
                reason: None,
            };
            // An unreadable row may hold this very contact.
            let step = if unreadable {
                line.outcome = "not-confirmed";
                line.reason = Some("absent, but rows were refused: correct them and import the file again".to_owned());
                None
            } else {
                let id = json!(["removed", contact_id, contact.found_at]);
                let command = prison::Command::ConfirmNomisContactRemoval { contact_id: *contact_id };
                Some(step(code, command, "nomis-contact-removal", &id, &json!([contact_id]), now))
            };
            planned.push(PlannedContact { line, step });
        }
    }
    planned
}

/// A contact without a staff id under the spelling of its name that the ledger has: its id is made
/// of the name, and a name that is read otherwise today would be another contact.
fn with_known_spelling(contact: ContactSeen, history: &prison::History) -> ContactSeen {
    let Some(name) = contact.name.as_deref().filter(|_| contact.staff_id.is_none()) else { return contact };
    let known: Vec<&str> = history
        .roster()
        .contacts
        .values()
        .map(|known| &known.found)
        .filter(|found| {
            found.staff_id.is_none()
                && found.prisoner_number == contact.prisoner_number
                && found.contact_type.eq_ignore_ascii_case(&contact.contact_type)
        })
        .filter_map(|found| found.name.as_deref())
        .filter(|known| name_words(known) == name_words(name))
        .collect();
    // The same words in another order may be another person's name.
    let as_spelt = known.iter().find(|known| spelling(known) == spelling(name));
    let same = as_spelt.or(if let [known] = known.as_slice() { Some(known) } else { None });
    match same.map(|known| (*known).to_owned()) {
        Some(known) => ContactSeen { name: Some(known), ..contact },
        None => contact,
    }
}

fn step(
    code: &PrisonCode,
    command: prison::Command,
    operation: &str,
    id: &serde_json::Value,
    body: &serde_json::Value,
    now: DateTime<Utc>,
) -> PlannedCommand {
    PlannedCommand {
        command: Command::Prison(code.clone(), command),
        command_id: CommandId::of_content(NAMESPACE, &id.to_string()),
        request_digest: request_digest(operation, code.as_str(), body),
        effective_at: now,
        if_match: None,
    }
}

#[cfg(test)]
mod tests {
    use domain::{Entry, Stream, event::RecordedBy};

    use super::*;

    fn seen(name: &str) -> ContactSeen {
        ContactSeen {
            prisoner_number: "A0001BC".parse().expect("a number"),
            staff_id: None,
            name: Some(name.to_owned()),
            contact_type: CONTACT_TYPE.to_owned(),
        }
    }

    fn known(names: &[&str]) -> prison::History {
        let code: PrisonCode = "LEI".parse().expect("a prison");
        let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().expect("an instant");
        let mut history = prison::History::new(code.clone());
        for name in names {
            let command = prison::Command::RecordNomisContact(seen(name));
            let context = prison::Context { now, effective_at: now };
            let command_id = CommandId::of_content(NAMESPACE, name);
            for event in prison::decide(&history, &command, &context).expect("allowed") {
                history.push(Entry {
                    event_id: command_id.event_id(&Stream::Prison(code.clone()), 0),
                    revision: history.entries().len() as u64,
                    position: 0,
                    effective_at: now,
                    recorded_at: now,
                    recorded_by: RecordedBy { username: None, client: "test".to_owned(), auth_source: None },
                    command_id,
                    event,
                });
            }
        }
        history
    }

    #[test]
    fn a_contact_is_another_one_in_another_order_of_words_only_where_both_are_known() {
        let both = known(&["James, Thomas", "Thomas, James"]);
        for name in ["James, Thomas", "Thomas, James"] {
            assert_eq!(with_known_spelling(seen(name), &both).name.as_deref(), Some(name));
        }
        assert_eq!(with_known_spelling(seen("THOMAS, James"), &both).name.as_deref(), Some("Thomas, James"));
        let one = known(&["Berg, Jan van der"]);
        assert_eq!(with_known_spelling(seen("van der Berg, Jan"), &one).name.as_deref(), Some("Berg, Jan van der"));
    }
}
