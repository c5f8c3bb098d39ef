//! The files that the house rules are about, and the prose in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Documents outside `docs/`.
const ROOT_DOCUMENTS: [&str; 3] = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"];

/// A text file of the repository.
pub struct SourceFile {
    /// Relative to the repository's root.
    pub path: String,
    pub text: String,
}

/// A run of prose: a paragraph, an item of a list or a cell of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Paragraph {
    /// The line of its first word, counted from 1.
    pub line: usize,
    /// Its lines without comment marks. The letters of `code` are replaced by `x`.
    pub text: String,
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository's root").to_owned()
}

/// All Rust files, sorted by path.
pub fn rust_files() -> Vec<SourceFile> {
    let mut files = Vec::new();
    collect(&root().join("crates"), "rs", &mut files);
    collect(&root().join("tests"), "rs", &mut files);
    assert!(files.len() > 200, "only {} Rust files were found", files.len());
    files
}

/// All documents, sorted by path.
pub fn documents() -> Vec<SourceFile> {
    let mut files = Vec::new();
    collect(&root().join("docs"), "md", &mut files);
    files.extend(ROOT_DOCUMENTS.iter().map(|name| read(&root().join(name))));
    assert!(files.len() > 10, "only {} documents were found", files.len());
    files
}

fn collect(directory: &Path, extension: &str, files: &mut Vec<SourceFile>) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, extension, files);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(read(&path));
        }
    }
}

fn read(path: &Path) -> SourceFile {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let relative = path.strip_prefix(root()).expect("a path below the root");
    SourceFile { path: relative.to_str().expect("a path in UTF-8").to_owned(), text }
}

/// The comments of a Rust file.
pub fn comments(text: &str) -> Vec<Paragraph> {
    let mut prose = Prose::default();
    for (number, line) in (1..).zip(text.lines()) {
        match comment_of(line) {
            Some(Comment { text, is_whole_line: true }) => prose.push_line(number, text),
            Some(Comment { text, is_whole_line: false }) => {
                prose.end_paragraph();
                prose.push_line(number, text);
                prose.end_paragraph();
            }
            None => prose.end_block(),
        }
    }
    prose.finish()
}

/// The prose of a Markdown document: without headings and blocks of code.
pub fn markdown(text: &str) -> Vec<Paragraph> {
    let mut prose = Prose::default();
    for (number, line) in (1..).zip(text.lines()) {
        prose.push_line(number, line);
    }
    prose.finish()
}

/// The comment of a line of Rust.
pub struct Comment<'a> {
    pub text: &'a str,
    pub is_whole_line: bool,
}

/// The comment of a line of Rust, if it has one. Block comments do not occur in this repository.
pub fn comment_of(line: &str) -> Option<Comment<'_>> {
    if let Some(text) = line.trim_start().strip_prefix("//") {
        let text = text.strip_prefix(['/', '!']).unwrap_or(text);
        return Some(Comment { text, is_whole_line: true });
    }
    let (code, text) = line.split_once(" // ")?;
    // An odd number of quotation marks before it: it is inside a string.
    let is_in_string = code.matches('"').count() % 2 == 1;
    (!is_in_string).then_some(Comment { text, is_whole_line: false })
}

#[derive(Default)]
struct Prose {
    paragraphs: Vec<Paragraph>,
    open: Option<Paragraph>,
    is_in_code: bool,
}

impl Prose {
    fn push_line(&mut self, number: usize, line: &str) {
        let line = line.trim();
        if line.starts_with("```") {
            self.end_paragraph();
            self.is_in_code = !self.is_in_code;
            return;
        }
        if self.is_in_code {
            return;
        }
        if line.is_empty() || line.starts_with('#') {
            self.end_paragraph();
            return;
        }
        if line.starts_with('|') {
            self.end_paragraph();
            for cell in line.split('|').map(str::trim).filter(|cell| !cell.is_empty()) {
                self.paragraphs.push(Paragraph { line: number, text: without_code(cell) });
            }
            return;
        }
        let item = item_text(line);
        if item.is_some() {
            self.end_paragraph();
        }
        let text = without_code(item.unwrap_or(line));
        match &mut self.open {
            Some(open) => {
                open.text.push('\n');
                open.text.push_str(&text);
            }
            None => self.open = Some(Paragraph { line: number, text }),
        }
    }

    fn end_paragraph(&mut self) {
        self.paragraphs.extend(self.open.take());
    }

    /// Ends a run of comment lines, and with it any block of code that was left open.
    fn end_block(&mut self) {
        self.end_paragraph();
        self.is_in_code = false;
    }

    fn finish(mut self) -> Vec<Paragraph> {
        self.end_paragraph();
        self.paragraphs
    }
}

/// The text of an item of a list.
fn item_text(line: &str) -> Option<&str> {
    let bullet = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")).or_else(|| line.strip_prefix("> "));
    bullet.or_else(|| {
        let (number, text) = line.split_once([' '])?;
        let digits = number.strip_suffix('.').or_else(|| number.strip_suffix(')'))?;
        (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
    })
}

/// Replaces what is between backticks, within one line, by as many `x`.
fn without_code(line: &str) -> String {
    let mut is_code = false;
    line.chars()
        .map(|character| match character {
            '`' => {
                is_code = !is_code;
                '`'
            }
            character if is_code && !character.is_whitespace() => 'x',
            character => character,
        })
        .collect()
}

#[test]
fn comments_are_read_as_paragraphs() {
    let text = "//! First.\n//! Goes on.\n//!\n//! - An item\n//!   of two lines\n\nlet a = 1; // Why `b` is.\n\
                let url = \"http://a // b\";\n/// ```\n/// code\n/// ```\n/// After.\n";
    let paragraph = |line, text: &str| Paragraph { line, text: text.to_owned() };
    assert_eq!(
        comments(text),
        [
            paragraph(1, "First.\nGoes on."),
            paragraph(4, "An item\nof two lines"),
            paragraph(7, "Why `x` is."),
            paragraph(12, "After."),
        ]
    );
}
