//! Reads `.ods` workbooks, cell by cell. All sheets are in one part, so damage anywhere is damage
//! to the file; but a sheet beyond the limits is passed over with the reason.

use std::{
    collections::{HashMap, HashSet},
    io::BufRead,
};

use anyhow::{Context as _, bail, ensure};
use chrono::NaiveDate;
use quick_xml::events::{BytesStart, Event};

use super::{
    archive::Archive,
    builder::{COLUMNS_MAX, GRID_ROWS, Merge, Room, SheetBuilder, unread},
    sheet::{Cell, Sheet},
    xml::{PIECE_MAX, Xml, attribute, push_text},
};

/// The most sheets and styles of a workbook.
const NAMES_MAX: usize = 10_000;

/// Reads the sheets in the order of their tabs.
///
/// # Errors
/// The workbook is damaged, or protected by a password.
pub fn sheets(archive: &mut Archive<'_>) -> anyhow::Result<Vec<Sheet>> {
    ensure!(!is_encrypted(archive), "the workbook is protected by a password: take the password off and save it again");
    archive.part("content.xml").and_then(read).context("read the workbook: is it damaged?")
}

fn is_encrypted(archive: &mut Archive<'_>) -> bool {
    let Ok(mut manifest) = archive.part("META-INF/manifest.xml") else { return false };
    loop {
        match manifest.next() {
            Ok(Event::Start(start)) if start.local_name().as_ref() == "encryption-data" => return true,
            Ok(Event::Eof) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// The sheets that styles hide, and the styles that colour cells.
#[derive(Default)]
struct Styles {
    hidden_sheets: HashSet<String>,
    coloured_cells: HashSet<String>,
}

fn read(mut xml: Xml<impl BufRead>) -> anyhow::Result<Vec<Sheet>> {
    enum Found {
        Table { name: String, style: String },
        Other,
    }
    let mut styles = Styles::default();
    let mut style = String::new();
    let mut day_zero = 0;
    let mut room = Room::FILE;
    let mut sheets = Vec::new();
    loop {
        let found = match xml.next()? {
            Event::Start(start) => match start.local_name().as_ref() {
                "style" => {
                    style = attribute(&start, "name").unwrap_or_default();
                    Found::Other
                }
                "table-properties" if attribute(&start, "display").as_deref() == Some("false") => {
                    insert(&mut styles.hidden_sheets, &style)?;
                    Found::Other
                }
                "table-cell-properties" if has_colour(&start) => {
                    insert(&mut styles.coloured_cells, &style)?;
                    Found::Other
                }
                "null-date" => {
                    day_zero = attribute(&start, "date-value").and_then(|day| day_zero_of(&day)).unwrap_or_default();
                    Found::Other
                }
                "table" => match attribute(&start, "name") {
                    Some(name) => Found::Table { name, style: attribute(&start, "style-name").unwrap_or_default() },
                    // The copy of another file's cells.
                    None => Found::Other,
                },
                _ => Found::Other,
            },
            Event::Eof => {
                ensure!(!sheets.is_empty(), "there are no sheets in it");
                return Ok(sheets);
            }
            _ => Found::Other,
        };
        if let Found::Table { name, style } = found {
            ensure!(sheets.len() < NAMES_MAX, "it has more than {NAMES_MAX} sheets");
            let hidden = styles.hidden_sheets.contains(&style);
            let mut table = Table { builder: SheetBuilder::new(room, day_zero), row: 0, column: 0, failed: None };
            table.read(&mut xml, &styles)?;
            let finished = match table.failed {
                None => table.builder.finish(name.clone(), hidden),
                Some(reason) => Err(reason),
            };
            match finished {
                Ok((sheet, left)) => {
                    room = left;
                    sheets.push(sheet);
                }
                Err(reason) => sheets.push(unread(name, hidden, &reason)),
            }
        }
    }
}

fn insert(names: &mut HashSet<String>, name: &str) -> anyhow::Result<()> {
    ensure!(names.len() < NAMES_MAX, "it has more than {NAMES_MAX} styles");
    names.insert(name.to_owned());
    Ok(())
}

fn has_colour(start: &BytesStart<'_>) -> bool {
    attribute(start, "background-color")
        .is_some_and(|colour| !matches!(&*colour.to_lowercase(), "transparent" | "#ffffff" | ""))
}

/// The number of a workbook's first day, where that is not the usual one.
fn day_zero_of(day: &str) -> Option<u32> {
    let day: NaiveDate = day.get(..10)?.parse().ok()?;
    let usual = NaiveDate::from_ymd_opt(1899, 12, 30)?;
    u32::try_from(day.signed_duration_since(usual).num_days()).ok()
}

/// A sheet on the way.
struct Table {
    builder: SheetBuilder,
    /// The rows and columns before the present one.
    row: u32,
    column: usize,
    /// The reason why the rest of the sheet is not put together.
    failed: Option<anyhow::Error>,
}

/// The cells of one row that have something in them.
type RowCells = Vec<CellRun>;

/// A cell that is repeated in several columns, one beside the other.
struct CellRun {
    column: usize,
    repeats: usize,
    cell: Cell,
    is_coloured: bool,
    /// The columns and rows of a merge that begins here.
    spans: (usize, u32),
}

impl Table {
    /// Reads up to the end of the table.
    fn read(&mut self, xml: &mut Xml<impl BufRead>, styles: &Styles) -> anyhow::Result<()> {
        enum Found {
            Row { repeats: u32, hidden: bool },
            Other,
            Inner,
        }
        loop {
            let found = match xml.next()? {
                Event::Start(start) => match start.local_name().as_ref() {
                    "table-row" => {
                        Found::Row { repeats: count(&start, "number-rows-repeated"), hidden: is_hidden(&start) }
                    }
                    "table-column" => {
                        let columns = count(&start, "number-columns-repeated") as usize;
                        if is_hidden(&start) {
                            self.builder.hide_columns(self.column, (self.column + columns).saturating_sub(1));
                        }
                        self.column = self.column.saturating_add(columns);
                        Found::Other
                    }
                    // Shapes over the sheet, and the links of the sheet to other files.
                    "shapes" | "table-source" | "scenario" | "forms" => Found::Inner,
                    _ => Found::Other,
                },
                Event::End(end) if end.local_name().as_ref() == "table" => return Ok(()),
                Event::Eof => bail!("its end is missing"),
                _ => Found::Other,
            };
            match found {
                Found::Row { repeats, hidden } => {
                    let cells = read_row(xml, styles)?;
                    if self.failed.is_none() {
                        self.failed = self.put_rows(&cells, repeats, hidden).err();
                    }
                    self.row = self.row.saturating_add(repeats);
                }
                Found::Inner => drop(xml.text(|_| false, |_| false)?),
                Found::Other => {}
            }
        }
    }

    fn put_rows(&mut self, cells: &RowCells, repeats: u32, hidden: bool) -> anyhow::Result<()> {
        if cells.is_empty() {
            return Ok(());
        }
        for row in (self.row.saturating_add(1)..=self.row.saturating_add(repeats)).take_while(|row| *row <= GRID_ROWS) {
            if hidden {
                self.builder.hide_row(row);
            }
            for run in cells {
                // One column beyond those that are read, so that it is told.
                let last = run.column.saturating_add(run.repeats).min(COLUMNS_MAX.max(run.column) + 1);
                for column in run.column..last {
                    if self.builder.put(row, column, run.cell.clone())? && run.is_coloured {
                        self.builder.colour_row(row);
                    }
                }
                if run.spans != (1, 1) {
                    let last = (row.saturating_add(run.spans.1 - 1), run.column.saturating_add(run.spans.0 - 1));
                    self.builder.merge(Merge { first: (row, run.column), last })?;
                }
            }
        }
        Ok(())
    }
}

fn count(start: &BytesStart<'_>, name: &str) -> u32 {
    attribute(start, name).and_then(|count| count.trim().parse().ok()).unwrap_or(1).max(1)
}

fn is_hidden(start: &BytesStart<'_>) -> bool {
    attribute(start, "visibility").is_some_and(|visibility| visibility != "visible")
}

fn read_row(xml: &mut Xml<impl BufRead>, styles: &Styles) -> anyhow::Result<RowCells> {
    enum Found {
        Cell { attributes: HashMap<String, String>, covered: bool },
        Other,
    }
    let mut cells = Vec::new();
    let mut column = 0_usize;
    loop {
        let found = match xml.next()? {
            Event::Start(start) => {
                let covered = start.local_name().as_ref() == "covered-table-cell";
                if covered || start.local_name().as_ref() == "table-cell" {
                    let mut attributes = HashMap::new();
                    for name in [
                        "number-columns-repeated",
                        "number-columns-spanned",
                        "number-rows-spanned",
                        "style-name",
                        "value-type",
                        "value",
                        "date-value",
                        "time-value",
                        "boolean-value",
                        "string-value",
                    ] {
                        if let Some(value) = attribute(&start, name) {
                            attributes.insert(name.to_owned(), value);
                        }
                    }
                    Found::Cell { attributes, covered }
                } else {
                    Found::Other
                }
            }
            Event::End(end) if end.local_name().as_ref() == "table-row" => return Ok(cells),
            Event::Eof => bail!("its end is missing"),
            _ => Found::Other,
        };
        if let Found::Cell { attributes, covered } = found {
            let shown = shown_text(xml)?;
            let get = |name: &str| attributes.get(name).map(String::as_str);
            let number = |name: &str| get(name).and_then(|count| count.parse().ok()).unwrap_or(1_u32).max(1);
            let repeats = number("number-columns-repeated") as usize;
            let cell = cell(&get, &shown);
            // A value of its own that a covered cell may have cannot be seen.
            if !covered && cell != Cell::Empty {
                ensure!(cells.len() < PIECE_MAX, "a row in it has more than {PIECE_MAX} cells");
                cells.push(CellRun {
                    column,
                    repeats,
                    cell,
                    is_coloured: get("style-name").is_some_and(|style| styles.coloured_cells.contains(style)),
                    spans: (number("number-columns-spanned") as usize, number("number-rows-spanned")),
                });
            }
            column = column.saturating_add(repeats);
        }
    }
}

/// A cell by its attributes and the text that it shows.
fn cell<'a>(get: &impl Fn(&str) -> Option<&'a str>, shown: &str) -> Cell {
    let text = |value: Option<&str>| Cell::text(value.filter(|value| !value.is_empty()).unwrap_or(shown));
    // LibreOffice shows an error where the value would be, and calls it text or a number.
    if shown.starts_with('#')
        && matches!(get("value-type"), Some("float" | "string"))
        && get("string-value") == Some("")
    {
        return Cell::text(shown);
    }
    match get("value-type") {
        Some("float" | "percentage" | "currency") => match get("value").and_then(|value| value.trim().parse().ok()) {
            // An error of a formula has the value 0.
            Some(0.0) if shown.starts_with("Err:") => Cell::text("#ERROR!"),
            Some(0.0) if shown.starts_with('#') => Cell::text(shown),
            Some(number) => Cell::Number(number),
            None => Cell::text(shown),
        },
        // In ISO format, which `value::date` reads.
        Some("date") => text(get("date-value")),
        Some("time") => text(get("time-value")),
        Some("boolean") => text(get("boolean-value").map(|value| if value == "true" { "TRUE" } else { "FALSE" })),
        Some("string") if shown.starts_with("Err:") => Cell::text("#ERROR!"),
        _ => text(get("string-value")),
    }
}

/// The text of the cell that has just begun, up to its end, without notes and drawings.
fn shown_text(xml: &mut Xml<impl BufRead>) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut paragraphs = 0;
    let mut depth = 1;
    // The depth of a note or drawing.
    let mut aside = None;
    while depth > 0 {
        match xml.next()? {
            Event::Start(start) => {
                depth += 1;
                if aside.is_some() {
                    continue;
                }
                match start.local_name().as_ref() {
                    "annotation" | "table" | "frame" | "custom-shape" | "rect" | "line" | "g" | "control" => {
                        aside = Some(depth);
                    }
                    "p" => {
                        if paragraphs > 0 {
                            text.push('\n');
                        }
                        paragraphs += 1;
                    }
                    "s" => text.extend(std::iter::repeat_n(' ', (count(&start, "c") as usize).min(PIECE_MAX))),
                    "tab" => text.push('\t'),
                    "line-break" => text.push('\n'),
                    _ => {}
                }
            }
            Event::End(_) => {
                aside = aside.filter(|from| *from != depth);
                depth -= 1;
            }
            Event::Eof => bail!("its end is missing"),
            event if aside.is_none() && paragraphs > 0 => push_text(&event, &mut text),
            _ => {}
        }
        ensure!(text.len() <= PIECE_MAX, "a text in it has more than {} MiB", PIECE_MAX >> 20);
    }
    Ok(text)
}
