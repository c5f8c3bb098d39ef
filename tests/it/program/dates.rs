//! Dates and instants on the command line, by the rule of requests.

use crate::support::run;

/// Arguments that are refused before anything is opened.
async fn check_refused(arguments: &[&str], option: &str, expected: &str) {
    for wrong in ["2026-1-1", " 2026-01-01", "2026-02-30", "1899-12-31", "2200-01-01", "+262142-12-31", "+5"] {
        let given = format!("{option}={wrong}");
        let ran = run(&[arguments, &[given.as_str()]].concat()).await;
        assert_eq!(ran.status.code(), Some(2), "{arguments:?} {given}: {}", ran.stderr);
        let sentence = format!("`{wrong}` is not {expected} in the years 1900 to 2199; write ");
        assert!(ran.stderr.contains(&sentence), "{arguments:?} {given}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn dates_and_instants_on_the_command_line_are_read_by_the_rule_of_requests() {
    let import = ["import", "spreadsheet", "cases.csv", "--prison", "LEI"];
    check_refused(&import, "--go-live", "a date").await;
    check_refused(&["generate"], "--until", "a date").await;
    let known_at = "a position, or a date or an instant";
    check_refused(&["export", "case_period"], "--as-of", known_at).await;
    check_refused(&["export", "case_period"], "--on", "a date or an instant").await;
    check_refused(&["history", "A1234BC"], "--known-at", known_at).await;
    check_refused(&["replay"], "--since", "a date or an instant").await;
    check_refused(&["replay"], "--until", known_at).await;
    check_refused(&["projections", "rebuild", "--schema", "past"], "--as-of", known_at).await;
}

#[tokio::test]
async fn a_history_that_would_begin_before_1900_is_not_generated() {
    let ran = run(&["generate", "--until", "1949-12-31", "--years", "50"]).await;
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("50 years up to 1949-12-31 would begin before 1900"), "{}", ran.stderr);
}
