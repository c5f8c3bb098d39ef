//! The English of comments and documents, counted: see `docs/writing.md`.
//!
//! The counter finds patterns that good technical prose seldom has. It detects smoke; it is no
//! style. A sentence that reads well and trips it belongs in [`EXCEPTIONS`], with the reason.

use fancy_regex::Regex;

use super::sources::{self, Paragraph, SourceFile};

/// A pattern and how often it may occur.
struct Pattern {
    name: &'static str,
    regex: &'static str,
    /// Occurrences per 10,000 words.
    target: f64,
}

const PATTERNS: [Pattern; 5] = [
    Pattern {
        name: "a sentence that begins with `What` and is no question",
        regex: r"(?:\A[*_(]*|[.!?][)*_]*\s+)What\s+[\w`](?![^.!]*\?)",
        target: 2.0,
    },
    Pattern {
        name: "`who` or `whoever` as a subject without a noun",
        regex: r"(?ix) \b whoever \s+ \w+
            | (?: \A\W* | [.!?:;] [)*_]* \s+ | \b (?: about|and|as|but|by|for|from|if|of|or|than|that|to|what|where|while|with ) \s+ )
              who \s+ (?! (?:is|are|was|were|will\s+be)\s+responsible | held\s+which )
              [a-z]+ (?! [^.!]* \?)",
        target: 2.0,
    },
    Pattern {
        name: "`nobody`, `somebody`, `everybody` or `anybody`",
        regex: r"(?i)\b(?:no|some|every|any)body\b",
        target: 2.0,
    },
    Pattern {
        name: "`stand` for `be`",
        regex: r"(?i)\b(?:stands?|stood)\b(?!-|\s+(?:by|for|in\s+for|out|up)\b)",
        target: 1.0,
    },
    Pattern { name: "`of ours` or `of theirs`", regex: r"(?i)\bof\s+(?:ours|theirs)\b", target: 2.0 },
];

/// A sentence that may trip a pattern.
struct Exception {
    path: &'static str,
    /// Some of its words, as they are in one line. Empty for all sentences of the file.
    words: &'static str,
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception { path: "docs/writing.md", words: "", reason: "it shows the patterns by quoting them" },
    Exception {
        path: "docs/data-dictionary.md",
        words: "",
        reason: "it is made from comments in the schemas, and the migrations of the log are frozen",
    },
];

/// An occurrence of a pattern.
struct Occurrence<'a> {
    path: &'a str,
    line: usize,
    sentence: String,
}

fn find_occurrences<'a>(regex: &Regex, file: &'a SourceFile, paragraphs: &[Paragraph]) -> Vec<Occurrence<'a>> {
    let mut occurrences = Vec::new();
    for paragraph in paragraphs {
        for found in regex.find_iter(&paragraph.text) {
            let found = found.expect("a pattern that ends");
            // The match may begin with the end of the sentence before.
            let words = found.as_str().trim_start_matches(|c: char| !c.is_alphanumeric());
            let start = found.end() - words.len();
            let line = paragraph.line + paragraph.text[..start].matches('\n').count();
            let sentence: String = paragraph.text[start..].chars().take(80).collect();
            occurrences.push(Occurrence { path: &file.path, line, sentence: sentence.replace('\n', " ") });
        }
    }
    occurrences.retain(|occurrence| {
        let line = file.text.lines().nth(occurrence.line - 1).unwrap_or_default();
        !EXCEPTIONS.iter().any(|exception| exception.path == occurrence.path && line.contains(exception.words))
    });
    occurrences
}

/// Counts each pattern in files, prints its occurrences, and fails where it occurs too often.
#[track_caller]
fn check(kind: &str, files: &[SourceFile], paragraphs_of: fn(&str) -> Vec<Paragraph>) {
    let paragraphs: Vec<_> = files.iter().map(|file| paragraphs_of(&file.text)).collect();
    let words = paragraphs.iter().flatten().flat_map(|paragraph| paragraph.text.split_whitespace());
    let words = words.filter(|word| word.contains(char::is_alphabetic)).count();
    let mut too_frequent = Vec::new();
    for Pattern { name, regex, target } in PATTERNS {
        let regex = Regex::new(regex).expect("a regular expression");
        let occurrences: Vec<_> = files
            .iter()
            .zip(&paragraphs)
            .flat_map(|(file, paragraphs)| find_occurrences(&regex, file, paragraphs))
            .collect();
        let rate = occurrences.len() as f64 * 10_000.0 / words as f64;
        println!("{kind}: {name}: {} in {words} words, {rate:.1} per 10,000 (target {target})", occurrences.len());
        for Occurrence { path, line, sentence } in &occurrences {
            println!("  {path}:{line}: {sentence}");
        }
        if rate > target {
            too_frequent.push(format!("{name}: {rate:.1} per 10,000 words of {kind}, at most {target}"));
        }
    }
    assert!(too_frequent.is_empty(), "{}; the occurrences are above", too_frequent.join("\n"));
}

#[test]
fn comments_are_written_as_the_writing_guide_asks() {
    check("comments", &sources::rust_files(), sources::comments);
}

#[test]
fn documents_are_written_as_the_writing_guide_asks() {
    check("documents", &sources::documents(), sources::markdown);
}

#[test]
fn every_exception_is_still_needed() {
    let files: Vec<_> = sources::rust_files().into_iter().chain(sources::documents()).collect();
    for Exception { path, words, reason } in EXCEPTIONS {
        assert!(!reason.is_empty(), "{path}: `{words}` is an exception without a reason");
        let file = files.iter().find(|file| file.path == *path);
        assert!(file.is_some_and(|file| file.text.contains(words)), "{path} does not have `{words}` any more");
    }
}

#[test]
fn each_pattern_is_found_where_it_is_and_not_elsewhere() {
    let count =
        |text: &str| PATTERNS.map(|pattern| Regex::new(pattern.regex).expect("a regex").find_iter(text).count());
    for (text, expected) in [
        ("What is left is read. What a reader\nsees.", [2, 0, 0, 0, 0]),
        ("What is a view? It says what it is.", [0, 0, 0, 0, 0]),
        ("Who waits is told, by whoever ends.", [0, 2, 0, 0, 0]),
        ("A caller who waits. It says who was responsible, and who was responsible then.", [0, 0, 0, 0, 0]),
        ("Nobody asks somebody.", [0, 0, 2, 0, 0]),
        ("It stands in the log; the stand-in stands in for a server.", [0, 0, 0, 1, 0]),
        ("A lock of ours, and a word of theirs.", [0, 0, 0, 0, 2]),
    ] {
        assert_eq!(count(text), expected, "{text}");
    }
}
