//! Reads `.xlsx` workbooks, cell by cell.
//!
//! Damage in one place is damage there alone: a value that cannot be found makes a damaged
//! cell, and a sheet that cannot be read has a reason instead of rows.

use std::io::BufRead;

use anyhow::{Context as _, bail, ensure};
use quick_xml::events::Event;

use super::{
    archive::{Archive, Relationship},
    builder::{GRID_ROWS, Merge, Room, SHEETS_MAX, SheetBuilder, Tab, place_of, sheets_of},
    day,
    escapes::unescape,
    sheet::{Cell, DAY_ZERO_OF_1904, Sheet},
    strings::Strings,
    styles::{self, CellStyle},
    xml::{Xml, attribute, is_set},
};

/// Reads the sheets in the order of their tabs.
///
/// # Errors
/// The archive has no workbook, or the list of its sheets is damaged.
pub fn sheets(archive: &mut Archive<'_>) -> anyhow::Result<Vec<Sheet>> {
    let workbook = archive
        .relationships("")?
        .into_iter()
        .find(|relationship| relationship.kind == "officeDocument")
        .map_or_else(|| "xl/workbook.xml".to_owned(), |relationship| relationship.target);
    if !workbook.to_lowercase().ends_with("workbook.xml") || !archive.has(&workbook) {
        refuse_other(archive)?;
    }
    let list = archive.part(&workbook).and_then(list).context("find the sheets of the workbook: is it damaged?")?;
    let relationships = archive.relationships(&workbook).context("find the sheets of the workbook: is it damaged?")?;
    let target = |kind: &str| {
        relationships.iter().find(|relationship| relationship.kind == kind).map(|found| found.target.clone())
    };
    let mut room = Room::FILE;
    let strings = match target("sharedStrings") {
        Some(part) if archive.has(&part) => Strings::read(&mut room, |add| {
            let mut xml = archive.part(&part)?;
            loop {
                match xml.next()? {
                    Event::Start(start) if start.local_name().as_ref() == "si" => {}
                    Event::Eof => return Ok(()),
                    _ => continue,
                }
                add(string(&mut xml)?)?;
            }
        }),
        _ => Strings::default(),
    };
    // Without styles, a date is its day number, as which it is read, too.
    let styles = target("styles").and_then(|part| archive.part(&part).and_then(styles::read).ok()).unwrap_or_default();
    let book = Book { strings, styles, day_zero: list.day_zero };
    let tabs = placed(list.tabs, &relationships);
    Ok(sheets_of(tabs, room, book.day_zero, |part, builder| {
        let part = part.context("the workbook does not have it: is it damaged?")?;
        book.read_sheet(archive.part(&part)?, builder)
    }))
}

/// The tabs that have cells, with the part that each relationship names. A chart or a macro in a
/// tab of its own has none.
pub fn placed(tabs: Vec<Tab<String>>, relationships: &[Relationship]) -> Vec<Tab<Option<String>>> {
    let mut placed = Vec::with_capacity(tabs.len());
    for Tab { name, hidden, place } in tabs {
        let related = relationships.iter().find(|relationship| relationship.id == place);
        if related.is_none_or(|related| related.kind == "worksheet") {
            placed.push(Tab { name, hidden, place: related.map(|related| related.target.clone()) });
        }
    }
    placed
}

/// The list of a workbook's sheets, and its calendar.
#[derive(Default)]
struct TabList {
    tabs: Vec<Tab<String>>,
    day_zero: u32,
}

fn list(mut xml: Xml<impl BufRead>) -> anyhow::Result<TabList> {
    let mut list = TabList::default();
    loop {
        match xml.next()? {
            Event::Start(start) => match start.local_name().as_ref() {
                "workbookPr" if is_set(&start, "date1904") => list.day_zero = DAY_ZERO_OF_1904,
                "sheet" => {
                    ensure!(list.tabs.len() < SHEETS_MAX, "it has more than {SHEETS_MAX} sheets");
                    list.tabs.push(Tab {
                        name: attribute(&start, "name").unwrap_or_default(),
                        hidden: attribute(&start, "state").is_some_and(|state| state != "visible"),
                        // `r:id`; `sheetId` is another number.
                        place: attribute(&start, "id").unwrap_or_default(),
                    });
                }
                _ => {}
            },
            Event::Eof => return Ok(list),
            _ => {}
        }
    }
}

/// A text with or without formatting, without the reading aids of East Asian texts.
fn string(xml: &mut Xml<impl BufRead>) -> anyhow::Result<String> {
    let text = xml.text(|name| name == "t", |name| name == "rPh")?;
    Ok(unescape(&text).into_owned())
}

/// The tables that the cells of a workbook refer to.
struct Book {
    strings: Strings,
    styles: Vec<CellStyle>,
    day_zero: u32,
}

/// The beginning of an element that matters.
enum Found {
    Row { number: Option<String>, hidden: bool },
    Cell { place: Option<String>, style: usize, kind: Option<String> },
    Columns { first: usize, last: usize },
    Merge(String),
    Other,
    End,
}

