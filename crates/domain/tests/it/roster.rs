//! A prison's roster and its move onto OMiC, by example.

use domain::{
    identifier::StaffId,
    officer::{PomKind, PomStatus},
    prison::{
        Command, Estate, GoLiveCorrection, History, PomDetailsChanged, PomStatusChanged, PrisonJoinedOmic,
        roster_periods,
    },
};

use crate::case::{at, register, status, try_prison};

#[track_caller]
fn check(history: &mut History, day: &str, command: &Command, expected: &str) {
    let got = try_prison(history, day, command).map_err(|refusal| refusal.rule.code());
    assert_eq!(got.err().unwrap_or("recorded"), expected);
}

fn lei() -> History {
    History::new("LEI".parse().expect("a prison code"))
}

fn join(go_live_date: &str) -> Command {
    Command::JoinOmic(PrisonJoinedOmic { go_live_date: go_live_date.parse().expect("a date"), estate: Estate::Womens })
}

fn staff(id: i64) -> StaffId {
    StaffId::try_from(id).expect("a staff id")
}

#[test]
fn a_prison_joins_once_and_is_on_omic_from_its_go_live_day() {
    let mut history = lei();
    check(&mut history, "2026-03-01", &join("2026-06-01"), "recorded");
    check(&mut history, "2026-04-01", &join("2026-07-01"), "already-on-omic");
    assert!(history.joined_at(at("05-31")).is_none());
    // 1 June begins in London at 23:00 UTC of the day before.
    let begins = "2026-05-31T23:00:00Z".parse().expect("an instant");
    assert!(history.joined_at(begins).is_some() && history.roster().is_on_omic(begins));
    assert!(!history.roster().is_on_omic(begins - chrono::TimeDelta::microseconds(1)));
}

#[test]
fn a_go_live_day_in_the_past_counts_from_that_day_whenever_it_was_recorded() {
    let mut history = lei();
    check(&mut history, "2026-09-01", &join("2026-02-01"), "recorded");
    assert!(history.joined_at(at("01-31")).is_none());
    assert!(history.joined_at(at("02-01")).is_some());
}

#[test]
fn a_corrected_go_live_date_counts_for_all_time() {
    let correct = |go_live_date: &str| {
        let go_live_date = go_live_date.parse().expect("a date");
        Command::CorrectGoLiveDate(GoLiveCorrection { go_live_date, reason: None })
    };
    let mut history = lei();
    check(&mut history, "2026-03-01", &correct("2026-02-01"), "prison-not-on-omic");
    check(&mut history, "2026-03-01", &join("2026-02-01"), "recorded");
    check(&mut history, "2026-03-02", &correct("2026-02-01"), "nothing-changed");
    check(&mut history, "2026-03-05", &correct("2026-02-10"), "recorded");
    assert!(history.joined_at(at("02-09")).is_none() && history.joined_at(at("02-10")).is_some());
    assert_eq!(history.joined_at(at("02-10")).expect("joined").estate, Estate::Womens);
    check(&mut history, "2026-03-04", &correct("2026-01-10"), "later-entry-conflict");
    check(&mut history, "2026-03-06", &correct("2026-01-10"), "recorded");
    assert!(history.joined_at(at("01-10")).is_some());
    assert_eq!(history.roster().joined, history.joined_at(at("12-31")).cloned());
    check(&mut history, "2026-03-07", &join("2026-01-01"), "already-on-omic");
}

#[test]
fn a_prison_that_the_list_lacks_joins_only_as_an_unlisted_one() {
    let mut history = History::new("LEE".parse().expect("a prison code"));
    check(&mut history, "2026-03-01", &join("2026-02-01"), "prison-unlisted");
    let Command::JoinOmic(joined) = join("2026-02-01") else { panic!("a move onto OMiC") };
    check(&mut history, "2026-03-01", &Command::JoinOmicUnlisted(joined), "recorded");
}

