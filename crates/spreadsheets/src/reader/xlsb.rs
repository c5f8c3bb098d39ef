//! Reads `.xlsb` workbooks ([MS-XLSB]), record by record. Damage in one place is damage there
//! alone, as in `.xlsx`.

use std::{collections::HashMap, io::Read};

use anyhow::{Context as _, bail, ensure};

use super::{
    archive::Archive,
    binary::{Bytes, error, truth},
    builder::{GRID_ROWS, Merge, Room, SHEETS_MAX, SheetBuilder, Tab, sheets_of},
    day,
    sheet::{Cell, DAY_ZERO_OF_1904, Sheet},
    strings::Strings,
    styles::{CellStyle, STYLES_MAX, is_date_by_number, is_date_format},
    xlsx::placed,
    xml::{PART_MAX, PIECE_MAX},
};

/// The part that lists the sheets.
pub const WORKBOOK: &str = "xl/workbook.bin";

/// Reads the sheets in the order of their tabs.
///
/// # Errors
/// The list of the sheets is damaged.
pub fn sheets(archive: &mut Archive<'_>) -> anyhow::Result<Vec<Sheet>> {
    let (tabs, day_zero) = list(archive).context("find the sheets of the workbook: is it damaged?")?;
    let relationships = archive.relationships(WORKBOOK).context("find the sheets of the workbook: is it damaged?")?;
    let target = |kind: &str| {
        relationships.iter().find(|relationship| relationship.kind == kind).map(|found| found.target.clone())
    };
    let mut room = Room::FILE;
    let strings = match target("sharedStrings") {
        Some(part) if archive.has(&part) => Strings::read(&mut room, |add| {
            let mut records = Records::new(archive.bytes(&part)?);
            while let Some((kind, mut record)) = records.next()? {
                if kind == 0x13 {
                    record.u8()?;
                    add(record.wide_text()?)?;
                }
            }
            Ok(())
        }),
        _ => Strings::default(),
    };
    // Without styles, a date is its day number, as which it is read, too.
    let styles = target("styles").and_then(|part| styles(archive, &part).ok()).unwrap_or_default();
    Ok(sheets_of(placed(tabs, &relationships), room, day_zero, |part, builder| {
        let part = part.context("the workbook does not have it: is it damaged?")?;
        let mut records = Records::new(archive.bytes(&part)?);
        read_sheet(&mut records, &strings, &styles, day_zero, builder)
    }))
}

fn list(archive: &mut Archive<'_>) -> anyhow::Result<(Vec<Tab<String>>, u32)> {
    let mut records = Records::new(archive.bytes(WORKBOOK)?);
    let (mut tabs, mut day_zero) = (Vec::new(), 0);
    while let Some((kind, mut record)) = records.next()? {
        match kind {
            0x99 if record.u32()? & 1 == 1 => day_zero = DAY_ZERO_OF_1904,
            0x9c => {
                ensure!(tabs.len() < SHEETS_MAX, "it has more than {SHEETS_MAX} sheets");
                let hidden = record.u32()? != 0;
                record.u32()?;
                let place = record.wide_text()?;
                tabs.push(Tab { name: record.wide_text()?, hidden, place });
            }
            _ => {}
        }
    }
    Ok((tabs, day_zero))
}

fn styles(archive: &mut Archive<'_>, part: &str) -> anyhow::Result<Vec<CellStyle>> {
    let mut records = Records::new(archive.bytes(part)?);
    let mut formats = HashMap::new();
    let (mut fills, mut styles) = (Vec::new(), Vec::new());
    let (mut in_fills, mut in_styles) = (false, false);
    while let Some((kind, mut record)) = records.next()? {
        match kind {
            0x25b | 0x25c => in_fills = kind == 0x25b,
            0x269 | 0x26a => in_styles = kind == 0x269,
            0x2c if formats.len() < STYLES_MAX => {
                let id = record.u16()?;
                formats.insert(id, is_date_format(&record.wide_text()?));
            }
            0x2d if in_fills && fills.len() < STYLES_MAX => fills.push(has_colour(&mut record)?),
            0x2f if in_styles && styles.len() < STYLES_MAX => {
                record.u16()?;
                let format = record.u16()?;
                record.u16()?;
                let fill = usize::from(record.u16()?);
                let is_date = formats.get(&format).copied().unwrap_or_else(|| is_date_by_number(format.into()));
                styles.push(CellStyle { is_date, is_coloured: fills.get(fill) == Some(&true) });
            }
            _ => {}
        }
    }
    Ok(styles)
}

