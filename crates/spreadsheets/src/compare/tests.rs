//! The next sheet beside a ledger that has gone on since.

use domain::{Entry, Stream};

use super::{
    super::{
        plan::{HeldHistories, PlannedRow, Verdict, plan},
        planned_command::foreseen_entries,
        tests::{read, sheet, terms},
    },
    *,
};

const HEADINGS: &str = "NOMS no|Tier|POM|Staff id|Type|Date allocated|Received";
const OKAFOR: &str = "Okafor, Grace|485926|PO";
const SHAH: &str = "Shah, Priya|485928|PRO";

/// The histories of a ledger without a store.
struct Ledger(HeldHistories);

impl Ledger {
    /// A ledger with the rows of a first import.
    fn of_import(rows: &[String]) -> Self {
        let mut ledger = Self(HeldHistories::of_empty_ledger(&terms().prison));
        assert!(ledger.record_rows(rows, None).iter().all(|outcome| outcome == "recorded"), "{rows:?}");
        ledger
    }

    /// Plans rows, with the changes as of a day where one is given.
    fn plan(&self, rows: &[String], on: Option<&str>) -> (Vec<PlannedCommand>, Vec<PlannedRow>) {
        // A second row, by which the columns are told.
        let drawn = format!("{HEADINGS}\n{}\nA0009BC|C|{OKAFOR}|01/07/2019|01/06/2019", rows.join("\n"));
        let terms = ImportTerms { changes_on: on.map(|on| on.parse().expect("a date")), ..terms() };
        let plan = plan(read(&[sheet("cases", &drawn)]).rows, self.0.clone(), &terms);
        let mut rows = plan.rows;
        rows.pop();
        (plan.prison_steps, rows)
    }

    /// Records rows, and answers the outcome of each.
    fn record_rows(&mut self, rows: &[String], on: Option<&str>) -> Vec<String> {
        let (prison_steps, rows) = self.plan(rows, on);
        prison_steps.iter().for_each(|step| self.record(step));
        rows.iter()
            .map(|row| match &row.verdict {
                Verdict::Record(step) => {
                    self.record(step);
                    "recorded".to_owned()
                }
                Verdict::AlreadyRecorded => "already".to_owned(),
                Verdict::Refused(problem) => problem.reason.clone(),
            })
            .collect()
    }

    fn record(&mut self, step: &PlannedCommand) {
        let (terms, held) = (terms(), &mut self.0);
        let (now, effective_at) = (terms.now, step.effective_at);
        match &step.command {
            Command::Contacts(..) => panic!("a sheet of cases has no contacts"),
            Command::Prison(code, command) => {
                let events = prison::decide(&held.prison, command, &prison::Context { now, effective_at });
                let (stream, recorded) = (Stream::Prison(code.clone()), held.prison.entries().len());
                let events = events.expect("a legal command");
                foreseen_entries(&stream, recorded, events, step.command_id, effective_at, &terms)
                    .for_each(|entry| held.prison.push(entry));
            }
            Command::Prisoner(number, command) => {
                let context = prisoner::Context {
                    now,
                    effective_at,
                    prison: Some(&held.prison),
                    recommendation_policy: terms.recommendation_policy,
                };
                let case = held.cases.entry(number.clone()).or_insert_with(|| prisoner::History::new(number.clone()));
                let events = prisoner::decide(case, command, &context).expect("a legal command");
                let (stream, recorded) = (Stream::Prisoner(number.clone()), case.entries().len());
                foreseen_entries(&stream, recorded, events, step.command_id, effective_at, &terms)
                    .for_each(|entry| case.push(entry));
            }
        }
    }

    fn case(&self, number: &str) -> &prisoner::History {
        &self.0.cases[&number.parse().expect("a number")]
    }

    /// Records a command on a case as of a time.
    fn send(&mut self, number: &str, at: &str, command: prisoner::Command) {
        let at = at.parse().expect("an instant");
        self.record(&command_at_revision(self.case(number), &terms().prison, command, at, &json!(at)));
    }

    /// Records a tier as HTTP does, which names the prison.
    fn send_tier(&mut self, number: &str, tier: &str, at: &str) {
        let tier = tier_now(tier.parse().expect("a tier"), self.case(number), &terms());
        self.send(number, at, prisoner::Command::AssignTier(tier));
    }