#[test]
fn a_pom_is_registered_once_and_changes_from_then_on() {
    let mut history = lei();
    let rename = Command::ChangePomDetails(PomDetailsChanged {
        staff_id: staff(101),
        name: Some("Okafor, Grace".into()),
        kind: None,
        working_pattern: None,
        email: None,
    });
    check(&mut history, "2026-03-01", &rename, "pom-not-registered");
    check(&mut history, "2026-03-01", &status(101, PomStatus::Inactive), "pom-not-registered");
    check(&mut history, "2026-03-02", &register(101, PomKind::Prison), "recorded");
    check(&mut history, "2026-03-03", &register(101, PomKind::Probation), "pom-already-registered");
    check(&mut history, "2026-03-04", &rename, "recorded");
    check(&mut history, "2026-03-05", &rename, "nothing-changed");
    check(&mut history, "2026-03-06", &status(101, PomStatus::Active), "nothing-changed");
    check(&mut history, "2026-03-06", &status(101, PomStatus::Inactive), "recorded");
    check(&mut history, "2026-03-05", &status(101, PomStatus::Unavailable), "recorded");
    assert_eq!(history.pom_at(staff(101), at("03-04")).expect("registered").status, PomStatus::Active);
    assert_eq!(history.pom_at(staff(101), at("03-05")).expect("registered").status, PomStatus::Unavailable);
    assert_eq!(history.roster().poms[&staff(101)].status, PomStatus::Inactive);
    let periods = roster_periods(&history);
    let statuses: Vec<_> = periods.iter().map(|period| period.pom.status).collect();
    use PomStatus::{Active, Inactive, Unavailable};
    assert_eq!(statuses, [Active, Active, Unavailable, Inactive]);
    assert!(periods.windows(2).all(|pair| pair[0].to == Some(pair[1].from)));
}

#[test]
fn a_further_entry_corrects_a_date_that_was_too_late() {
    let mut history = lei();
    check(&mut history, "2026-06-01", &register(101, PomKind::Prison), "recorded");
    check(&mut history, "2026-06-06", &status(101, PomStatus::Inactive), "recorded");
    check(&mut history, "2026-06-05", &status(101, PomStatus::Inactive), "recorded");
    check(&mut history, "2026-02-01", &register(101, PomKind::Probation), "recorded");
    let pom = &history.roster().poms[&staff(101)];
    assert_eq!((pom.status, pom.kind), (PomStatus::Inactive, PomKind::Prison), "the later entry still says its kind");
    assert_eq!(pom.status_since.to_rfc3339(), "2026-06-05T00:00:00+00:00");
    assert_eq!(history.pom_at(staff(101), at("03-01")).expect("registered").kind, PomKind::Probation);
    assert_eq!(history.pom_at(staff(101), at("06-07")).as_ref(), Some(pom));
    let periods = roster_periods(&history);
    assert_eq!(periods.last().map(|period| &period.pom), Some(pom));
}

#[test]
fn a_registration_after_an_earlier_one_sets_details_and_status_anew() {
    let mut history = lei();
    check(&mut history, "2026-06-01", &register(101, PomKind::Prison), "recorded");
    check(&mut history, "2026-02-01", &register(101, PomKind::Probation), "recorded");
    let email = Command::ChangePomDetails(PomDetailsChanged {
        staff_id: staff(101),
        name: None,
        kind: None,
        working_pattern: None,
        email: Some("pom@example.org".into()),
    });
    check(&mut history, "2026-03-01", &email, "recorded");
    check(&mut history, "2026-04-01", &status(101, PomStatus::Inactive), "recorded");
    let before = history.pom_at(staff(101), at("05-31")).expect("registered");
    assert_eq!((before.status, before.kind, before.email.is_some()), (PomStatus::Inactive, PomKind::Probation, true));
    let after = history.pom_at(staff(101), at("06-01")).expect("registered");
    assert_eq!((after.status, after.kind, after.email.is_some()), (PomStatus::Active, PomKind::Prison, false));
    assert_eq!(history.roster().poms.get(&staff(101)), Some(&after));
    assert_eq!(roster_periods(&history).last().map(|period| &period.pom), Some(&after));
}

