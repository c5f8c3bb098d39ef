//! What a tool prints. Whoever reads it may have read enough, as `head` does: that is no failure.

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Prints a line on standard output.
///
/// # Errors
/// It cannot be written, other than because nobody reads any more.
pub fn print_line(line: &str) -> anyhow::Result<()> {
    unless_nobody_reads(writeln!(io::stdout().lock(), "{line}"))
}

/// The outcome of writing to standard output, if that matters.
///
/// # Errors
/// As [`print_line`].
pub fn unless_nobody_reads(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("write to standard output"),
    }
}