impl Book {
    fn read_sheet(&self, mut xml: Xml<impl BufRead>, builder: &mut SheetBuilder) -> anyhow::Result<()> {
        let (mut row, mut column) = (0_u32, 0_usize);
        let mut in_data = false;
        loop {
            let found = match xml.next()? {
                Event::Start(start) => {
                    let name = start.local_name();
                    match name.as_ref() {
                        "sheetData" => {
                            in_data = true;
                            Found::Other
                        }
                        "row" if in_data => {
                            Found::Row { number: attribute(&start, "r"), hidden: is_set(&start, "hidden") }
                        }
                        "c" if in_data => Found::Cell {
                            place: attribute(&start, "r"),
                            style: attribute(&start, "s").and_then(|style| style.parse().ok()).unwrap_or_default(),
                            kind: attribute(&start, "t"),
                        },
                        "col" if is_set(&start, "hidden") => {
                            let number = |name| attribute(&start, name).and_then(|number| number.parse().ok());
                            let first: usize = number("min").unwrap_or(1);
                            Found::Columns { first, last: number("max").unwrap_or(first) }
                        }
                        "mergeCell" => Found::Merge(attribute(&start, "ref").unwrap_or_default()),
                        _ => Found::Other,
                    }
                }
                Event::End(end) if end.local_name().as_ref() == "sheetData" => {
                    in_data = false;
                    Found::Other
                }
                Event::Eof => Found::End,
                _ => Found::Other,
            };
            match found {
                Found::Row { number, hidden } => {
                    // A number that is none lies outside of the grid, and so do the row's cells.
                    row = number.map_or(row.saturating_add(1), |number| number.parse().unwrap_or(u32::MAX));
                    column = 0;
                    if hidden && row <= GRID_ROWS {
                        builder.hide_row(row);
                    }
                }
                Found::Cell { place, style, kind } => {
                    let style = self.styles.get(style).copied().unwrap_or_default();
                    let cell = self.read_cell(&mut xml, style, kind.as_deref())?;
                    let (at_row, at_column) = match place {
                        None => (row, column),
                        Some(name) => match place_of(&name) {
                            Some(place) => place,
                            None => {
                                builder.leave_out(&name);
                                continue;
                            }
                        },
                    };
                    column = at_column + 1;
                    if builder.put(at_row, at_column, cell)? && style.is_coloured {
                        builder.colour_row(at_row);
                    }
                }
                Found::Columns { first, last } => builder.hide_columns(first.saturating_sub(1), last.saturating_sub(1)),
                Found::Merge(range) => {
                    if let Some((first, last)) = range.split_once(':')
                        && let (Some(first), Some(last)) = (place_of(first), place_of(last))
                    {
                        builder.merge(Merge { first, last })?;
                    }
                }
                Found::Other => {}
                Found::End => {
                    ensure!(!in_data, "it is damaged: its end is missing");
                    return Ok(());
                }
            }
        }
    }

    fn read_cell(&self, xml: &mut Xml<impl BufRead>, style: CellStyle, kind: Option<&str>) -> anyhow::Result<Cell> {
        let (mut value, mut inline) = (None, None);
        loop {
            enum Within {
                Value,
                Text,
                Other,
            }
            let within = match xml.next()? {
                Event::Start(start) => match start.local_name().as_ref() {
                    "v" => Within::Value,
                    "is" => Within::Text,
                    _ => Within::Other,
                },
                Event::End(end) if end.local_name().as_ref() == "c" => break,
                Event::Eof => bail!("it is damaged: its end is missing"),
                _ => Within::Other,
            };
            match within {
                Within::Value => value = Some(xml.content()?),
                Within::Text => inline = Some(string(xml)?),
                Within::Other => {}
            }
        }
        let value = value.unwrap_or_default();
        Ok(match (kind, inline) {
            (_, Some(text)) => Cell::text(&text),
            (Some("s"), None) if value.is_empty() => Cell::Empty,
            (Some("s"), None) => self.strings.cell(value.trim().parse().ok())?,
            (Some("b"), None) => match value.trim() {
                "1" | "true" => Cell::text("TRUE"),
                "0" | "false" => Cell::text("FALSE"),
                other => Cell::text(other),
            },
            // Text of a formula, a date in ISO format, which `value::date` reads, or an error, of
            // which each version of a program may have new ones.
            (Some("str" | "d" | "e" | "inlineStr"), None) => Cell::text(&unescape(&value)),
            (_, None) => match value.trim().parse::<f64>() {
                Ok(number) if style.is_date => day::cell(number + f64::from(self.day_zero)),
                Ok(number) => Cell::Number(number),
                Err(_) => Cell::text(&value),
            },
        })
    }
}

/// Refuses an archive that is no workbook, by what it is.
fn refuse_other(archive: &Archive<'_>) -> anyhow::Result<()> {
    let what = if archive.has("word/document.xml") {
        "a document of a word processor"
    } else if archive.has("ppt/presentation.xml") {
        "a presentation"
    } else if archive.has("Index/Document.iwa") {
        "a file of Apple's Numbers"
    } else {
        "a zip archive without a workbook"
    };
    bail!("it is {what}: save the sheet of cases as .xlsx, .ods or .csv")
}
