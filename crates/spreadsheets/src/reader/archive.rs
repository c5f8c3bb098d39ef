//! Opens the zip archive that a workbook is, and finds its parts as spreadsheet programs do:
//! whatever the case of their names, with `/` or `\` between folders.

use std::{
    collections::HashMap,
    io::{BufReader, Cursor},
};

use anyhow::Context as _;
use quick_xml::events::Event;
use zip::{ZipArchive, read::ZipFile, result::ZipError};

use super::xml::{Xml, attribute};

/// An archive with its parts by name.
pub struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    parts: HashMap<String, usize>,
}

/// A part of an archive, to be read from its beginning.
pub type Part<'a, 'b> = BufReader<ZipFile<'a, Cursor<&'b [u8]>>>;

impl<'a> Archive<'a> {
    /// Opens an archive.
    ///
    /// # Errors
    /// It is damaged.
    pub fn open(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .context("open the workbook: is it damaged, or protected by a password?")?;
        let parts = zip.file_names_raw().enumerate().map(|(index, name)| (plain(name), index)).collect();
        Ok(Self { zip, parts })
    }

    /// Whether the archive has a part of this name.
    pub fn has(&self, name: &str) -> bool {
        self.parts.contains_key(&plain(name.as_bytes()))
    }

    /// A part in XML.
    ///
    /// # Errors
    /// There is no such part, or it is damaged.
    pub fn part(&mut self, name: &str) -> anyhow::Result<Xml<Part<'_, 'a>>> {
        self.bytes(name).map(Xml::new)
    }

    /// A part as its bytes.
    ///
    /// # Errors
    /// There is no such part, or it is damaged.
    pub fn bytes(&mut self, name: &str) -> anyhow::Result<Part<'_, 'a>> {
        let index = *self.parts.get(&plain(name.as_bytes())).with_context(|| format!("there is no part `{name}`"))?;
        match self.zip.by_index(index) {
            Ok(part) => Ok(BufReader::new(part)),
            Err(ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED)) => {
                anyhow::bail!("it is protected by a password: take the password off and save it again")
            }
            Err(error) => Err(error).context("it is damaged"),
        }
    }

    /// The relationships of a part, or of the whole archive where the name is empty.
    ///
    /// # Errors
    /// The list of relationships is damaged. An archive need not have one.
    pub fn relationships(&mut self, part: &str) -> anyhow::Result<Vec<Relationship>> {
        let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
        let list = format!("{folder}/_rels/{file}.rels");
        if !self.has(&list) {
            return Ok(Vec::new());
        }
        let mut xml = self.part(&list)?;
        let mut relationships = Vec::new();
        loop {
            match xml.next()? {
                Event::Start(start) if start.local_name().as_ref() == "Relationship" => {
                    let value = |name| attribute(&start, name).unwrap_or_default();
                    let kind = value("Type");
                    relationships.push(Relationship {
                        id: value("Id"),
                        kind: kind.rsplit('/').next().unwrap_or_default().to_owned(),
                        target: resolve(folder, &value("Target")),
                    });
                }
                Event::Eof => return Ok(relationships),
                _ => {}
            }
        }
    }
}

/// A relationship of a part to another.
#[derive(Debug)]
pub struct Relationship {
    /// Its id, unique in the part.
    pub id: String,
    /// The last word of its type, such as `worksheet`.
    pub kind: String,
    /// The name of the other part.
    pub target: String,
}

/// A name as parts are looked up by it.
fn plain(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name).replace('\\', "/").to_lowercase();
    name.trim_start_matches('/').to_owned()
}

/// The name of a target, which is relative to the folder of the part that names it. It names a part
/// of the archive whatever it says: nothing is looked up outside.
fn resolve(folder: &str, target: &str) -> String {
    let target = target.replace('\\', "/");
    let base = if target.starts_with('/') { "" } else { folder };
    let mut names: Vec<&str> = Vec::new();
    for name in base.split('/').chain(target.split('/')) {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_part_of_the_archive_however_it_is_written() {
        for (folder, target, expected) in [
            ("xl", "worksheets/sheet1.xml", "xl/worksheets/sheet1.xml"),
            ("xl", "/xl/worksheets/sheet1.xml", "xl/worksheets/sheet1.xml"),
            ("xl", "..\\xl\\sheet1.xml", "xl/sheet1.xml"),
            ("", "xl/workbook.xml", "xl/workbook.xml"),
            ("xl", "../../../etc/passwd", "etc/passwd"),
        ] {
            assert_eq!(resolve(folder, target), expected);
        }
    }
}
