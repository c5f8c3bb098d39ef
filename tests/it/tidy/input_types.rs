//! The types of what comes in: serde, `clap` and `chrono` read dates and instants by rules of
//! their own, which take more than the ledger can hold.

use super::sources;

/// Where requests, files and arguments are read.
const EDGES: [&str; 5] = [
    "crates/allocation-ledger/src/",
    "crates/command/src/http/",
    "crates/http-api/src/",
    "crates/query/src/",
    "crates/spreadsheets/src/",
];

/// Ways to read a date or an instant that `domain::moment` does not know of.
const LAX_READERS: [&str; 6] = [
    "parse_from_rfc3339",
    "parse_from_str",
    "parse::<NaiveDate",
    "parse::<DateTime",
    "parse::<chrono::",
    "NaiveDate::from_str",
];

/// Arguments and fields of such a type that a function of ours reads.
const READ_BY_FUNCTION: [&str; 2] = ["until: Option<DateTime<Utc>>,", "Date(#[serde(with = \"days\")] NaiveDate),"];

#[test]
fn dates_and_instants_come_in_by_the_types_of_the_domain() {
    let mut found = Vec::new();
    for file in sources::rust_files() {
        let is_at_edge = EDGES.iter().any(|edge| file.path.starts_with(edge)) && !file.path.ends_with("tests.rs");
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in lines_that_read(code).filter(|_| is_at_edge) {
            found.push(format!("{}:{number}: {}", file.path, line.trim()));
        }
    }
    assert!(found.is_empty(), "take `domain::moment::Date` or `Instant`:\n{}", found.join("\n"));
}

/// The lines that read a date or an instant by other rules, with their numbers.
fn lines_that_read(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_read = false;
    (1..).zip(code.lines()).filter(move |(_, line)| {
        if line.contains("#[derive(") {
            is_read = ["Deserialize", "Args", "Parser"].iter().any(|derived| line.contains(derived));
        } else if line.starts_with('}') {
            is_read = false;
        }
        let is_chrono = line.contains("NaiveDate") || line.contains("DateTime<");
        let is_field = is_read && is_chrono && !READ_BY_FUNCTION.contains(&line.trim());
        is_field || LAX_READERS.iter().any(|reader| line.contains(reader))
    })
}

#[test]
fn a_field_of_a_library_s_type_is_found() {
    let code = "#[derive(Debug, Deserialize)]\nstruct Body {\n    day: Option<NaiveDate>,\n}\n\
                #[derive(Serialize)]\nstruct Answer {\n    at: DateTime<Utc>,\n}\n\
                fn read(text: &str) { text.parse::<NaiveDate>(); }";
    let numbers: Vec<_> = lines_that_read(code).map(|(number, _)| number).collect();
    assert_eq!(numbers, [3, 9]);
}
