//! Files that an import reads: workbooks of all formats, and text. Their first bytes decide which.
#![no_main]

use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use spreadsheets::reader;
use tempfile::NamedTempFile;

fuzz_target!(|bytes: &[u8]| {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("write the file");
    let _ = reader::read(file.path());
});
