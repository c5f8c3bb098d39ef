//! The file that an import reads, as the events of the import name it.

use std::{fmt::Write as _, path::Path};

use anyhow::ensure;
use domain::{
    identifier::PrisonerNumber,
    text::{Excerpt, Text},
};
use event_log::Provenance;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// A sheet of a file, read by one run of an import.
#[derive(Debug, Clone)]
pub struct ImportSource {
    file: String,
    sha256: String,
    sheet: String,
    run: Uuid,
}

impl ImportSource {
    /// A source that a new run reads.
    ///
    /// # Errors
    /// The name of the file or of the sheet holds a prisoner number: each event of the run would
    /// have it, also those of other cases.
    pub fn of_new_run(path: &Path, bytes: &[u8], sheet: &str) -> anyhow::Result<Self> {
        let mut sha256 = String::with_capacity(64);
        for byte in Sha256::digest(bytes) {
            // Writing to a string cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for (what, name) in [("file", &*name), ("sheet", sheet)] {
            ensure!(
                PrisonerNumber::all_in(name).next().is_none(),
                "the name of the {what}, `{}`, has a prisoner number in it, and every entry of the import would name \
                 that person: rename the {what}",
                Excerpt(name)
            );
        }
        Ok(Self { file: recordable(&name), sha256, sheet: recordable(sheet), run: Uuid::new_v4() })
    }

    /// The run that reads it.
    #[must_use]
    pub fn run(&self) -> Uuid {
        self.run
    }

    /// The provenance of an event that one row led to, or several where none is given.
    #[must_use]
    pub fn provenance(&self, row: Option<u32>) -> Box<Provenance> {
        let Self { file, sha256, sheet, run } = self.clone();
        Box::new(Provenance { file, sha256, sheet, row, run })
    }
}

/// A name as it is, or with the characters escaped that no text of the ledger has.
fn recordable(name: &str) -> String {
    Text::try_from(name.to_owned()).map_or_else(|_| Excerpt(name).to_string(), String::from)
}
