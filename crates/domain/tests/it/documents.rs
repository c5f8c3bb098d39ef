//! The documents name what the code has.

use domain::Rule;

const API: &str = include_str!("../../../../docs/api.md");
const DOMAIN: &str = include_str!("../../../../docs/domain.md");
const RULE_TESTS: &str = concat!(
    include_str!("rules.rs"),
    include_str!("merges.rs"),
    include_str!("named_prisoners.rs"),
    include_str!("../../src/confinement.rs")
);

#[test]
fn the_api_document_lists_the_code_of_every_rule() {
    let missing: Vec<_> =
        Rule::ALL.iter().map(|rule| rule.code()).filter(|code| !API.contains(&format!("`{code}`"))).collect();
    assert_eq!(missing, Vec::<&str>::new(), "not in docs/api.md");
}

/// A rule of `docs/domain.md` has a heading `### Rule N: ...`; a test of it is named `rule_N_...`.
#[test]
fn each_numbered_rule_has_a_test_that_names_it() {
    let numbers: Vec<&str> = DOMAIN
        .lines()
        .filter_map(|line| line.strip_prefix("### Rule ")?.split_once(':').map(|(number, _)| number))
        .collect();
    assert_eq!(numbers.len(), 13, "rules in docs/domain.md");
    let untested: Vec<_> =
        numbers.into_iter().filter(|number| !RULE_TESTS.contains(&format!("fn rule_{number}_"))).collect();
    assert_eq!(untested, Vec::<&str>::new(), "rules that no test in the files above names");
}

#[test]
fn a_code_is_kebab_case_and_belongs_to_one_rule() {
    let mut codes: Vec<_> = Rule::ALL.iter().map(|rule| rule.code()).collect();
    assert!(codes.iter().all(|code| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    codes.sort_unstable();
    assert!(codes.windows(2).all(|pair| pair[0] != pair[1]), "{codes:?}");
}
