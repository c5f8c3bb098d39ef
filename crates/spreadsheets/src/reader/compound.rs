//! Opens the compound file that an `.xls` workbook is ([MS-CFB]): a small file system of chained
//! sectors.

use std::iter;

use anyhow::{Context as _, bail, ensure};

use super::binary::Bytes;

/// The bytes at the beginning of a compound file.
pub const SIGNATURE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// From this number on, a sector is none.
const SECTORS_MAX: u32 = 0xffff_fffa;

/// A chain of sectors in a file.
const BROKEN: &str = "it is damaged: a chain of sectors is broken";

/// A compound file with the names of its streams.
pub struct CompoundFile<'a> {
    bytes: &'a [u8],
    sector_len: usize,
    /// The sector after each.
    next: Vec<u32>,
    mini_cutoff: u64,
    mini_next: Vec<u32>,
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    start: u32,
    len: u64,
}

impl<'a> CompoundFile<'a> {
    /// Opens a compound file.
    ///
    /// # Errors
    /// It is damaged.
    pub fn open(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let mut header = Bytes(bytes);
        header.take(30)?;
        let shift = header.u16()?;
        ensure!(matches!(shift, 9 | 12), "it is damaged: its sectors have no known length");
        header.take(16)?;
        let directory = header.u32()?;
        header.take(4)?;
        let mini_cutoff = u64::from(header.u32()?);
        let mini_table = header.u32()?;
        header.take(4)?;
        let mut more_tables = header.u32()?;
        header.take(4)?;
        let mut tables: Vec<u32> = iter::repeat_with(|| header.u32()).take(109).collect::<anyhow::Result<_>>()?;
        let sector_len = 1_usize << shift;
        let mut file =
            Self { bytes, sector_len, next: Vec::new(), mini_cutoff, mini_next: Vec::new(), entries: Vec::new() };
        // The list of tables goes on in sectors of its own. A list longer than the file is a loop.
        let sectors = bytes.len() / sector_len;
        for _ in 0..sectors {
            if more_tables >= SECTORS_MAX {
                break;
            }
            let mut sector = Bytes(file.sector(more_tables)?);
            for _ in 0..sector_len / 4 - 1 {
                tables.push(sector.u32()?);
            }
            more_tables = sector.u32()?;
        }
        for table in tables.into_iter().filter(|table| *table < SECTORS_MAX).take(sectors) {
            let numbers = numbers(file.sector(table)?);
            file.next.extend(numbers);
        }
        file.mini_next = numbers(&file.chain(mini_table, u64::MAX)?).collect();
        let directory = file.chain(directory, u64::MAX)?;
        for entry in directory.as_chunks::<128>().0 {
            let mut entry = Bytes(entry);
            let (units, _) = entry.take(64)?.as_chunks::<2>();
            let units: Vec<u16> =
                units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0).collect();
            entry.take(52)?;
            let start = entry.u32()?;
            // The upper half of the length is not used: old programs leave anything there.
            let len = u64::from(entry.u32()?);
            file.entries.push(Entry { name: String::from_utf16_lossy(&units), start, len });
        }
        Ok(file)
    }

    /// Whether there is a stream of this name.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    /// The bytes of a stream.
    ///
    /// # Errors
    /// There is none of this name, or its chain is broken.
    pub fn stream(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let entry = self.entries.iter().find(|entry| entry.name == name).context("it holds no workbook")?;
        if entry.len >= self.mini_cutoff {
            return self.chain(entry.start, entry.len);
        }
        // A short stream is in small sectors, which are in the stream of the first entry.
        let root = self.entries.first().context(BROKEN)?;
        let small = self.chain(root.start, root.len)?;
        let mut stream = Vec::new();
        let mut sector = entry.start;
        while (stream.len() as u64) < entry.len {
            let start = sector as usize * MINI_SECTOR_LEN;
            stream.extend_from_slice(small.get(start..start + MINI_SECTOR_LEN).context(BROKEN)?);
            sector = *self.mini_next.get(sector as usize).context(BROKEN)?;
            ensure!(stream.len() <= small.len(), BROKEN);
        }
        stream.truncate(usize::try_from(entry.len)?);
        Ok(stream)
    }

    /// The bytes of a chain of sectors, up to a length. A file whose last sector is cut off has the
    /// rest of it.
    fn chain(&self, start: u32, len: u64) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut sector = start;
        while sector < SECTORS_MAX && (bytes.len() as u64) < len {
            bytes.extend_from_slice(self.sector(sector)?);
            // A chain longer than the file is a loop.
            ensure!(bytes.len() <= self.bytes.len(), BROKEN);
            sector = *self.next.get(sector as usize).context(BROKEN)?;
        }
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(bytes)
    }

    fn sector(&self, number: u32) -> anyhow::Result<&'a [u8]> {
        let start = (number as usize + 1).checked_mul(self.sector_len).context(BROKEN)?;
        match self.bytes.get(start..) {
            Some(rest) if !rest.is_empty() => Ok(&rest[..rest.len().min(self.sector_len)]),
            _ => bail!(BROKEN),
        }
    }
}

/// The length of a small sector.
const MINI_SECTOR_LEN: usize = 64;

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number))
}