#[test]
fn a_pom_is_inactive_in_the_stretches_of_the_log_that_had_it_so() {
    let mut history = lei();
    check(&mut history, "2026-02-01", &register(101, PomKind::Prison), "recorded");
    let stretches = |history: &History| -> Vec<_> {
        let found = history.inactive_stretches(staff(101)).into_iter();
        found.map(|stretch| (stretch.begins_at, stretch.ends_at, stretch.since.format("%m-%d").to_string())).collect()
    };
    check(&mut history, "2026-03-10", &status(101, PomStatus::Inactive), "recorded");
    assert_eq!(stretches(&history), [(2, None, "03-10".to_owned())]);
    check(&mut history, "2026-03-05", &status(101, PomStatus::Inactive), "recorded");
    check(&mut history, "2026-03-20", &status(101, PomStatus::Active), "recorded");
    assert_eq!(stretches(&history), [(2, Some(4), "03-05".to_owned())]);
    // A recorded ACTIVE already follows it.
    check(&mut history, "2026-03-01", &status(101, PomStatus::Inactive), "recorded");
    assert_eq!(stretches(&history), [(2, Some(4), "03-05".to_owned())]);
    check(&mut history, "2026-04-01", &status(101, PomStatus::Inactive), "recorded");
    assert_eq!(stretches(&history), [(2, Some(4), "03-05".to_owned()), (6, None, "04-01".to_owned())]);
}

#[test]
fn only_an_unavailable_pom_has_a_date_of_return() {
    let mut history = lei();
    check(&mut history, "2026-03-02", &register(101, PomKind::Prison), "recorded");
    let change = |status| {
        Command::ChangePomStatus(PomStatusChanged {
            staff_id: staff(101),
            status,
            returns_on: "2026-05-01".parse().ok(),
            reason: Some("leave".into()),
        })
    };
    check(&mut history, "2026-03-03", &change(PomStatus::Inactive), "return-date-needs-unavailable");
    check(&mut history, "2026-03-03", &change(PomStatus::Unavailable), "recorded");
}

#[test]
fn the_same_status_for_another_reason_is_a_change() {
    let mut history = lei();
    check(&mut history, "2026-03-02", &register(101, PomKind::Prison), "recorded");
    let away = |returns_on: &str, reason: Option<&str>| {
        Command::ChangePomStatus(PomStatusChanged {
            staff_id: staff(101),
            status: PomStatus::Unavailable,
            returns_on: returns_on.parse().ok(),
            reason: reason.map(Into::into),
        })
    };
    check(&mut history, "2026-03-03", &away("2026-05-01", Some("Leave")), "recorded");
    let first = history.roster().poms[&staff(101)].clone();
    check(&mut history, "2026-03-04", &away("2026-05-01", Some("Leave")), "nothing-changed");
    check(&mut history, "2026-03-05", &away("2026-05-01", Some("Secondment")), "recorded");
    let pom = &history.roster().poms[&staff(101)];
    assert_eq!(pom.reason.as_deref(), Some("Secondment"));
    assert_eq!((pom.status_since, pom.status_event), (first.status_since, first.status_event), "the status goes on");
    check(&mut history, "2026-03-05", &away("2026-05-01", Some("Secondment")), "nothing-changed");
    check(&mut history, "2026-03-06", &away("2026-06-01", Some("Secondment")), "recorded");
    check(&mut history, "2026-03-07", &away("2026-06-01", None), "recorded");
    check(&mut history, "2026-03-08", &away("2026-06-01", None), "nothing-changed");
}

#[test]
fn the_reason_for_a_status_has_at_most_as_many_characters_as_a_detail() {
    let mut history = lei();
    check(&mut history, "2026-03-02", &register(101, PomKind::Prison), "recorded");
    let away = |reason: String| {
        let status = PomStatus::Unavailable;
        Command::ChangePomStatus(PomStatusChanged {
            staff_id: staff(101),
            status,
            returns_on: None,
            reason: Some(reason),
        })
    };
    check(&mut history, "2026-03-03", &away("é".repeat(176)), "detail-too-long");
    check(&mut history, "2026-03-03", &away("é".repeat(175)), "recorded");
}
