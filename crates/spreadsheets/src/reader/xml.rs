//! Reads XML event by event, within limits: a part of an archive may be a thousand times as large
//! as the archive.

use std::{
    borrow::Cow,
    io::{self, BufRead, Read},
};

use anyhow::{Context as _, bail, ensure};
use quick_xml::{
    Reader,
    escape::{resolve_predefined_entity, unescape},
    events::{BytesRef, BytesStart, Event},
};

/// The longest piece of text, tag or comment in bytes. The text of a cell has 32,767 characters at
/// most.
pub const PIECE_MAX: usize = 1 << 20;

/// The most bytes of a part, decompressed: far more than the limits of cells and rows let through,
/// so this is for parts without any.
pub const PART_MAX: usize = 256 << 20;

/// A part of a workbook, read from its beginning to its end.
pub struct Xml<R> {
    reader: Reader<Bounded<R>>,
    buffer: Vec<u8>,
}

impl<R: BufRead> Xml<R> {
    /// A part that begins here.
    pub fn new(source: R) -> Self {
        let mut reader =
            Reader::from_reader(Bounded { source, piece_left: PIECE_MAX, part_left: PART_MAX, exceeded: None });
        let config = reader.config_mut();
        config.check_end_names = false;
        config.expand_empty_elements = true;
        config.allow_dangling_amp = true;
        Self { reader, buffer: Vec::new() }
    }

    /// The next event.
    ///
    /// # Errors
    /// The part is damaged or beyond the limits.
    pub fn next(&mut self) -> anyhow::Result<Event<'_>> {
        self.buffer.clear();
        self.reader.get_mut().piece_left = PIECE_MAX;
        let event = match self.reader.read_event_into(&mut self.buffer) {
            Ok(event) => event,
            Err(error) => match self.reader.get_mut().exceeded {
                Some(reason) => bail!("{reason}"),
                None => return Err(error).context("it is damaged"),
            },
        };
        // A file's own entities could make a little text a lot. No spreadsheet program writes any.
        ensure!(!matches!(event, Event::DocType(_)), "it has a document type, which no spreadsheet has");
        Ok(event)
    }

    /// The text of the element that has just begun, up to its end.
    ///
    /// # Errors
    /// As [`Xml::next`].
    pub fn content(&mut self) -> anyhow::Result<String> {
        self.text(|_| true, |_| false)
    }

    /// The text of the element that has just begun, up to its end: that of the elements which
    /// `is_text` names, without that of the elements which `is_other` names.
    ///
    /// # Errors
    /// As [`Xml::next`].
    pub fn text(&mut self, is_text: impl Fn(&str) -> bool, is_other: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        // The depth of the outermost element of text, and of the outermost other one. The element
        // itself has no name here, and is one of text where every name is.
        let (mut depth, mut text_from, mut other_from) = (1, is_text("").then_some(0), None);
        let mut text = String::new();
        while depth > 0 {
            match self.next()? {
                Event::Start(start) => {
                    depth += 1;
                    let name = start.local_name();
                    if other_from.is_none() && is_other(name.as_ref()) {
                        other_from = Some(depth);
                    } else if text_from.is_none() && is_text(name.as_ref()) {
                        text_from = Some(depth);
                    }
                }
                Event::End(_) => {
                    text_from = text_from.filter(|from| *from != depth);
                    other_from = other_from.filter(|from| *from != depth);
                    depth -= 1;
                }
                Event::Eof => bail!("it is damaged: its end is missing"),
                event if text_from.is_some() && other_from.is_none() => push_text(&event, &mut text),
                _ => {}
            }
            ensure!(text.len() <= PIECE_MAX, "a text in it has more than {} MiB", PIECE_MAX >> 20);
        }
        Ok(text)
    }
}

/// Appends the text of a piece of text; of any other event there is none.
pub fn push_text(event: &Event<'_>, text: &mut String) {
    match event {
        Event::Text(piece) => text.push_str(&piece.xml10_content()),
        Event::CData(piece) => text.push_str(&piece.xml10_content()),
        Event::GeneralRef(reference) => push_reference(reference, text),
        _ => {}
    }
}

