//! Reads `.xls` workbooks ([MS-XLS]), record by record: those of Excel 97 to 2003, and of Excel 5
//! and 95. Damage in one place is damage there alone, as in `.xlsx`.

use std::{collections::HashMap, slice};

use anyhow::{Context as _, bail, ensure};
use encoding_rs::{Encoding, UTF_16LE, WINDOWS_1252};

use super::{
    binary::{Bytes, error, truth},
    builder::{GRID_ROWS, Merge, Room, SHEETS_MAX, SheetBuilder, Tab, sheets_of},
    compound::CompoundFile,
    day,
    sheet::{Cell, DAMAGED, DAY_ZERO_OF_1904, Sheet},
    strings::Strings,
    styles::{CellStyle, STYLES_MAX, is_date_by_number, is_date_format},
};

/// The records that matter, by their numbers.
mod kind {
    pub const FORMULA: u16 = 0x0006;
    pub const END: u16 = 0x000a;
    pub const DATE_MODE: u16 = 0x0022;
    pub const FILE_PASS: u16 = 0x002f;
    pub const CONTINUE: u16 = 0x003c;
    pub const CODE_PAGE: u16 = 0x0042;
    pub const COLUMN_INFO: u16 = 0x007d;
    pub const BOUND_SHEET: u16 = 0x0085;
    pub const MULTIPLE_SHORT_NUMBERS: u16 = 0x00bd;
    pub const RICH_TEXT: u16 = 0x00d6;
    pub const STYLE: u16 = 0x00e0;
    pub const MERGES: u16 = 0x00e5;
    pub const SHARED_TEXTS: u16 = 0x00fc;
    pub const SHARED_TEXT: u16 = 0x00fd;
    pub const NUMBER: u16 = 0x0203;
    pub const TEXT: u16 = 0x0204;
    pub const TRUTH_OR_ERROR: u16 = 0x0205;
    pub const FORMULA_TEXT: u16 = 0x0207;
    pub const ROW: u16 = 0x0208;
    pub const SHORT_NUMBER: u16 = 0x027e;
    pub const FORMAT: u16 = 0x041e;
    pub const BEGINNING: u16 = 0x0809;
}

/// Reads the sheets in the order of their tabs.
///
/// # Errors
/// The workbook is damaged, or protected by a password.
pub fn sheets(bytes: &[u8]) -> anyhow::Result<Vec<Sheet>> {
    let file = CompoundFile::open(bytes).context("open the workbook: is it damaged?")?;
    ensure!(
        !file.has("EncryptedPackage"),
        "the workbook is protected by a password: take the password off and save it again"
    );
    let name = if file.has("Workbook") { "Workbook" } else { "Book" };
    let stream = file.stream(name).context("open the workbook: is it damaged?")?;
    drop(file);
    let mut room = Room::FILE;
    let book = Book::read(&stream, &mut room).context("open the workbook: is it damaged?")?;
    let Book { tabs, day_zero, .. } = &book;
    let tabs = tabs.iter().map(|tab| Tab { name: tab.name.clone(), hidden: tab.hidden, place: tab.place }).collect();
    Ok(sheets_of(tabs, room, *day_zero, |place, builder| {
        let records = stream.get(place..).context("it is damaged: the workbook does not have it")?;
        book.read_sheet(Records(Bytes(records)), builder)
    }))
}

/// The tables that the cells of a workbook refer to, and the places where its sheets begin.
struct Book {
    tabs: Vec<Tab<usize>>,
    strings: Strings,
    styles: Vec<CellStyle>,
    day_zero: u32,
    letters: Letters,
}

/// How texts are written: in Excel 97 and later each says so itself, before that in a code page.
#[derive(Clone, Copy)]
struct Letters {
    are_marked: bool,
    code_page: &'static Encoding,
}

impl Book {
    fn read(stream: &[u8], room: &mut Room) -> anyhow::Result<Self> {
        let mut book = Self {
            tabs: Vec::new(),
            strings: Strings::default(),
            styles: Vec::new(),
            day_zero: 0,
            letters: Letters { are_marked: true, code_page: WINDOWS_1252 },
        };
        let mut formats = HashMap::new();
        let mut records = Records(Bytes(stream));
        while let Some((kind, mut record)) = records.next()? {
            match kind {
                kind::BEGINNING => book.letters.are_marked = record.u16()? >= 0x0600,
                kind::FILE_PASS => bail!("it is protected by a password: take the password off and save it again"),
                kind::CODE_PAGE => {
                    let label = format!("windows-{}", record.u16()?);
                    book.letters.code_page = Encoding::for_label(label.as_bytes()).unwrap_or(WINDOWS_1252);
                }
                kind::DATE_MODE if record.u16()? == 1 => book.day_zero = DAY_ZERO_OF_1904,
                kind::FORMAT if formats.len() < STYLES_MAX => {
                    let id = record.u16()?;
                    // A format that cannot be read is none of dates.
                    let format = book.letters.text(&mut record).unwrap_or_default();
                    formats.insert(id, is_date_format(&format));
                }
                kind::STYLE if book.styles.len() < STYLES_MAX => {
                    record.take(2)?;
                    let format = record.u16()?;
                    let is_date = formats.get(&format).copied().unwrap_or_else(|| is_date_by_number(format.into()));
                    let is_coloured = book.letters.are_marked && has_colour(&mut record).unwrap_or_default();
                    book.styles.push(CellStyle { is_date, is_coloured });
                }
                kind::BOUND_SHEET => {
                    ensure!(book.tabs.len() < SHEETS_MAX, "it has more than {SHEETS_MAX} sheets");
                    let place = record.u32()? as usize;
                    let hidden = record.u8()? & 3 != 0;
                    let is_sheet = record.u8()? == 0;
                    let len = usize::from(record.u8()?);
                    let name = book.letters.letters(&mut record, len)?;
                    if is_sheet {
                        book.tabs.push(Tab { name, hidden, place });
                    }
                }
                kind::SHARED_TEXTS => {
                    let mut pieces = vec![record.0];
                    while let Some(piece) = records.continued()? {
                        pieces.push(piece);
                    }
                    book.strings = Strings::read(room, |add| read_shared(&pieces, add));
                }
                kind::END => break,
                _ => {}
            }
        }
        Ok(book)
    }

