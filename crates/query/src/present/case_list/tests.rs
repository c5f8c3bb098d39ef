//! Lists of cases: the SQL that is put together for them, and the same order without the views.

use domain::{identifier::PrisonCode, prisoner::Phase};

use super::*;
use crate::present::case::tests::example;

/// The statement for a list. The columns of the table are left out: its declaration has them.
fn sql(list: &CaseList, unchanged_since: Option<u64>) -> String {
    let sql = statement(list, DateTime::UNIX_EPOCH, unchanged_since, &Confinement::default()).into_string();
    sql.replace(&CasePeriodRow::select("p"), "[columns of case_period]")
}

/// Cases of one prison, by their numbers, in tiers.
fn cases(tiers: &[(&str, Option<&str>)]) -> Vec<CasePeriodRow> {
    let case = |&(number, tier): &(&str, Option<&str>)| CasePeriodRow {
        prisoner_number: number.parse().expect("a number"),
        tier: tier.map(|tier| tier.parse().expect("a tier")),
        ..example()
    };
    tiers.iter().map(case).collect()
}

#[track_caller]
fn check_inserted(list: &CaseList, expected: &[&str], is_more: bool) {
    let cases = cases(&[
        ("A0001AA", Some("B")),
        ("A0002AA", None),
        ("A0003AA", Some("A")),
        ("A0004AA", Some("B2")),
        ("A0005AA", Some("B")),
    ]);
    // Some from the views, some from the log: where a case comes from makes no difference.
    for from_views in 0..=cases.len() {
        let (of_views, of_log) = cases.split_at(from_views);
        let mut keyed = Vec::new();
        list.insert(of_views, &mut keyed);
        list.insert(of_log, &mut keyed);
        let page = list.page(keyed);
        let numbers: Vec<&str> = page.cases.iter().map(|case| case.prisoner_number.as_str()).collect();
        assert_eq!((&numbers[..], page.next.is_some()), (expected, is_more), "{from_views} from the views");
    }
}

#[test]
fn cases_from_the_log_take_their_places_in_the_list() {
    let list = CaseList { filter: CaseFilter::default(), sort: CaseSort::default(), after: None, limit: None };
    check_inserted(&list, &["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA"], false);
    let by_tier = CaseList { sort: CaseSort { by: SortBy::Tier, descending: false }, ..list.clone() };
    check_inserted(&by_tier, &["A0003AA", "A0001AA", "A0005AA", "A0004AA", "A0002AA"], false);
    let descending = CaseList { sort: CaseSort { by: SortBy::Tier, descending: true }, ..list.clone() };
    check_inserted(&descending, &["A0004AA", "A0001AA", "A0005AA", "A0003AA", "A0002AA"], false);
    let by_number = CaseList { sort: CaseSort { descending: true, ..CaseSort::default() }, ..list.clone() };
    check_inserted(&by_number, &["A0005AA", "A0004AA", "A0003AA", "A0002AA", "A0001AA"], false);
    let after = Some(("B".to_owned(), "A0001AA".to_owned()));
    let page = CaseList { after, limit: serde_json::from_str("\"2\"").ok(), ..by_tier };
    check_inserted(&page, &["A0005AA", "A0004AA"], true);
    let letter = CaseList { filter: CaseFilter { tier: "B".parse().ok(), ..CaseFilter::default() }, ..list.clone() };
    check_inserted(&letter, &["A0001AA", "A0004AA", "A0005AA"], false);
    let level = CaseList { filter: CaseFilter { tier: "B2".parse().ok(), ..CaseFilter::default() }, ..list };
    check_inserted(&level, &["A0004AA"], false);
}

/// A filter that is not used is not in the statement.
#[test]
fn the_statement_of_a_list_is_as_reviewed() {
    let prison: Option<PrisonCode> = Some("LEI".parse().expect("a prison"));
    let all = CaseList {
        filter: CaseFilter { prison, ..CaseFilter::default() },
        sort: CaseSort::default(),
        after: None,
        limit: Some(Limit::default()),
    };
    insta::assert_snapshot!("all_of_a_prison", sql(&all, None));
    let filter = CaseFilter {
        pom: Some(485_926.try_into().expect("a staff id")),
        tier: Some("B".parse().expect("a tier")),
        phase: Some(Phase::Community),
        waiting: Some(true),
        lacks_com_since: Some("2026-03-01".parse().expect("a date")),
        ..all.filter.clone()
    };
    let filtered = CaseList {
        filter,
        sort: CaseSort { by: SortBy::Tier, descending: true },
        after: Some(("B2".to_owned(), "A1234BC".to_owned())),
        ..all
    };
    insta::assert_snapshot!("filtered_sorted_and_paged", sql(&filtered, Some(7)));
}
