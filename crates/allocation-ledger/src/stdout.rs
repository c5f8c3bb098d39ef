//! Standard output of a tool. A reader that has read enough, as `head` does, is no failure. On a
//! terminal the characters that it might obey are written out, whatever the tool prints: old events
//! may hold them.

use std::io::{self, IsTerminal as _, Write};

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use domain::text::acts_on_terminal;
use terminal_size::{Width, terminal_size_of};

/// Standard output, for more than a line. Locked, so only one thread may have it.
#[must_use]
pub fn lock() -> io::BufWriter<Box<dyn Write>> {
    let stdout = io::stdout().lock();
    io::BufWriter::with_capacity(
        1 << 16,
        if stdout.is_terminal() { Box::new(TerminalText::new(stdout)) } else { Box::new(stdout) },
    )
}

/// Standard output for a thread of its own.
#[must_use]
pub fn unlocked() -> Box<dyn Write + Send> {
    let stdout = io::stdout();
    if stdout.is_terminal() { Box::new(TerminalText::new(stdout)) } else { Box::new(stdout) }
}

/// Prints a line on standard output.
///
/// # Errors
/// The line cannot be written, other than because the reader has gone.
pub fn print_line(line: &str) -> anyhow::Result<()> {
    let mut stdout = lock();
    ignore_broken_pipe(writeln!(stdout, "{line}").and_then(|()| stdout.flush()))
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

/// An empty table in the style of all tools. On a terminal its cells break their lines at words, so
/// that it is no wider than that; elsewhere it is as wide as its content.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.to_vec());
    if let Some((Width(columns), _)) = terminal_size_of(io::stdout()) {
        table.set_width(columns);
    }
    table
}

/// Writes text to a terminal, with each character that it might obey as `\u009b`. JSON stays the
/// same JSON.
struct TerminalText<W> {
    terminal: W,
    /// The end of what came, which may be the beginning of a character or of a line end.
    pending: Vec<u8>,
}

impl<W: Write> TerminalText<W> {
    fn new(terminal: W) -> Self {
        Self { terminal, pending: Vec::new() }
    }
}

impl<W: Write> Write for TerminalText<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        let mut visible = String::with_capacity(self.pending.len());
        let mut taken = 0;
        for chunk in self.pending.utf8_chunks() {
            let mut characters = chunk.valid().chars().peekable();
            while let Some(c) = characters.next() {
                match (c, characters.peek()) {
                    ('\r', None) if chunk.invalid().is_empty() => break,
                    ('\r', Some('\n')) => visible.push(c),
                    (c, _) if acts_on_terminal(c) => visible.push_str(&format!("\\u{:04x}", u32::from(c))),
                    (c, _) => visible.push(c),
                }
                taken += c.len_utf8();
            }
            let is_begun = taken + chunk.invalid().len() == self.pending.len()
                && str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            if !is_begun && !chunk.invalid().is_empty() {
                visible.push(char::REPLACEMENT_CHARACTER);
                taken += chunk.invalid().len();
            }
        }
        self.pending.drain(..taken);
        self.terminal.write_all(visible.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.terminal.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that a terminal is sent where the bytes come in pieces of this length.
    fn sent(bytes: &[u8], piece: usize) -> String {
        let mut text = TerminalText::new(Vec::new());
        bytes.chunks(piece).for_each(|piece| text.write_all(piece).expect("memory"));
        String::from_utf8(text.terminal).expect("UTF-8")
    }

    #[test]
    fn json_on_a_terminal_is_the_same_json_and_harmless() {
        let value = serde_json::json!({"reason": "a\u{9b}2J\u{7f}\u{202e}é\u{2069}€𝄞\u{1b}\n\r\t\0"});
        let line = format!("{value}\n");
        for piece in 1..line.len() {
            let sent = sent(line.as_bytes(), piece);
            assert!(!sent.chars().any(acts_on_terminal), "{sent:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&sent).expect("JSON"), value, "{piece}");
        }
    }

    #[test]
    fn a_carriage_return_is_kept_only_before_a_line_feed() {
        for piece in 1..6 {
            assert_eq!(sent(b"a\r\nb\rc\n", piece), "a\r\nb\\u000dc\n", "{piece}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        for piece in 1..6 {
            assert_eq!(sent(b"a\xffb\xe2\x82c\n", piece), "a\u{fffd}b\u{fffd}c\n", "{piece}");
        }
    }
}
