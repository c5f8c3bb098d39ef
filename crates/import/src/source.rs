//! The sheet that an import reads, as the events of the import name it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use anyhow::ensure;
use domain::{
    identifier::PrisonerNumber,
    text::{Excerpt, Text},
};
use event_log::Provenance;
use sha2::{Digest as _, Sha256};
use spreadsheets::reader::{Row, Sheet};
use uuid::Uuid;

/// A sheet of a file, read by one run of an import.
#[derive(Debug, Clone)]
pub struct ImportSource {
    file: String,
    sheet: String,
    /// The digests of the rows, by their numbers.
    rows: Arc<BTreeMap<u32, String>>,
    run: Uuid,
}

impl ImportSource {
    /// A source that a new run reads: a file of this name.
    ///
    /// # Errors
    /// The name of the file or of the sheet holds a prisoner number: each event of the run would
    /// have it, also those of other cases.
    pub fn of_new_run(name: &str, sheet: &Sheet) -> anyhow::Result<Self> {
        check_name("file", name)?;
        check_name("sheet", &sheet.name)?;
        let rows = sheet.rows.iter().filter_map(|row| Some((row.number, digest_row(row)?)));
        Ok(Self {
            file: recordable(name),
            sheet: recordable(&sheet.name),
            rows: Arc::new(rows.collect()),
            run: Uuid::new_v4(),
        })
    }

    /// The run that reads it.
    #[must_use]
    pub fn run(&self) -> Uuid {
        self.run
    }

    /// The provenance of an event that one row led to, or several where none is given.
    #[must_use]
    pub fn provenance(&self, row: Option<u32>) -> Box<Provenance> {
        let Self { file, sheet, rows, run } = self.clone();
        let row_sha256 = row.and_then(|row| rows.get(&row).cloned());
        Box::new(Provenance { file, sheet, row, row_sha256, run })
    }
}

/// Refuses a name of a file or of a sheet that holds a prisoner number.
///
/// # Errors
/// It does.
pub fn check_name(what: &str, name: &str) -> anyhow::Result<()> {
    ensure!(
        PrisonerNumber::all_in(name).next().is_none(),
        "the name of the {what}, `{}`, has a prisoner number in it, and every entry of the import would name that \
         person: rename the {what}",
        Excerpt(name)
    );
    Ok(())
}

/// Lower-case hexadecimal SHA-256 of a row's cells, as a JSON array of their texts without empty
/// ones at the end; of that row alone, as the whole file has the numbers of other cases. `None`
/// where the row itself names a second prisoner.
fn digest_row(row: &Row) -> Option<String> {
    let mut cells: Vec<String> = row.cells.iter().map(ToString::to_string).collect();
    cells.truncate(cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1));
    // A number counts that is written with blanks or other signs in it, as it does in its column.
    let bare = cells.iter().map(|cell| cell.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>());
    let named: BTreeSet<PrisonerNumber> =
        bare.chain(cells.iter().cloned()).flat_map(|text| PrisonerNumber::all_in(&text).collect::<Vec<_>>()).collect();
    if named.len() > 1 {
        return None;
    }
    let mut digest = String::with_capacity(64);
    for byte in Sha256::digest(serde_json::to_vec(&cells).ok()?) {
        // Writing to a string cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    Some(digest)
}

/// A name as it is, or with the characters escaped that no text of the ledger has.
fn recordable(name: &str) -> String {
    Text::try_from(name.to_owned()).map_or_else(|_| Excerpt(name).to_string(), String::from)
}