/// Whether a fill has a pattern, and a colour other than the white of paper.
fn has_colour(record: &mut Bytes<'_>) -> anyhow::Result<bool> {
    let pattern = record.u32()?;
    let kind = record.u8()? >> 1;
    let index = record.u8()?;
    let tint = record.u16()?;
    let rgb = record.take(3)?;
    let white = match kind {
        1 => matches!(index, 1 | 9),
        2 => rgb == [0xff; 3],
        3 => index == 0 && tint == 0,
        _ => false,
    };
    Ok(!matches!(pattern, 0 | 17) && !white)
}

fn read_sheet(
    records: &mut Records<impl Read>,
    strings: &Strings,
    styles: &[CellStyle],
    day_zero: u32,
    builder: &mut SheetBuilder,
) -> anyhow::Result<()> {
    let mut row = 0_u32;
    let (mut in_data, mut is_whole) = (false, false);
    while let Some((kind, mut record)) = records.next()? {
        match kind {
            0x91 => in_data = true,
            0x92 => (in_data, is_whole) = (false, true),
            0x00 if in_data => {
                row = record.u32()?.saturating_add(1);
                let flags = record.take(8)?[7];
                if flags & 0x10 != 0 && row <= GRID_ROWS {
                    builder.hide_row(row);
                }
            }
            0x02..=0x0b | 0x3e if in_data => {
                let column = record.u32()? as usize;
                let style = styles.get((record.u32()? & 0x00ff_ffff) as usize).copied().unwrap_or_default();
                let number = |number: f64| {
                    if style.is_date { day::cell(number + f64::from(day_zero)) } else { Cell::Number(number) }
                };
                let cell = match kind {
                    0x02 => number(record.short_number()?),
                    0x03 | 0x0b => error(record.u8()?),
                    0x04 | 0x0a => truth(record.u8()?),
                    0x05 | 0x09 => number(record.f64()?),
                    0x07 => strings.cell(Some(record.u32()? as usize))?,
                    0x3e => {
                        record.u8()?;
                        Cell::text(&record.wide_text()?)
                    }
                    _ => Cell::text(&record.wide_text()?),
                };
                if builder.put(row, column, cell)? && style.is_coloured {
                    builder.colour_row(row);
                }
            }
            0x3c => {
                let (first, last) = (record.u32()? as usize, record.u32()? as usize);
                record.take(8)?;
                if record.u16()? & 1 == 1 {
                    builder.hide_columns(first, last);
                }
            }
            0xb0 => {
                let (first_row, last_row) = (record.u32()?, record.u32()?);
                let (first_column, last_column) = (record.u32()? as usize, record.u32()? as usize);
                builder.merge(Merge {
                    first: (first_row.saturating_add(1), first_column),
                    last: (last_row.saturating_add(1), last_column),
                })?;
            }
            _ => {}
        }
    }
    ensure!(is_whole, "it is damaged: its end is missing");
    Ok(())
}

/// The records of a part, one at a time, within limits.
struct Records<R> {
    source: R,
    left: usize,
    buffer: Vec<u8>,
}

impl<R: Read> Records<R> {
    fn new(source: R) -> Self {
        Self { source, left: PART_MAX, buffer: Vec::new() }
    }

    /// The next record and its kind; `None` at the end.
    fn next(&mut self) -> anyhow::Result<Option<(u32, Bytes<'_>)>> {
        let Some(first) = self.byte()? else { return Ok(None) };
        let mut kind = u32::from(first & 0x7f);
        if first & 0x80 != 0 {
            kind |= u32::from(self.byte()?.context("it is damaged: its end is missing")? & 0x7f) << 7;
        }
        let mut len = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?.context("it is damaged: its end is missing")?;
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if len > PIECE_MAX {
            bail!("a text in it has more than {} MiB", PIECE_MAX >> 20);
        }
        self.take(len)?;
        self.buffer.resize(len, 0);
        self.source.read_exact(&mut self.buffer).context("it is damaged: its end is missing")?;
        Ok(Some((kind, Bytes(&self.buffer))))
    }

    fn byte(&mut self) -> anyhow::Result<Option<u8>> {
        self.take(1)?;
        let mut byte = [0];
        let read = self.source.read(&mut byte).context("it is damaged")?;
        Ok((read == 1).then_some(byte[0]))
    }

    fn take(&mut self, len: usize) -> anyhow::Result<()> {
        ensure!(len <= self.left, "it has more than {} MiB", PART_MAX >> 20);
        self.left -= len;
        Ok(())
    }
}