    /// Voids an entry of a case.
    fn void(&mut self, number: &str, revision: u64) {
        let reason = "meant for another case".to_owned();
        let void = prisoner::Command::Void(prisoner::EntryVoided { revision, reason });
        self.send(number, "2026-11-24T11:00:00Z", void);
    }
}

fn row(number: &str, tier: &str, pom: &str, allocated_on: &str) -> String {
    format!("{number}|{tier}|{pom}|{allocated_on}|")
}

fn waiting_row(number: &str, tier: &str, since: &str) -> String {
    format!("{number}|{tier}|||||{since}")
}

fn leaving(on: &str, to_prison: Option<&str>) -> Leaving {
    Leaving { on: on.parse().expect("a date"), to_prison: to_prison.map(|code| code.parse().expect("a code")) }
}

#[track_caller]
fn check_refused(outcomes: &[String], beginning: &str) {
    assert!(outcomes.len() == 1 && outcomes[0].starts_with(beginning), "{outcomes:?}");
}

#[test]
fn a_change_before_a_newer_one_is_refused() {
    let mut ledger = Ledger::of_import(&[row("A0001BC", "C", OKAFOR, "01/07/2019")]);
    let mut apply =
        |tier: &str, pom: &str, on: &str| ledger.record_rows(&[row("A0001BC", tier, pom, "01/07/2019")], Some(on));
    assert_eq!(apply("B", SHAH, "2026-03-02"), ["recorded"]);
    let newer = "The ledger has a newer tier of A0001BC: B since 2 March 2026, so that tier D from 2 February 2026 does \
                 not hold now. Give --apply that day or a later one, or leave the row out. If entry 2 of the case is \
                 wrong, void it first, with its revision and a reason: POST /prisoners/A0001BC/voids.";
    assert_eq!(apply("D", SHAH, "2026-02-02"), [newer]);
    // Okafor has the case on that day, Hussain on no day.
    for (pom, staff_id) in [(OKAFOR, "485926"), ("Hussain, Nadia|485927|PO", "485927")] {
        let newer = format!(
            "The ledger has a newer POM of A0001BC: Shah, Priya (staff id 485928) since 2 March 2026, so that staff id \
             {staff_id} from 2 February 2026 does not hold now. Give --apply that day or a later one, or leave the row out. \
             If entry 3 of the case is wrong, void it first, with its revision and a reason: POST \
             /prisoners/A0001BC/voids."
        );
        assert_eq!(apply("B", pom, "2026-02-02"), [newer]);
    }
    assert_eq!(apply("D", OKAFOR, "2026-03-03"), ["recorded"]);
    assert_eq!(apply("D", OKAFOR, "2026-03-03"), ["already"]);
}

#[test]
fn a_change_after_which_another_pom_holds_the_case_is_refused() {
    let mut ledger = Ledger::of_import(&[row("A0001BC", "C", OKAFOR, "01/07/2019")]);
    let trigger = DeallocationTrigger::Manual;
    let deallocate = prisoner::Command::Deallocate(prisoner::Deallocate { trigger });
    ledger.send("A0001BC", "2026-02-01T00:00:00Z", deallocate);
    assert_eq!(ledger.record_rows(&[row("A0001BC", "C", SHAH, "02/03/2026")], None), ["recorded"]);
    let changed = [row("A0001BC", "C", "Hussain, Nadia|485927|PO", "02/03/2026")];
    let newer = "The ledger has a newer POM of A0001BC: Shah, Priya (staff id 485928) since 2 March 2026, so that staff \
                 id 485927 from 5 January 2026 does not hold now. ";
    check_refused(&ledger.record_rows(&changed, Some("2026-01-05")), newer);
    assert_eq!(ledger.record_rows(&changed, Some("2026-03-02")), ["recorded"]);
}