/// Appends the character that a reference such as `&amp;` or `&#27;` stands for. One that stands
/// for nothing is kept as written; the character 0 is kept, since the rules for text name it.
fn push_reference(reference: &BytesRef<'_>, text: &mut String) {
    let name: &str = reference;
    if let Some(known) = resolve_predefined_entity(name) {
        text.push_str(known);
    } else {
        match reference.resolve_char_ref() {
            Ok(Some(letter)) => text.push(letter),
            Ok(None) => {
                text.push('&');
                text.push_str(name);
                text.push(';');
            }
            Err(_) => text.push('\0'),
        }
    }
}

/// The value of an attribute, by its name without a prefix.
pub fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = start.attributes();
    attributes.with_checks(false);
    attributes.flatten().find(|attribute| attribute.key.local_name().as_ref() == name).map(|attribute| {
        let raw = attribute.value.into_owned();
        unescape(&raw).map(Cow::into_owned).unwrap_or(raw)
    })
}

/// Whether an attribute says yes, in the words of XML.
pub fn is_set(start: &BytesStart<'_>, name: &str) -> bool {
    attribute(start, name).is_some_and(|value| matches!(value.trim(), "1" | "true" | "on"))
}

/// A source that ends with an error where one piece, or all of it, is too long.
struct Bounded<R> {
    source: R,
    piece_left: usize,
    part_left: usize,
    /// The limit that was broken.
    exceeded: Option<&'static str>,
}

impl<R> Bounded<R> {
    fn end<T>(&mut self, reason: &'static str) -> io::Result<T> {
        self.exceeded = Some(reason);
        Err(io::Error::other(reason))
    }
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece_left == 0 {
            return self.end("a text in it has more than 1 MiB");
        }
        if self.part_left == 0 {
            return self.end("it has more than 256 MiB");
        }
        let filled = self.source.fill_buf()?;
        Ok(&filled[..filled.len().min(self.piece_left).min(self.part_left)])
    }

    fn consume(&mut self, len: usize) {
        self.piece_left = self.piece_left.saturating_sub(len);
        self.part_left = self.part_left.saturating_sub(len);
        self.source.consume(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(xml: &str) -> anyhow::Result<String> {
        let mut xml = Xml::new(xml.as_bytes());
        while !matches!(xml.next()?, Event::Start(_)) {}
        xml.text(|name| name == "t", |name| name == "rPh")
    }

    #[test]
    fn the_text_of_an_element_is_that_of_its_parts() {
        for (xml, expected) in [
            ("<si><t>a</t></si>", "a"),
            ("<si><r><rPr><b/></rPr><t>a &amp; </t></r><r><t xml:space=\"preserve\"> b</t></r></si>", "a &  b"),
            ("<si><t>東</t><rPh sb=\"0\"><t>ひがし</t></rPh><t>京</t></si>", "東京"),
            ("<si><t><![CDATA[<a>]]>&#233;&#x1b;&#0;&odd; R&D</t></si>", "<a>é\u{1b}\0&odd; R&D"),
            ("<si/>", ""),
        ] {
            assert_eq!(text_of(xml).expect(xml), expected);
        }
    }

    #[test]
    fn a_part_that_is_damaged_or_too_large_ends_with_the_reason() {
        let check = |xml: &str, reason: &str| {
            let wrong = format!("{:#}", text_of(xml).expect_err(reason));
            assert!(wrong.contains(reason) && !wrong.contains("damaged: a"), "{wrong}");
        };
        check("<si><t>a</t>", "its end is missing");
        check("<!DOCTYPE a [<!ENTITY a \"aaaa\">]><si><t>&a;</t></si>", "document type");
        let blanks = " ".repeat(2 << 20);
        check(&format!("<si><t>{blanks}</t></si>"), "more than 1 MiB");
        check(&format!("<si>{blanks}<t/></si>"), "more than 1 MiB");
        check(&format!("<si><t a=\"{blanks}\"/></si>"), "more than 1 MiB");
        check(&format!("<si><t>{}</t></si>", "&amp;".repeat(2 << 20)), "more than 1 MiB");
    }
}
