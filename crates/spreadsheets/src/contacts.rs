//! Lists of POM contacts from NOMIS: reads their rows, and plans the commands that record them.
//!
//! If the list is complete, a contact that the ledger knows and the list lacks has gone from NOMIS.
//! A complete list must be in one sheet: [`check_whole_list`].

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use chrono::{DateTime, Utc};
use domain::{
    Command,
    identifier::{CommandId, PrisonCode, PrisonerNumber, StaffId},
    nomis_contacts::{self, Contact, ContactSeen, History},
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

/// A contact of a person, as a row of the file has it.
#[derive(Debug, Clone)]
pub struct PersonContact {
    /// The person.
    pub number: PrisonerNumber,
    /// The contact.
    pub seen: ContactSeen,
}

/// A row of the file with its number: a contact, or the line of the report that refuses it.
pub type ContactRow = (u32, Result<PersonContact, Box<ContactLine>>);

/// Reads every row below the header, except blank rows and totals. The contacts are those of a
/// prison.
#[must_use]
pub fn contacts(sheet: &Sheet, layout: &Layout, prison: &PrisonCode) -> Vec<ContactRow> {
    let cases = |row: &&Row| !matches!(row_kind(sheet, layout, row), RowKind::Blank | RowKind::Total);
    // A row that looks like a note counts as an unreadable contact: passing it over might confirm a
    // removal.
    sheet.rows[layout.header + 1..]
        .iter()
        .filter(cases)
        .map(|row| (row.number, contact(layout, &sheet.data_row(row), prison)))
        .collect()
}

fn contact(layout: &Layout, row: &Row, prison: &PrisonCode) -> Result<PersonContact, Box<ContactLine>> {
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
    let number =
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
    Ok(PersonContact { number, seen: ContactSeen { prison: prison.clone(), staff_id, name, contact_type } })
}

/// Works out the changes that the file brings at a prison: contacts that are new or seen again and,
/// with `complete`, contacts that have gone. `histories` are those of the persons in the file and,
/// with `complete`, of all others who have a contact at the prison.
#[must_use]
pub fn plan(
    rows: Vec<ContactRow>,
    prison: &PrisonCode,
    histories: &[History],
    complete: bool,
    now: DateTime<Utc>,
) -> Vec<PlannedContact> {
    let known: BTreeMap<Uuid, &Contact> = histories
        .iter()
        .flat_map(History::contacts)
        .filter(|(_, contact)| contact.found.prison == *prison)
        .map(|(id, contact)| (*id, contact))
        .collect();
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
        let PersonContact { number, seen: contact } = with_known_spelling(contact, &known);
        let contact_id = contact.contact_id(&number);
        let first = seen.insert(contact_id);
        let before = known.get(&contact_id);
        let in_nomis = before.is_some_and(|before| before.removed_at.is_none());
        let mut line = ContactLine {
            row: Some(row),
            outcome: "already-recorded",
            prisoner_number: Some(number.clone()),
            staff_id: contact.staff_id,
            name: contact.name.clone(),
            contact_type: Some(contact.contact_type.clone()),
            reason: (!first).then(|| "duplicate: the same contact is in an earlier row".to_owned()),
        };
        let step = (first && !in_nomis).then(|| {
            line.outcome = "would-record";
            // A contact that comes back after its removal is new again.
            let since = before.and_then(|before| before.removed_at);
            let body = json!([number, contact.staff_id, contact.name, contact.contact_type]);
            let id = json!(["found", contact_id, since]);
            let command = nomis_contacts::Command::RecordNomisContact(contact);
            step(number, command, "nomis-contacts", &id, &body, now)
        });
        planned.push(PlannedContact { line, step });
    }
    if complete {
        for (contact_id, contact) in
            known.iter().filter(|(id, contact)| contact.removed_at.is_none() && !seen.contains(*id))
        {
            let number = &contact.found.prisoner_number;
            let mut line = ContactLine {
                row: None,
                outcome: "would-confirm-removed",
                prisoner_number: Some(number.clone()),
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
                let (prison, contact_id) = (prison.clone(), *contact_id);
                let command = nomis_contacts::Command::ConfirmNomisContactRemoval { prison, contact_id };
                Some(step(number.clone(), command, "nomis-contact-removal", &id, &json!([contact_id]), now))
            };
            planned.push(PlannedContact { line, step });
        }
    }
    planned
}