    fn read_sheet(&self, mut records: Records<'_>, builder: &mut SheetBuilder) -> anyhow::Result<()> {
        // A chart in the sheet is a stream of records within its own.
        let mut depth = 0;
        // The cell of a formula whose value is the text that follows.
        let mut formula = None;
        while let Some((kind, mut record)) = records.next()? {
            match kind {
                kind::BEGINNING => depth += 1,
                kind::END if depth <= 1 => return Ok(()),
                kind::END => depth -= 1,
                _ if depth > 1 => {}
                kind::ROW => {
                    let row = u32::from(record.u16()?) + 1;
                    record.take(10)?;
                    if record.u16()? & 0x20 != 0 && row <= GRID_ROWS {
                        builder.hide_row(row);
                    }
                }
                kind::COLUMN_INFO => {
                    let (first, last) = (record.u16()?, record.u16()?);
                    record.take(4)?;
                    if record.u16()? & 1 == 1 {
                        builder.hide_columns(first.into(), last.into());
                    }
                }
                kind::MERGES => {
                    for _ in 0..record.u16()? {
                        let (first_row, last_row) = (u32::from(record.u16()?), u32::from(record.u16()?));
                        let (first_column, last_column) = (record.u16()?, record.u16()?);
                        builder.merge(Merge {
                            first: (first_row + 1, first_column.into()),
                            last: (last_row + 1, last_column.into()),
                        })?;
                    }
                }
                kind::MULTIPLE_SHORT_NUMBERS => {
                    let (row, mut column) = (record.u16()?, record.u16()?);
                    // After the numbers comes the last column.
                    while record.0.len() >= 6 {
                        let style = self.style(record.u16()?);
                        let cell = self.number(record.short_number()?, style);
                        put(builder, (row, column), cell, style)?;
                        column = column.saturating_add(1);
                    }
                }
                kind::FORMULA_TEXT => {
                    if let Some((place, style)) = formula.take() {
                        put(builder, place, self.letters.cell(&mut record), style)?;
                    }
                }
                kind::FORMULA
                | kind::RICH_TEXT
                | kind::SHARED_TEXT
                | kind::NUMBER
                | kind::TEXT
                | kind::TRUTH_OR_ERROR
                | kind::SHORT_NUMBER => {
                    let place = (record.u16()?, record.u16()?);
                    let style = self.style(record.u16()?);
                    let cell = match kind {
                        kind::NUMBER => self.number(record.f64()?, style),
                        kind::SHORT_NUMBER => self.number(record.short_number()?, style),
                        kind::SHARED_TEXT => self.strings.cell(Some(record.u32()? as usize))?,
                        kind::TRUTH_OR_ERROR => {
                            let value = record.u8()?;
                            if record.u8()? == 0 { truth(value) } else { error(value) }
                        }
                        kind::FORMULA => match record.take(8)? {
                            [0, .., 0xff, 0xff] => {
                                formula = Some((place, style));
                                Cell::Empty
                            }
                            [1, _, value, .., 0xff, 0xff] => truth(*value),
                            [2, _, code, .., 0xff, 0xff] => error(*code),
                            [.., 0xff, 0xff] => Cell::Empty,
                            value => self.number(Bytes(value).f64()?, style),
                        },
                        _ => self.letters.cell(&mut record),
                    };
                    put(builder, place, cell, style)?;
                }
                _ => {}
            }
        }
        bail!("it is damaged: its end is missing")
    }

    fn style(&self, number: u16) -> CellStyle {
        self.styles.get(usize::from(number)).copied().unwrap_or_default()
    }

    fn number(&self, number: f64, style: CellStyle) -> Cell {
        if style.is_date { day::cell(number + f64::from(self.day_zero)) } else { Cell::Number(number) }
    }
}

fn put(builder: &mut SheetBuilder, (row, column): (u16, u16), cell: Cell, style: CellStyle) -> anyhow::Result<()> {
    let row = u32::from(row) + 1;
    if builder.put(row, column.into(), cell)? && style.is_coloured {
        builder.colour_row(row);
    }
    Ok(())
}

