//! The documents name what the code has.

use domain::Rule;

const API: &str = include_str!("../../../../docs/api.md");

#[test]
fn the_api_document_lists_the_code_of_every_rule() {
    let missing: Vec<_> =
        Rule::ALL.iter().map(|rule| rule.code()).filter(|code| !API.contains(&format!("`{code}`"))).collect();
    assert_eq!(missing, Vec::<&str>::new(), "not in docs/api.md");
}

#[test]
fn a_code_is_kebab_case_and_belongs_to_one_rule() {
    let mut codes: Vec<_> = Rule::ALL.iter().map(|rule| rule.code()).collect();
    assert!(codes.iter().all(|code| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    codes.sort_unstable();
    assert!(codes.windows(2).all(|pair| pair[0] != pair[1]), "{codes:?}");
}