/// A contact without a staff id under the spelling of its name that the ledger has: its id is made
/// of the name, and a name that is read otherwise today would be another contact.
fn with_known_spelling(contact: PersonContact, known: &BTreeMap<Uuid, &Contact>) -> PersonContact {
    let PersonContact { number, seen } = &contact;
    let Some(name) = seen.name.as_deref().filter(|_| seen.staff_id.is_none()) else { return contact };
    let known: Vec<&str> = known
        .values()
        .map(|known| &known.found)
        .filter(|found| {
            found.staff_id.is_none()
                && found.prisoner_number == *number
                && found.contact_type.eq_ignore_ascii_case(&seen.contact_type)
        })
        .filter_map(|found| found.name.as_deref())
        .filter(|known| name_words(known) == name_words(name))
        .collect();
    // The same words in another order may be another person's name.
    let as_spelt = known.iter().find(|known| spelling(known) == spelling(name));
    let same = as_spelt.or(if let [known] = known.as_slice() { Some(known) } else { None });
    match same.map(|known| (*known).to_owned()) {
        Some(known) => PersonContact { seen: ContactSeen { name: Some(known), ..contact.seen }, ..contact },
        None => contact,
    }
}

fn step(
    number: PrisonerNumber,
    command: nomis_contacts::Command,
    operation: &str,
    id: &serde_json::Value,
    body: &serde_json::Value,
    now: DateTime<Utc>,
) -> PlannedCommand {
    PlannedCommand {
        request_digest: request_digest(operation, command.prison().as_str(), body),
        command: Command::Contacts(number, command),
        command_id: CommandId::of_content(NAMESPACE, &id.to_string()),
        effective_at: now,
        if_match: None,
    }
}

#[cfg(test)]
mod tests {
    use domain::{Entry, Stream, event::RecordedBy};

    use super::*;

    fn seen(name: &str) -> PersonContact {
        PersonContact {
            number: "A0001BC".parse().expect("a number"),
            seen: ContactSeen {
                prison: "LEI".parse().expect("a prison"),
                staff_id: None,
                name: Some(name.to_owned()),
                contact_type: CONTACT_TYPE.to_owned(),
            },
        }
    }

    fn history(names: &[&str]) -> History {
        let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().expect("an instant");
        let mut history = History::new("A0001BC".parse().expect("a number"));
        for name in names {
            let command = nomis_contacts::Command::RecordNomisContact(seen(name).seen);
            let context = nomis_contacts::Context { now, effective_at: now };
            let command_id = CommandId::of_content(NAMESPACE, name);
            for event in nomis_contacts::decide(&history, &command, &context).expect("allowed") {
                history.push(Entry {
                    event_id: command_id.event_id(&Stream::Contacts(history.number().clone()), 0),
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

    #[track_caller]
    fn check(known: &[&str], name: &str, expected: &str) {
        let history = history(known);
        let known = history.contacts().iter().map(|(id, contact)| (*id, contact)).collect();
        assert_eq!(with_known_spelling(seen(name), &known).seen.name.as_deref(), Some(expected));
    }

    #[test]
    fn a_contact_is_another_one_in_another_order_of_words_only_where_both_are_known() {
        let both = ["James, Thomas", "Thomas, James"];
        for name in both {
            check(&both, name, name);
        }
        check(&both, "THOMAS, James", "Thomas, James");
        check(&["Berg, Jan van der"], "van der Berg, Jan", "Berg, Jan van der");
    }
}
