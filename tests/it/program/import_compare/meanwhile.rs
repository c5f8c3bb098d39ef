//! A comparison that is recorded while commands arrive over HTTP.

use std::{collections::BTreeMap, fmt::Write as _};

use domain::Stream;
use event_log::StoredEvent;
use futures::{StreamExt as _, stream};
use serde_json::json;

use super::{HEADINGS, Office, Ran};
use crate::support::{eventually, ledger::serve_commands};

/// Each case ends as if the command or the sheet had come first. The sheet begins with the first
/// case and ends with the departures; the commands begin with those and the last case, so that they
/// meet.
#[tokio::test]
async fn a_change_or_a_departure_is_recorded_before_a_command_over_http_or_planned_on_it() {
    const CHANGED: usize = 900;
    const LEFT: usize = 60;
    const COMMANDS_AT_ONCE: usize = 8;
    let office = Office::new().await;
    let number = |case: usize| format!("A{case:04}BC");
    let row = |case: usize, tier: &str| format!("{},{tier},\"Shah, Priya\",485928,PRO,01/07/2019", number(case));
    let first: String = (0..CHANGED + LEFT).map(|case| row(case, "C") + "\n").collect();
    office.import_first(&first).await;
    let program = serve_commands(&office.database).await;
    let imported = office.database.log().await.head().await.expect("the end of the log");
    let mut sheet = format!("{},Released\n", HEADINGS.trim_end());
    for case in 0..CHANGED + LEFT {
        let left = if case < CHANGED { "" } else { "02/01/2020" };
        writeln!(sheet, "{},{left}", row(case, "D")).expect("write");
    }
    let commands = async {
        let head = async || office.database.log().await.head().await.expect("the end of the log");
        eventually("the first change", async || (head().await > imported).then_some(())).await;
        let tier = json!({"tier": "B", "source": "DELIUS", "prison": "LEI"});
        let assign = async |case: usize| {
            let answer = program.client().post(&format!("/prisoners/{}/tier", number(case)), &tier).await;
            assert_eq!(answer.status, 201, "{}", answer.text);
        };
        let cases = (CHANGED..CHANGED + LEFT).chain((0..CHANGED).rev());
        stream::iter(cases).map(assign).buffer_unordered(COMMANDS_AT_ONCE).collect::<Vec<_>>().await;
    };
    let (ran, _) = tokio::join!(office.import_sheet(&sheet, &["--apply", "2020-01-06"]), commands);

    let mut outcomes = BTreeMap::new();
    for line in ran.lines() {
        let number = line["prisonerNumber"].as_str().expect("a number").to_owned();
        outcomes.insert(number, line["outcome"].as_str().expect("an outcome").to_owned());
    }
    let mut cases = BTreeMap::<String, Vec<StoredEvent>>::new();
    for event in office.events().await.into_iter().filter(|event| event.entry.position > imported) {
        if let Stream::Prisoner(number) = &event.stream {
            cases.entry(number.to_string()).or_default().push(event);
        }
    }
    let mut refused = [0; 2];
    for case in 0..CHANGED + LEFT {
        let of_sheet = |event: &StoredEvent| event.entry.recorded_by.client == "allocation-ledger import";
        let by_sheet: Vec<bool> = cases[&number(case)].iter().map(of_sheet).collect();
        match outcomes[&number(case)].as_str() {
            "recorded" => assert_eq!(by_sheet, [true, false], "{}: the sheet came first", number(case)),
            "refused" => {
                assert_eq!(by_sheet, [false], "{}: the command came first", number(case));
                refused[usize::from(case >= CHANGED)] += 1;
            }
            other => panic!("{}: {other}", number(case)),
        }
    }
    println!("of {CHANGED} changes and {LEFT} departures, {refused:?} were refused");
}