#[test]
fn a_change_before_the_case_came_is_refused() {
    let rows = [row("A0001BC", "C", OKAFOR, "01/10/2019"), waiting_row("A0002BC", "C", "02/12/2019")];
    let mut ledger = Ledger::of_import(&rows);
    let too_early = |number: &str, since: &str, on: &str| {
        format!("By the ledger {number} is at LEI since {since}, and a change from {on} is of an earlier time. ")
    };
    let mut apply = |row: String, on: &str| ledger.record_rows(&[row], Some(on));
    let changed = row("A0001BC", "D", OKAFOR, "01/10/2019");
    check_refused(&apply(changed.clone(), "2019-09-30"), &too_early("A0001BC", "1 October 2019", "30 September 2019"));
    assert_eq!(apply(changed, "2019-10-01"), ["recorded"]);
    let changed = waiting_row("A0002BC", "D", "02/12/2019");
    check_refused(&apply(changed.clone(), "2019-12-01"), &too_early("A0002BC", "2 December 2019", "1 December 2019"));
    assert_eq!(apply(changed, "2019-12-02"), ["recorded"]);
}

#[test]
fn a_row_of_a_case_that_moved_on_is_refused() {
    let numbers = ["A0001BC", "A0002BC", "A0003BC"];
    let rows: Vec<String> = numbers.iter().map(|number| row(number, "C", OKAFOR, "01/07/2019")).collect();
    let waiting = waiting_row("A0004BC", "C", "02/12/2019");
    let rows = [rows, vec![waiting]].concat();
    let mut ledger = Ledger::of_import(&rows);
    let to_prison = "MDI".parse().expect("a code");
    ledger.send("A0001BC", "2026-01-05T00:00:00Z", prisoner::Command::Release(Release { prison: None }));
    ledger.send("A0002BC", "2026-01-05T00:00:00Z", prisoner::Command::Transfer(Transfer { to_prison }));
    let trigger = DeallocationTrigger::Manual;
    ledger.send("A0003BC", "2026-01-05T00:00:00Z", prisoner::Command::Deallocate(prisoner::Deallocate { trigger }));
    ledger.send("A0004BC", "2026-01-05T00:00:00Z", prisoner::Command::Release(Release { prison: None }));
    let refused = ledger.record_rows(&rows, Some("2026-02-02"));
    let left = "was released, or left the scope of offender management, on 5 January 2026";
    let places = [
        format!("A0001BC {left}"),
        "A0002BC is at MDI".to_owned(),
        "A0003BC has no POM at LEI".to_owned(),
        format!("A0004BC {left}"),
    ];
    for (reason, place) in refused.iter().zip(&places) {
        let expected = format!("By the ledger {place}. An earlier import recorded this row before that. ");
        assert!(reason.starts_with(&expected), "{reason}");
    }
    assert_eq!(refused.len(), places.len());
    // The same file again is no sheet of a later month.
    assert_eq!(ledger.record_rows(&rows, None), ["already"; 4]);
}

#[test]
fn a_new_case_with_an_old_tier_has_a_warning() {
    let mut ledger = Ledger::of_import(&[waiting_row("A0001BC", "C", "02/12/2019")]);
    assert_eq!(ledger.record_rows(&[waiting_row("A0001BC", "B", "02/12/2019")], Some("2026-01-05")), ["recorded"]);
    let warnings =
        |tier: &str, on: &str| ledger.plan(&[row("A0001BC", tier, OKAFOR, on)], None).1.swap_remove(0).warnings;
    let warning = "the ledger has a newer tier, B since 5 January 2026: it holds now, and not that of this row";
    assert_eq!(warnings("D", "03/12/2019"), [warning]);
    assert!(warnings("B", "03/12/2019").is_empty() && warnings("D", "05/01/2026").is_empty());
}

#[test]
fn a_departure_before_a_later_entry_at_the_prison_is_refused() {
    let mut ledger =
        Ledger::of_import(&[row("A0001BC", "C", OKAFOR, "01/07/2019"), waiting_row("A0002BC", "C", "02/12/2019")]);
    let (terms, number) = (terms(), |number: &str| number.parse().expect("a number"));
    for case in ["A0001BC", "A0002BC"] {
        ledger.send_tier(case, "B", "2026-01-05T10:00:00Z");
        for to_prison in [None, Some("MDI")] {
            let departure = |on| Departure { number: number(case), leaving: leaving(on, to_prison) };
            let early = plan_departure(&departure("2026-01-04"), ledger.case(case), &terms).expect_err("a later tier");
            let sentence = format!(
                "By the ledger {case} is at LEI on 5 January 2026, 10:00, which is after 4 January 2026: a departure on that \
                 day does not hold."
            );
            assert!(early.sentence.starts_with(&sentence), "{}", early.sentence);
            plan_departure(&departure("2026-01-05"), ledger.case(case), &terms).expect("the day of the tier");
        }
    }
}

