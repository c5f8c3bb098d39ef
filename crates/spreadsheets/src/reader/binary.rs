//! Reads the numbers, texts and errors that `.xls` and `.xlsb` workbooks hold in bytes.

use anyhow::Context as _;
use encoding_rs::UTF_16LE;

use super::sheet::Cell;

/// Bytes that are read from their beginning.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn take(&mut self, len: usize) -> anyhow::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).context("it is damaged: a record is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// There is none.
    pub fn u8(&mut self) -> anyhow::Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// The next two bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u16(&mut self) -> anyhow::Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// The next four bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn u32(&mut self) -> anyhow::Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The next eight bytes, a number.
    ///
    /// # Errors
    /// There are fewer.
    pub fn f64(&mut self) -> anyhow::Result<f64> {
        let (low, high) = (self.u32()?, self.u32()?);
        Ok(f64::from_bits(u64::from(high) << 32 | u64::from(low)))
    }

    /// The next four bytes, a number in short: an integer or the upper half of a number, and
    /// whether it is of hundredths.
    ///
    /// # Errors
    /// There are fewer.
    pub fn short_number(&mut self) -> anyhow::Result<f64> {
        let bits = self.u32()?;
        let number =
            if bits & 2 == 0 { f64::from_bits(u64::from(bits & !3) << 32) } else { f64::from(bits.cast_signed() >> 2) };
        Ok(if bits & 1 == 0 { number } else { number / 100.0 })
    }

    /// The next text of a `.xlsb` workbook: its length in four bytes, and its letters in UTF-16.
    ///
    /// # Errors
    /// There are fewer letters.
    pub fn wide_text(&mut self) -> anyhow::Result<String> {
        let len = self.u32()?;
        // The word for no text.
        if len == u32::MAX {
            return Ok(String::new());
        }
        let bytes = self.take((len as usize).saturating_mul(2))?;
        Ok(UTF_16LE.decode_without_bom_handling(bytes).0.into_owned())
    }
}

/// The cell of a truth value.
pub fn truth(byte: u8) -> Cell {
    Cell::text(if byte == 0 { "FALSE" } else { "TRUE" })
}

/// The cell of an error. Newer programs have codes that older ones do not know.
pub fn error(code: u8) -> Cell {
    Cell::text(match code {
        0x00 => "#NULL!",
        0x07 => "#DIV/0!",
        0x0f => "#VALUE!",
        0x17 => "#REF!",
        0x1d => "#NAME?",
        0x24 => "#NUM!",
        0x2a => "#N/A",
        _ => "#ERROR!",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_short_is_read_as_the_number() {
        for (bits, number) in [
            ((485_926_i32 << 2 | 2).cast_unsigned(), 485_926.0),
            ((-7_i32 << 2 | 2).cast_unsigned(), -7.0),
            ((12_345_i32 << 2 | 3).cast_unsigned(), 123.45),
            ((43_647.0_f64.to_bits() >> 32) as u32, 43_647.0),
        ] {
            assert_eq!(Bytes(&bits.to_le_bytes()).short_number().expect("a number"), number);
        }
        assert!(Bytes(&[1, 2, 3]).short_number().is_err());
    }

    #[test]
    fn a_text_may_not_be_longer_than_its_record() {
        assert_eq!(Bytes(b"\x02\0\0\0Z\0\xeb\0").wide_text().expect("a text"), "Zë");
        assert_eq!(Bytes(b"\xff\xff\xff\xff").wide_text().expect("no text"), "");
        assert!(Bytes(b"\xff\xff\xff\x7fZ\0").wide_text().is_err());
    }
}