/// Whether a style has a pattern, and a colour other than white.
fn has_colour(record: &mut Bytes<'_>) -> anyhow::Result<bool> {
    record.take(10)?;
    let pattern = record.u32()? >> 26;
    let colour = record.u16()? & 0x7f;
    Ok(!matches!(pattern, 0 | 17) && !matches!(colour, 1 | 9))
}

impl Letters {
    /// The cell of the text at the end of a record. One that goes on in the next records, as a long
    /// one of a formula does, is not put together: no cell of a list of cases is as long.
    fn cell(self, record: &mut Bytes<'_>) -> Cell {
        self.text(record).map_or_else(|_| Cell::text(DAMAGED), |text| Cell::text(&text))
    }

    /// The next text, with its length in two bytes before it.
    fn text(self, record: &mut Bytes<'_>) -> anyhow::Result<String> {
        let len = usize::from(record.u16()?);
        self.letters(record, len)
    }

    /// The next letters, so many.
    fn letters(self, record: &mut Bytes<'_>, len: usize) -> anyhow::Result<String> {
        if !self.are_marked {
            return Ok(self.code_page.decode_without_bom_handling(record.take(len)?).0.into_owned());
        }
        if record.u8()? & 1 == 1 {
            return Ok(UTF_16LE.decode_without_bom_handling(record.take(len * 2)?).0.into_owned());
        }
        Ok(record.take(len)?.iter().copied().map(char::from).collect())
    }
}

/// Reads the table of shared texts, which goes over several records. A text that goes over the end
/// of one says anew at the beginning of the next how its letters are written.
fn read_shared(pieces: &[&[u8]], add: &mut dyn FnMut(String) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut pieces = Pieces { rest: Bytes(&[]), more: pieces.iter() };
    pieces.skip(4)?;
    let count = pieces.bytes(4)?;
    let count = u32::from_le_bytes([count[0], count[1], count[2], count[3]]);
    for _ in 0..count {
        let len = pieces.bytes(3)?;
        let (mut left, flags) = (usize::from(u16::from_le_bytes([len[0], len[1]])), len[2]);
        let runs = if flags & 8 == 0 { 0 } else { Bytes(&pieces.bytes(2)?).u16()? };
        let aids = if flags & 4 == 0 { 0 } else { Bytes(&pieces.bytes(4)?).u32()? };
        let mut units = Vec::with_capacity(left);
        let mut is_wide = flags & 1 == 1;
        while left > 0 {
            if pieces.rest.0.is_empty() {
                pieces.next()?;
                is_wide = pieces.rest.u8()? & 1 == 1;
            }
            let width = 1 + usize::from(is_wide);
            let here = left.min(pieces.rest.0.len() / width);
            ensure!(here > 0, "it is damaged: a letter is cut in two");
            for letter in pieces.rest.take(here * width)?.chunks(width) {
                units.push(u16::from_le_bytes([letter[0], letter.get(1).copied().unwrap_or_default()]));
            }
            left -= here;
        }
        pieces.skip(usize::from(runs) * 4)?;
        pieces.skip(aids as usize)?;
        add(String::from_utf16_lossy(&units))?;
    }
    Ok(())
}

/// Bytes that go over several records.
struct Pieces<'a, 'b> {
    rest: Bytes<'a>,
    more: slice::Iter<'b, &'a [u8]>,
}

impl Pieces<'_, '_> {
    fn next(&mut self) -> anyhow::Result<()> {
        self.rest = Bytes(self.more.next().context("it is damaged: its end is missing")?);
        Ok(())
    }

    /// The next few bytes.
    fn bytes(&mut self, len: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            if self.rest.0.is_empty() {
                self.next()?;
            }
            bytes.extend_from_slice(self.rest.take((len - bytes.len()).min(self.rest.0.len()))?);
        }
        Ok(bytes)
    }

    fn skip(&mut self, mut len: usize) -> anyhow::Result<()> {
        while len > 0 {
            if self.rest.0.is_empty() {
                self.next()?;
            }
            len -= self.rest.take(len.min(self.rest.0.len()))?.len();
        }
        Ok(())
    }
}

/// The records of a stream, one at a time.
struct Records<'a>(Bytes<'a>);

impl<'a> Records<'a> {
    /// The next record and its kind; `None` at the end.
    fn next(&mut self) -> anyhow::Result<Option<(u16, Bytes<'a>)>> {
        if self.0.0.len() < 4 {
            return Ok(None);
        }
        let kind = self.0.u16()?;
        let len = self.0.u16()?;
        Ok(Some((kind, Bytes(self.0.take(len.into())?))))
    }

    /// The next record, if it continues the one before it.
    fn continued(&mut self) -> anyhow::Result<Option<&'a [u8]>> {
        let mut ahead = Self(self.0);
        match ahead.next()? {
            Some((kind::CONTINUE, record)) => {
                *self = ahead;
                Ok(Some(record.0))
            }
            _ => Ok(None),
        }
    }
}