#[test]
fn a_sheet_of_a_day_comes_after_what_the_ledger_has_of_that_day() {
    let on = "2026-03-02";
    for at in ["2026-03-02T10:00:00Z", "2026-03-02T23:59:59Z"] {
        let rows = [row("A0001BC", "C", OKAFOR, "01/07/2019"), waiting_row("A0002BC", "C", "02/12/2019")];
        let mut ledger = Ledger::of_import(&rows);
        ledger.send_tier("A0001BC", "B", at);
        ledger.send_tier("A0002BC", "B", at);
        let changed = [row("A0001BC", "D", OKAFOR, "01/07/2019"), waiting_row("A0002BC", "D", "02/12/2019")];
        assert_eq!(ledger.record_rows(&changed, Some(on)), ["recorded"; 2]);
        assert_eq!(ledger.record_rows(&changed, Some(on)), ["already"; 2]);
        // Another POM of the day, as HTTP has it, and the sheet's after that.
        let reallocate = prisoner::Command::Reallocate(prisoner::Reallocate {
            prison: terms().prison,
            staff_id: "485928".parse().expect("a staff id"),
            expected_holder: None,
            reason: "Wing move".to_owned(),
            reasons: prisoner::ChoiceReasons::default(),
        });
        assert_eq!(ledger.record_rows(&[row("A0003BC", "C", SHAH, "01/07/2019")], None), ["recorded"]);
        ledger.send("A0001BC", at, reallocate);
        assert_eq!(ledger.record_rows(&changed[..1], Some(on)), ["recorded"]);
        let entries = ledger.case("A0001BC").in_effective_order();
        assert_eq!(entries.last().expect("an entry").effective_at.to_rfc3339(), at.replace('Z', "+00:00"));
    }
}

#[test]
fn a_later_time_is_named_with_the_entry_to_void() {
    let mut ledger = Ledger::of_import(&[row("A0001BC", "C", OKAFOR, "01/07/2019")]);
    ledger.send_tier("A0001BC", "B", "2026-03-03T10:00:00Z");
    let changed = [row("A0001BC", "D", OKAFOR, "01/07/2019")];
    let newer = "The ledger has a newer tier of A0001BC: B since 3 March 2026, 10:00, so that tier D from 2 March 2026 \
                 does not hold now. Give --apply that day or a later one, or leave the row out. If entry 2 of the case is \
                 wrong, void it first, with its revision and a reason: POST /prisoners/A0001BC/voids.";
    assert_eq!(ledger.record_rows(&changed, Some("2026-03-02")), [newer]);
    ledger.void("A0001BC", 2);
    assert_eq!(ledger.record_rows(&changed, Some("2026-03-02")), ["recorded"]);
}

#[test]
fn a_departure_on_the_day_of_a_later_tier_or_before_a_voided_one_is_recorded() {
    for to_prison in [None, Some("MDI")] {
        let mut ledger = Ledger::of_import(&[row("A0001BC", "C", OKAFOR, "01/07/2019")]);
        let number: PrisonerNumber = "A0001BC".parse().expect("a number");
        ledger.send_tier("A0001BC", "B", "2026-01-05T10:00:00Z");
        let departure = |on: &str| Departure { number: number.clone(), leaving: leaving(on, to_prison) };
        let early =
            plan_departure(&departure("2026-01-02"), ledger.case("A0001BC"), &terms()).expect_err("a later tier");
        let advice = "If entry 2 of the case is wrong, void it first, with its revision and a reason: POST \
                      /prisoners/A0001BC/voids.";
        assert!(early.sentence.ends_with(advice), "{}", early.sentence);
        let (on, mut voided) = ("2026-01-05", Ledger(ledger.0.clone()));
        let step = plan_departure(&departure(on), ledger.case("A0001BC"), &terms()).expect("the day of the tier");
        ledger.record(&step);
        assert!(departure(on).leaving.is_recorded(ledger.case("A0001BC"), &terms().prison));
        assert_ne!(ledger.case("A0001BC").state().prison, Some(terms().prison));
        voided.void("A0001BC", 2);
        let on = "2026-01-02";
        let step = plan_departure(&departure(on), voided.case("A0001BC"), &terms()).expect("no later entry");
        voided.record(&step);
        assert!(departure(on).leaving.is_recorded(voided.case("A0001BC"), &terms().prison));
    }
}

