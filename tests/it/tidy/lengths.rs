//! The length of lines and files, and the modules that files belong to.

use super::sources;

/// Comments and prose end at this column; code may go on to 120.
const PROSE_COLUMNS_MAX: usize = 100;

/// Made from the comments in the schemas, each of which is one line.
const GENERATED_DOCUMENT: &str = "docs/data-dictionary.md";

/// A reader must be able to hold a file in mind.
const FILE_LINES_MAX: usize = 500;

#[test]
fn comments_and_prose_end_at_column_100() {
    let mut long = Vec::new();
    for file in sources::rust_files() {
        for (number, line) in (1..).zip(file.text.lines()) {
            let is_prose =
                sources::comment_of(line).is_some_and(|comment| comment.is_whole_line && !is_fixed(comment.text));
            if is_prose && is_long(line) {
                long.push(format!("{}:{number}", file.path));
            }
        }
    }
    for file in sources::documents().iter().filter(|file| file.path != GENERATED_DOCUMENT) {
        let mut is_in_code = false;
        for (number, line) in (1..).zip(file.text.lines()) {
            is_in_code ^= line.trim_start().starts_with("```");
            if !is_in_code && !line.trim_start().starts_with('|') && is_long(line) {
                long.push(format!("{}:{number}", file.path));
            }
        }
    }
    println!("{} long lines:\n{}", long.len(), long.join("\n"));
    assert!(long.is_empty(), "lines of prose beyond column {PROSE_COLUMNS_MAX}; see above");
}

/// True for a line of a table or of code in a comment.
fn is_fixed(text: &str) -> bool {
    text.trim_start().starts_with('|') || text.starts_with("     ")
}

/// True for a line that is too long and could be broken: a single word, such as an address, cannot.
fn is_long(line: &str) -> bool {
    let is_broken_before = line.chars().take(PROSE_COLUMNS_MAX).collect::<String>();
    let text = is_broken_before.trim_start().trim_start_matches(['/', '!', '-', '*', '>', ' ']);
    line.chars().count() > PROSE_COLUMNS_MAX && text.contains(' ')
}

#[test]
fn a_file_has_at_most_500_lines() {
    let mut long = Vec::new();
    for file in sources::rust_files() {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            long.push(format!("{} has {lines} lines", file.path));
        }
    }
    println!("{}", long.join("\n"));
    assert!(long.is_empty(), "files of more than {FILE_LINES_MAX} lines; see above");
}

/// A file that no module declares is not compiled: its tests pass because they never run.
#[test]
fn every_file_is_a_module() {
    let files = sources::rust_files();
    let mut orphans = Vec::new();
    for file in &files {
        let (directory, name) = file.path.rsplit_once('/').expect("a file in a directory");
        if ["lib.rs", "main.rs", "mod.rs", "build.rs"].contains(&name) {
            continue;
        }
        let declaration = format!("mod {};", name.trim_end_matches(".rs"));
        let is_declared = files
            .iter()
            .filter(|other| other.path.rsplit_once('/').is_some_and(|(its, _)| its == directory))
            .chain(files.iter().filter(|other| other.path == format!("{directory}.rs")))
            .any(|other| other.text.lines().any(|line| line.ends_with(&declaration)));
        if !is_declared {
            orphans.push(file.path.as_str());
        }
    }
    assert!(orphans.is_empty(), "no module declares {}", orphans.join(", "));
}
