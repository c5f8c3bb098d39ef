//! The reading of a sheet: the column of each field, and the columns that were not read. A report
//! begins with it, since it is the first thing to check.

use std::fmt;

use domain::text::Excerpt;
use serde::Serialize;

use super::{
    FieldSet, Layout,
    columns::{heading_of, headings, weight},
    is_over,
};
use crate::{
    heading::{Field, Heading},
    leaving::LEAVING_FIELDS,
    reader::{Sheet, column_letters},
};

/// The weight from which on a heading says another column of a field that has one.
const SECOND_WEIGHT_MIN: u32 = 60;

/// The number of unread columns that a reading has; a sheet may have thousands.
const UNREAD_MAX: usize = 100;

/// The number of unread columns that a text lists.
const UNREAD_SHOWN_MAX: usize = 30;

/// The reading of a sheet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SheetReading {
    /// The sheet's name.
    pub sheet: String,
    /// The row of the headings.
    pub header_row: u32,
    /// The columns with a heading or a field, from the left.
    pub columns: Vec<ColumnReading>,
    /// How values were understood, in sentences.
    pub notes: Vec<String>,
    /// Remarks on rows, columns and sheets that are hidden, merged, coloured or not read, in
    /// sentences. A text has them after the outcomes of the rows.
    pub remarks: Vec<String>,
}

/// The reading of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnReading {
    /// Its letters in a spreadsheet program.
    pub column: String,
    /// Its heading as written; empty if it has none.
    pub heading: String,
    /// The field that it was taken for, by its name in `--map`; absent if it was not read.
    pub field: Option<&'static str>,
    /// The field in words.
    #[serde(skip)]
    pub field_words: Option<&'static str>,
    /// Why it was not read, where its heading would name a field.
    pub note: Option<String>,
}

/// Describes how a sheet is read. Callers add to its notes and remarks.
#[must_use]
pub fn reading(sheet: &Sheet, layout: &Layout, field_set: FieldSet) -> SheetReading {
    let header = &sheet.rows[layout.header];
    let names = headings(sheet, layout.header);
    let note_on = |column: usize| {
        if layout.counters.contains(&column) {
            return Some("it counts the rows, and is no staff id".to_owned());
        }
        let names: Vec<Heading> = names.get(column)?.iter().map(|name| Heading::new(name)).collect();
        let named = |field: &Field| names.iter().any(|name| weight(*field, name, field_set) >= SECOND_WEIGHT_MIN);
        let field = field_set.fields().find(named)?;
        Some(match layout.columns.get(&field) {
            Some(taken) => format!("column {} was taken for the {field}", column_letters(*taken)),
            None if field == Field::PomKind => {
                "its words are no known kinds of POM: say what they mean with --pom-kind \"WORD=PRISON\"".to_owned()
            }
            None => format!("its cells do not look like a {field}"),
        })
    };
    let last = layout.read_columns().map(|(_, column)| column).max().unwrap_or(0);
    let columns: Vec<_> = (0..names.len().max(header.cells.len()).max(last + 1))
        .filter_map(|column| {
            let heading = Excerpt(&heading_of(sheet, layout.header, column)).to_string();
            let field = layout.field_of(column);
            (field.is_some() || !heading.is_empty()).then(|| ColumnReading {
                column: column_letters(column),
                heading,
                field: field.map(Field::name),
                field_words: field.map(Field::words),
                note: if field.is_some() { None } else { note_on(column) },
            })
        })
        .scan(0, |unread, column: ColumnReading| {
            *unread += usize::from(column.field.is_none());
            Some((*unread, column))
        })
        .filter(|(unread, column)| column.field.is_some() || *unread <= UNREAD_MAX)
        .map(|(_, column)| column)
        .collect();
    let mut notes = Vec::new();
    if is_over(&sheet.name) && !LEAVING_FIELDS.iter().any(|field| layout.columns.contains_key(field)) {
        notes.push(format!(
            "The name of the sheet `{}` says that its cases are over; they are read as current ones.",
            Excerpt(&sheet.name)
        ));
    }
    SheetReading { sheet: sheet.name.clone(), header_row: header.number, columns, notes, remarks: Vec::new() }
}

impl fmt::Display for SheetReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Read from the sheet `{}`, with its headings in row {}:", Excerpt(&self.sheet), self.header_row)?;
        let read = self.columns.iter().filter_map(|column| Some((column.field_words?, column)));
        for (field, column) in read {
            writeln!(f, "  {field:<18} <- {:<2} {}", column.column, quote(&column.heading))?;
        }
        let unread: Vec<_> = self.columns.iter().filter(|column| column.field.is_none()).collect();
        if !unread.is_empty() {
            let shown = unread.iter().take(UNREAD_SHOWN_MAX).map(|column| match &column.note {
                Some(note) => format!("{} {} ({note})", column.column, quote(&column.heading)),
                None => format!("{} {}", column.column, quote(&column.heading)),
            });
            let mut shown: Vec<_> = shown.collect();
            if unread.len() > UNREAD_SHOWN_MAX {
                shown.push(format!("{} more", unread.len() - UNREAD_SHOWN_MAX));
            }
            writeln!(f, "Not read: {}.", shown.join(", "))?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        Ok(())
    }
}

fn quote(heading: &str) -> String {
    if heading.is_empty() { "(no heading)".to_owned() } else { format!("\"{heading}\"") }
}