#[test]
fn a_plan_is_decided_when_it_is_made_and_not_when_the_import_began() {
    let mut ledger = Ledger::of_import(&[row("A0001BC", "C", OKAFOR, "01/07/2019")]);
    let later = ImportTerms { now: "2026-11-24T12:00:05Z".parse().expect("an instant"), ..terms() };
    let tier = tier_now("B".parse().expect("a tier"), ledger.case("A0001BC"), &later);
    let entry = Entry {
        event_id: command_id(&json!("later")).event_id(&Stream::Prisoner(ledger.case("A0001BC").number().clone()), 0),
        revision: 2,
        position: 0,
        effective_at: later.now,
        recorded_at: later.now,
        recorded_by: later.recorded_by.clone(),
        command_id: command_id(&json!("later")),
        event: PrisonerEvent::TierAssigned(tier),
    };
    ledger.0.cases.get_mut(&"A0001BC".parse().expect("a number")).expect("a case").push(entry);
    let (_, rows) = ledger.plan(&[row("A0001BC", "D", OKAFOR, "01/07/2019")], Some("2026-11-24"));
    assert!(
        matches!(&rows[0].verdict, Verdict::Record(step) if step.effective_at == later.now),
        "{:?}",
        rows[0].verdict
    );
}

#[test]
fn a_departure_is_recorded_by_its_day_and_way() {
    let mut ledger = Ledger::of_import(&[row("A0001BC", "C", OKAFOR, "01/07/2019")]);
    let (terms, number) = (terms(), "A0001BC".parse().expect("a number"));
    let departure =
        |on, to_prison| Departure { number: PrisonerNumber::clone(&number), leaving: leaving(on, to_prison) };
    let transfer = departure("2026-01-05", Some("MDI"));
    assert!(!transfer.leaving.is_recorded(ledger.case("A0001BC"), &terms.prison));
    let step = plan_departure(&transfer, ledger.case("A0001BC"), &terms).expect("a legal departure");
    ledger.record(&step);
    let recorded = |other: &Departure, prison: &str| {
        other.leaving.is_recorded(ledger.case("A0001BC"), &prison.parse().expect("a code"))
    };
    assert!(recorded(&transfer, "LEI"));
    assert!(!recorded(&transfer, "WWI"), "from another prison");
    for other in [("2026-01-06", Some("MDI")), ("2026-01-05", Some("WWI")), ("2026-01-05", None)] {
        assert!(!recorded(&departure(other.0, other.1), "LEI"), "{other:?}");
    }
}

#[test]
fn rows_of_one_departure_are_one_only_where_they_agree() {
    let drawn = |rows: &str| {
        let headings = "NOMS no|Tier|Staff id|Date allocated|Released|Transferred|Transferred to";
        let here = "A0009BC|C|485926|01/07/2019|||\nA0008BC|C|485926|01/07/2019|||";
        let rows = rows.split('/').map(|cells| format!("A0001BC|C|485926|2019-07-01|{cells}\n"));
        let table = read(&[sheet("cases", &format!("{headings}\n{}{here}", rows.collect::<String>()))]);
        let mut found = find_departures(&table.rows);
        let found = found.remove(&"A0001BC".parse().expect("a number")).expect("a departure");
        (found.says, found.leaving.ok())
    };
    let release = Some(leaving("2020-01-02", None));
    assert_eq!(drawn("2020-01-02||"), ("row 2 says released on 2 January 2020".to_owned(), release.clone()));
    assert_eq!(drawn("2020-01-02||/2020-01-02||").1, release);
    for (second, says) in [
        ("2020-01-03||", "row 3 says released on 3 January 2020"),
        ("yes||", "row 3 says no day"),
        ("|2020-01-02|MDI", "row 3 says transferred to MDI on 2 January 2020"),
    ] {
        let (said, leaving) = drawn(&format!("2020-01-02||/{second}"));
        assert_eq!(said, format!("row 2 says released on 2 January 2020, and {says}"));
        assert_eq!(leaving, None);
    }
}
