//! Tells from the styles of an `.xlsx` workbook which cells are dates and which have a colour.

use std::{collections::HashMap, io::BufRead};

use quick_xml::events::{BytesStart, Event};

use super::xml::{Xml, attribute};

/// The most styles that are read; a spreadsheet program has 65,490 at most.
pub const STYLES_MAX: usize = 70_000;

/// The style of a cell, as far as it matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CellStyle {
    /// Whether the cell's number is a day, and perhaps a time of it.
    pub is_date: bool,
    /// Whether the cell has a background colour.
    pub is_coloured: bool,
}

/// Reads the styles in the order of their numbers.
///
/// # Errors
/// The part is damaged or beyond the limits.
pub fn read(mut xml: Xml<impl BufRead>) -> anyhow::Result<Vec<CellStyle>> {
    let mut formats = HashMap::<u32, bool>::new();
    let mut fills = Vec::new();
    let mut styles = Vec::new();
    let mut section = "";
    loop {
        match xml.next()? {
            Event::Start(start) => match (start.local_name().as_ref(), section) {
                ("numFmts", _) => section = "formats",
                ("fills", _) => section = "fills",
                ("cellXfs", _) => section = "styles",
                ("cellStyleXfs" | "cellStyles" | "dxfs", _) => section = "",
                ("numFmt", "formats") if formats.len() < STYLES_MAX => {
                    if let Some(id) = number(&start, "numFmtId") {
                        formats.insert(id, is_date_format(&attribute(&start, "formatCode").unwrap_or_default()));
                    }
                }
                ("fill", "fills") if fills.len() < STYLES_MAX => fills.push(false),
                ("patternFill", "fills") => {
                    let solid = attribute(&start, "patternType")
                        .is_some_and(|pattern| !matches!(&*pattern, "none" | "gray125" | ""));
                    set_last(&mut fills, solid);
                }
                ("gradientFill", "fills") => set_last(&mut fills, true),
                ("fgColor", "fills") if is_white(&start) => set_last(&mut fills, false),
                ("xf", "styles") if styles.len() < STYLES_MAX => {
                    let format = number(&start, "numFmtId").unwrap_or_default();
                    let is_date = formats.get(&format).copied().unwrap_or_else(|| is_date_by_number(format));
                    let fill = number(&start, "fillId").unwrap_or_default() as usize;
                    styles.push(CellStyle { is_date, is_coloured: fills.get(fill) == Some(&true) });
                }
                _ => {}
            },
            Event::Eof => return Ok(styles),
            _ => {}
        }
    }
}

fn number(start: &BytesStart<'_>, name: &str) -> Option<u32> {
    attribute(start, name)?.trim().parse().ok()
}

fn set_last(fills: &mut [bool], value: bool) {
    if let Some(last) = fills.last_mut() {
        *last = value;
    }
}

/// Whether the colour is the white of paper: by its parts, or as the first colour of the theme.
fn is_white(start: &BytesStart<'_>) -> bool {
    let rgb = attribute(start, "rgb").unwrap_or_default();
    let untinted = attribute(start, "tint").is_none_or(|tint| tint.parse() == Ok(0.0));
    rgb.to_uppercase().ends_with("FFFFFF")
        || number(start, "theme") == Some(0) && untinted
        || matches!(number(start, "indexed"), Some(1 | 9))
}

/// Whether the format with this number, which every workbook has without saying so, is one of dates
/// (ECMA-376, part 1, 18.8.30). Some differ by language; 27 to 36 and 50 to 58 are dates in all.
pub fn is_date_by_number(format: u32) -> bool {
    matches!(format, 14..=22 | 27..=36 | 45 | 47 | 50..=58)
}

/// Whether a format shows a day or a time of day. One of a duration, such as `[h]:mm`, does not.
/// Only the first of its sections is looked at, which is that of positive numbers.
pub fn is_date_format(format: &str) -> bool {
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // The next letter is shown, or as wide as the space left, or fills the cell.
            '\\' | '_' | '*' => {
                letters.next();
            }
            '"' => {
                letters.by_ref().take_while(|letter| *letter != '"').for_each(drop);
            }
            '[' => {
                let inside: String = letters.by_ref().take_while(|letter| *letter != ']').collect();
                if !inside.is_empty() && inside.chars().all(|letter| "hmsHMS".contains(letter)) {
                    return false;
                }
            }
            ';' => return false,
            letter if "dmyhsDMYHS".contains(letter) => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_of_days_is_told_from_one_of_numbers() {
        for format in ["yyyy-mm-dd", "DD/MM/YY", "[$-809]d mmmm yyyy;@", "m\"M\"d\"D\"", "h:mm AM/PM", "*-yyyy", "\\Yd"]
        {
            assert!(is_date_format(format), "{format}");
        }
        for format in [
            "General",
            "0",
            "#,##0.00",
            "[h]:mm:ss",
            "[Red]0",
            "\"days\" 0",
            "\\Y000",
            "0;d",
            "#,##0_d",
            "0*y",
            "@",
            "",
        ] {
            assert!(!is_date_format(format), "{format}");
        }
    }

    #[test]
    fn a_style_says_whether_a_cell_is_a_date_and_has_a_colour() {
        let xml = "<styleSheet><numFmts><numFmt numFmtId='164' formatCode='dd/mm/yy'/></numFmts>\
            <fills><fill><patternFill patternType='none'/></fill><fill><patternFill patternType='gray125'/></fill>\
            <fill><patternFill patternType='solid'><fgColor rgb='FFFF0000'/></patternFill></fill>\
            <fill><patternFill patternType='solid'><fgColor rgb='FFFFFFFF'/></patternFill></fill></fills>\
            <cellStyleXfs><xf numFmtId='14' fillId='2'/></cellStyleXfs>\
            <cellXfs><xf numFmtId='0'/><xf numFmtId='14'/><xf numFmtId='164' fillId='2'/><xf fillId='3'/>\
            <xf fillId='9'/></cellXfs><dxfs><dxf><fill><patternFill patternType='solid'/></fill></dxf></dxfs>\
            </styleSheet>";
        let styles = read(Xml::new(xml.as_bytes())).expect("styles");
        let found: Vec<_> = styles.iter().map(|style| (style.is_date, style.is_coloured)).collect();
        assert_eq!(found, [(false, false), (true, false), (true, true), (false, false), (false, false)]);
    }
}
