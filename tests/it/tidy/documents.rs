//! The files and items that documents name.

use std::fs;

use fancy_regex::Regex;

use super::sources;

/// A path of the repository in backticks.
const PATH: &str = r"`((?:crates|tests|docs|deploy|docker|\.ci|\.github)/[\w./-]+|justfile|Dockerfile|[\w-]+\.toml)`";

/// A row of a walk: a file, the items to look for in it, and the step.
const WALK_ROW: &str = r"(?m)^\| `(crates/[\w./-]+\.rs)` \| ((?:`[\w:]+`(?:, )?)+) \|";

fn captured<'t>(regex: &str, text: &'t str, group: usize) -> Vec<&'t str> {
    let regex = Regex::new(regex).expect("a regular expression");
    let found = regex.captures_iter(text).map(|found| found.expect("a pattern that ends"));
    found.filter_map(|found| found.get(group).map(|part| part.as_str())).collect()
}

#[test]
fn every_path_in_a_document_exists() {
    let mut missing = Vec::new();
    for document in sources::documents() {
        for path in captured(PATH, &document.text, 1) {
            if !sources::root().join(path).exists() {
                missing.push(format!("{} names {path}", document.path));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_item_of_a_walk_is_in_its_file() {
    let walks = fs::read_to_string(sources::root().join("docs/how-it-works.md")).expect("the document");
    let files = captured(WALK_ROW, &walks, 1);
    assert!(files.len() > 30, "only {} rows of walks were found", files.len());
    let mut missing = Vec::new();
    for (path, items) in files.into_iter().zip(captured(WALK_ROW, &walks, 2)) {
        let source = fs::read_to_string(sources::root().join(path)).unwrap_or_default();
        for item in items.split(['`', ',', ' ', ':']).filter(|item| !item.is_empty()) {
            let is_defined =
                Regex::new(&format!(r"\b(fn|struct|enum|trait|const|impl) {item}\b|^\s*{item} in \w+, key"));
            let is_defined = is_defined.expect("a regular expression");
            if !source.lines().any(|line| is_defined.is_match(line).expect("a pattern that ends")) {
                missing.push(format!("{path} has no {item}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
