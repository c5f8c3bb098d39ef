//! Requests that record more than one event: all of them or none, whatever comes in between.
//!
//! Each test sends such requests at the same moments, many times. What became of each case must be
//! what one order of the requests gives, and each request must be answered with what became of it.

use std::{collections::HashMap, fmt::Write as _, path::Path};

use domain::{
    Event, Stream,
    prisoner::{Choice, PrisonerEvent},
};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    Client, DataDir, HttpAnswer, ToolOutput, eventually,
    ledger::{Ledger, NOVAK, PRISON, SHAH, serve_commands},
    run,
};

/// A tier and a POM, as one request or row says them.
type TierAndPom = (&'static str, i64);

/// What the events of each case say, in the order recorded: tiers, and POMs with the tier that they
/// were chosen by.
async fn describe_cases(ledger: &Ledger) -> HashMap<String, Vec<String>> {
    let chosen = |what: &str, staff_id: i64, choice: &Choice| format!("{what} {staff_id} at {}", choice.tier);
    let describe = |event: Event| match event {
        Event::Prisoner(PrisonerEvent::TierAssigned(assigned)) => format!("tier {}", assigned.tier),
        Event::Prisoner(PrisonerEvent::AllocationMade(made)) => {
            chosen("allocated", made.pom.staff_id.get(), &made.choice)
        }
        Event::Prisoner(PrisonerEvent::Reallocated(moved)) => {
            chosen("reallocated", moved.pom_after.staff_id.get(), &moved.choice)
        }
        other => panic!("{other:?}"),
    };
    let mut cases = HashMap::<String, Vec<String>>::new();
    for stored in ledger.events().await {
        if let Stream::Prisoner(number) = stored.stream {
            cases.entry(number.to_string()).or_default().push(describe(stored.entry.event));
        }
    }
    cases
}

async fn describe_case(ledger: &Ledger, number: &str) -> Vec<String> {
    describe_cases(ledger).await.remove(number).unwrap_or_default()
}

/// What requests one after the other say, the first on a case without a POM.
fn sequence(requests: &[TierAndPom]) -> Vec<String> {
    let mut events = Vec::new();
    for (index, (tier, staff_id)) in requests.iter().enumerate() {
        let what = if index == 0 { "allocated" } else { "reallocated" };
        events.extend([format!("tier {tier}"), format!("{what} {staff_id} at {tier}")]);
    }
    events
}

async fn allocate(client: &Client, number: &str, (tier, staff_id): TierAndPom) -> HttpAnswer {
    let body = json!({
        "nomis_staff_id": staff_id, "nomis_offender_id": number, "allocated_at_tier": tier, "prison": PRISON,
        "created_by": "FRANK",
    });
    let answer = client.post("/allocation", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

#[tokio::test]
async fn two_first_allocations_at_once_end_as_one_after_the_other() {
    let ledger = Ledger::start().await;
    let other = serve_commands(&ledger.database).await;
    let (one, two) = (("C", SHAH), ("D", NOVAK));
    for round in 0..60 {
        let number = format!("A{round:04}AA");
        // Within one service, and between two.
        let clients = [ledger.client(), if round % 2 == 0 { ledger.client() } else { other.client() }];
        let (first, second) = futures::join!(allocate(clients[0], &number, one), allocate(clients[1], &number, two));
        let ok = [&first, &second].map(|answer| answer.body["status"] == "ok");
        let got = describe_case(&ledger, &number).await;
        let allowed = match ok {
            [true, true] => vec![sequence(&[one, two]), sequence(&[two, one])],
            [true, false] => vec![sequence(&[one])],
            [false, true] => vec![sequence(&[two])],
            [false, false] => Vec::new(),
        };
        assert!(allowed.contains(&got), "{number}: {got:?} after {} and {}", first.text, second.text);
        assert!(ok == [true, true], "one after the other, both are accepted: {} {}", first.text, second.text);
    }
}

/// Many at once on one case: each is an allocation or a reallocation at its own tier, or leaves
/// nothing behind.
#[tokio::test]
async fn many_first_allocations_at_once_each_keep_their_own_tier() {
    let ledger = Ledger::start().await;
    let other = serve_commands(&ledger.database).await;
    let clients = [ledger.client(), other.client()];
    for round in 0..6 {
        let number = format!("B{round:04}BB");
        let requests: Vec<TierAndPom> =
            ["C", "D", "E", "F", "C", "D", "E", "F"].into_iter().zip([SHAH, NOVAK].into_iter().cycle()).collect();
        let answers = join_all(
            requests.iter().enumerate().map(|(index, request)| allocate(clients[index % 2], &number, *request)),
        );
        let ok = answers.await.iter().filter(|answer| answer.body["status"] == "ok").count();
        let events = describe_case(&ledger, &number).await;
        let choices: Vec<_> = events.iter().filter(|event| event.contains("allocated")).collect();
        assert_eq!(choices.len(), ok, "{number}: {events:?}");
        let mut tier = "";
        for event in &events {
            match event.strip_prefix("tier ") {
                Some(assigned) => {
                    assert!(assigned != tier, "{number}: the same tier again: {events:?}");
                    tier = assigned;
                }
                None => assert!(event.ends_with(&format!("at {tier}")), "{number}: {events:?}"),
            }
        }
        let assigned: Vec<_> = events.iter().map(|event| event.starts_with("tier ")).collect();
        assert!(!assigned.ends_with(&[true]), "{number}: a tier without its allocation: {events:?}");
    }
}

/// Writes a sheet that gives each case to one POM.
fn sheet(path: &Path, numbers: &[String], (tier, staff_id): TierAndPom) {
    let mut rows = "NOMS no,Tier,POM,Staff id,Type,Date allocated\n".to_owned();
    for number in numbers {
        let pom = if staff_id == SHAH { "Shah, Priya" } else { "Novak, Jan" };
        writeln!(rows, "{number},{tier},\"{pom}\",{staff_id},PO,01/07/2019").expect("a row");
    }
    std::fs::write(path, rows).expect("write a file");
}

/// Imports a sheet of a prison that has joined, or joins on the day of its rows.
async fn import(ledger: &Ledger, file: &Path, go_live: &[&str]) -> ToolOutput {
    let stores = ledger.database.store.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let file = file.to_str().expect("a path in UTF-8");
    run(&[&["import", "spreadsheet", file, "--prison", PRISON, "--json"], go_live, &stores[..]].concat()).await
}

/// The go-live date of a prison that joins by an import.
const GO_LIVE: [&str; 2] = ["--go-live", "2019-07-01"];

/// The outcome and code of each row of a report.
#[track_caller]
fn outcomes(ran: &ToolOutput) -> Vec<(String, String)> {
    assert!(ran.status.success(), "{}", ran.stderr);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    ran.stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"))
        .map(|line| (text(&line["outcome"]), text(&line["code"])))
        .collect()
}

/// The outcomes of two imports at once of the same cases, by row, each checked with what the case
/// says: one of the two was recorded, and the other was refused and left nothing behind.
async fn import_twice_at_once(round: u8) -> [Vec<bool>; 2] {
    let ledger = Ledger::empty().await;
    let directory = DataDir::new();
    let sides = [("C", SHAH), ("D", NOVAK)];
    let numbers: Vec<_> = (0..150).map(|case| format!("A{case:04}{}A", char::from(b'A' + round))).collect();
    let files = sides.map(|side| directory.path().join(format!("{}.csv", side.0)));
    for (file, side) in files.iter().zip(sides) {
        sheet(file, &numbers, side);
    }
    let ran = join_all(files.iter().map(|file| import(&ledger, file, &GO_LIVE))).await;
    let [one, other] = [&ran[0], &ran[1]].map(outcomes);
    let cases = describe_cases(&ledger).await;
    let recorded = ("recorded".to_owned(), String::new());
    let refused = ("refused".to_owned(), "already-allocated".to_owned());
    for ((number, one), other) in numbers.iter().zip(&one).zip(&other) {
        let side = usize::from(*one != recorded);
        assert_eq!([one, other][side], &recorded, "{number}");
        assert_eq!([one, other][1 - side], &refused, "{number}");
        assert_eq!(cases[number], sequence(&[sides[side]]), "{number}");
    }
    [one, other].map(|rows| rows.into_iter().map(|row| row == recorded).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_imports_at_once_mix_on_no_case() {
    for round in 0..4 {
        import_twice_at_once(round).await;
    }
}

/// Requests meet the rows of an import on the same cases. A row that comes first is followed by a
/// reallocation; one that comes second is refused and leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_and_requests_at_once_mix_on_no_case() {
    let ledger = Ledger::start().await;
    let directory = DataDir::new();
    let file = directory.path().join("cases.csv");
    let numbers: Vec<_> = (0..400).map(|case| format!("A{case:04}AA")).collect();
    let (row, request) = (("C", SHAH), ("D", NOVAK));
    sheet(&file, &numbers, row);
    // The other way round than the import, so that they meet in the middle.
    let asked = async {
        for number in numbers.iter().rev() {
            let answer = allocate(ledger.client(), number, request).await;
            assert_eq!(answer.body["status"], "ok", "{}", answer.text);
        }
    };
    let ((), ran) = futures::join!(asked, import(&ledger, &file, &[]));
    let cases = describe_cases(&ledger).await;
    for (number, (outcome, code)) in numbers.iter().zip(outcomes(&ran)) {
        let expected = match (outcome.as_str(), code.as_str()) {
            ("recorded", "") => sequence(&[row, request]),
            // The row is of 2019, and so comes before the request in effect.
            ("refused", "later-entry-conflict") => sequence(&[request]),
            other => panic!("{number}: {other:?}"),
        };
        assert_eq!(cases[number], expected, "{number}");
    }
}

/// Two sheets of a new prison at once: each plans to take it onto OMiC and to register its POMs.
#[tokio::test(flavor = "multi_thread")]
async fn two_first_imports_of_a_prison_at_once_both_end_well() {
    for round in 0..4 {
        let ledger = Ledger::empty().await;
        let directory = DataDir::new();
        let [first, second] = [0, 1].map(|sheet| {
            (0..20).map(|case| format!("A{:04}AA", round * 100 + sheet * 50 + case)).collect::<Vec<String>>()
        });
        let files = ["one.csv", "two.csv"].map(|name| directory.path().join(name));
        sheet(&files[0], &first, ("C", SHAH));
        sheet(&files[1], &second, ("D", SHAH));
        for ran in join_all(files.iter().map(|file| import(&ledger, file, &GO_LIVE))).await {
            assert!(outcomes(&ran).iter().all(|(outcome, _)| outcome == "recorded"), "{}", ran.stdout);
        }
        let roster = ledger.events().await;
        let types = roster.iter().map(|event| event.entry.event.type_name());
        assert_eq!(types.filter(|name| ["PrisonJoinedOmic", "PomRegistered"].contains(name)).count(), 2);
    }
}

/// Imports into one prison take turns where the log is in Postgres.
mod log_in_postgres {
    use super::*;
    use crate::support::topology::require_log_in_postgres;

    #[tokio::test(flavor = "multi_thread")]
    async fn two_imports_at_once_end_as_one_after_the_other() {
        require_log_in_postgres();
        for round in 0..4 {
            for rows in import_twice_at_once(round).await {
                assert!(rows.iter().all(|recorded| *recorded == rows[0]), "{rows:?}");
            }
        }
    }

    /// An import that has to wait says so on standard error, and goes on when the other one ends.
    #[tokio::test]
    async fn an_import_says_that_it_waits_for_another_one() {
        require_log_in_postgres();
        let ledger = Ledger::empty().await;
        let directory = DataDir::new();
        let file = directory.path().join("cases.csv");
        sheet(&file, &["A0001AA".to_owned()], ("C", SHAH));
        let mut other = ledger.database.pool.acquire().await.expect("a connection");
        let lock = "SELECT pg_advisory_lock(hashtextextended('allocation-ledger import LEI', 0))";
        sqlx::query(lock).execute(&mut *other).await.expect("the turn of another import");
        let waits = "SELECT EXISTS (SELECT FROM pg_locks
                                     WHERE locktype = 'advisory' AND NOT granted
                                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
        let release = async {
            eventually("the import to wait", async || {
                let waits: bool = sqlx::query_scalar(waits).fetch_one(&ledger.database.pool).await.expect("the locks");
                waits.then_some(())
            })
            .await;
            sqlx::query("SELECT pg_advisory_unlock_all()")
                .execute(&mut *other)
                .await
                .expect("the end of the other import");
        };
        let ((), ran) = futures::join!(release, import(&ledger, &file, &GO_LIVE));
        assert_eq!(outcomes(&ran), [("recorded".to_owned(), String::new())]);
        assert!(ran.stderr.contains("Another import into LEI is running."), "{}", ran.stderr);
    }
}
