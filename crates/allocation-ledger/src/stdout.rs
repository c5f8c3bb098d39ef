//! Standard output of a tool. A reader that has read enough, as `head` does, is no failure.

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Prints a line on standard output.
///
/// # Errors
/// The line cannot be written, other than because the reader has gone.
pub fn print_line(line: &str) -> anyhow::Result<()> {
    ignore_broken_pipe(writeln!(io::stdout().lock(), "{line}"))
}

/// The outcome of writing to standard output; a reader that has gone is no error.
///
/// # Errors
/// As [`print_line`].
pub fn ignore_broken_pipe(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("write to standard output"),
    }
}
