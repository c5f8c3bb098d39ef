//! Statistics of periods: receptions, allocations and the days between them.

use serde_json::{Value, json};

use crate::support::{
    HttpAnswer,
    ledger::{BYRNE, Ledger, NOVAK, OKAFOR, PRISON, SHAH, assert_refused},
    questions::{ask, assert_ok, record},
    random_numbers::RandomNumbers,
};

async fn statistics(ledger: &Ledger, query: &str) -> HttpAnswer {
    ask(ledger, &format!("/prisons/{PRISON}/statistics?{query}")).await
}

/// Sends a command to a case, effective at 09:00 UTC on a day, and returns the status.
async fn send(ledger: &Ledger, number: &str, part: &str, day: &str, mut body: Value) -> u16 {
    body["effectiveAt"] = json!(format!("{day}T09:00:00Z"));
    ledger.client().post(&format!("/prisoners/{number}/{part}"), &body).await.status.as_u16()
}

fn reception() -> Value {
    json!({"prison": PRISON, "reason": "NEW_ADMISSION"})
}

fn allocation(staff_id: i64) -> Value {
    json!({"prison": PRISON, "pom": {"staffId": staff_id}, "overrideReasons": ["NO_STAFF"]})
}

/// Cases of tier C1, for which a prison POM is recommended. The third one comes on 1 April in
/// London, when it is still March in UTC.
async fn ledger() -> Ledger {
    let ledger = Ledger::start_all_roles().await;
    let moved = json!({"prison": PRISON, "pom": {"staffId": NOVAK}, "reason": "Wing move"});
    for (number, part, day, body) in [
        ("A0001AA", "receptions", "03-02", reception()),
        ("A0001AA", "tier", "03-02", json!({"tier": "C1"})),
        ("A0001AA", "allocations", "03-06", allocation(SHAH)),
        ("A0001AA", "reallocations", "04-10", moved),
        ("A0002AA", "receptions", "03-10", reception()),
        ("A0002AA", "tier", "03-12", json!({"tier": "C1"})),
        ("A0002AA", "allocations", "03-13", allocation(SHAH)),
        ("A0002AA", "deallocations", "03-20", json!({"trigger": "MANUAL"})),
        ("A0002AA", "allocations", "04-02", allocation(NOVAK)),
        ("A0004AA", "receptions", "03-30", reception()),
        ("A0004AA", "tier", "03-30", json!({"tier": "C1"})),
        ("A0005AA", "tier", "03-01", json!({"tier": "C1", "prison": PRISON})),
        ("A0005AA", "allocations", "03-04", allocation(OKAFOR)),
    ] {
        assert_eq!(send(&ledger, number, part, &format!("2026-{day}"), body).await, 201, "{number} {part}");
    }
    for (part, mut body) in [("receptions", reception()), ("tier", json!({"tier": "C1"}))] {
        body["effectiveAt"] = json!("2026-03-31T23:30:00Z");
        record(&ledger, &format!("POST /prisoners/A0003AA/{part}"), body).await;
    }
    assert_eq!(send(&ledger, "A0003AA", "allocations", "2026-04-08", allocation(SHAH)).await, 201);
    let unavailable = json!({"status": "UNAVAILABLE", "effectiveAt": "2026-04-20T09:00:00Z"});
    record(&ledger, &format!("PUT /prisons/{PRISON}/poms/{BYRNE}/status"), unavailable).await;
    ledger
}

fn march() -> Value {
    json!({
        "from": "2026-03-01", "to": "2026-03-31", "receptions": 3, "allocations": 3, "reallocations": 0,
        "overrides": 1,
        // 4, 1 and 3 days of waiting; 4 and 3 days since a reception.
        "daysToAllocate": {"mean": 2.7, "median": 3.0, "max": 4},
        "daysFromReception": {"allocations": 2, "mean": 3.5, "median": 3.5, "max": 4},
        "atEnd": {"cases": 4, "allocated": 2, "waiting": 2, "activePoms": 4},
    })
}

fn april() -> Value {
    json!({
        "from": "2026-04-01", "to": "2026-04-30", "receptions": 1, "allocations": 2, "reallocations": 1,
        "overrides": 0,
        // 7 and 13 days of waiting. The second one was no first allocation since a reception.
        "daysToAllocate": {"mean": 10.0, "median": 10.0, "max": 13},
        "daysFromReception": {"allocations": 1, "mean": 7.0, "median": 7.0, "max": 7},
        "atEnd": {"cases": 5, "allocated": 4, "waiting": 1, "activePoms": 3},
    })
}

const APRIL: &str = "from=2026-04-01&to=2026-04-30";
const COMPARED: &str = "from=2026-04-01&to=2026-04-30&comparisonFrom=2026-03-01&comparisonTo=2026-03-31";

#[tokio::test]
async fn two_periods_are_compared_by_london_days() {
    let ledger = ledger().await;
    let answer = statistics(&ledger, COMPARED).await;
    assert_eq!(*assert_ok(&answer), json!({"period": april(), "comparison": march()}));
    assert_eq!(answer.header("ledger-position"), Some(ledger.event_count().await.to_string().as_str()));
    assert_eq!(answer.header("ledger-streams-aside"), Some("0"));
    assert_eq!(*assert_ok(&statistics(&ledger, APRIL).await), json!({"period": april(), "comparison": null}));
    let nothing = statistics(&ledger, "from=2026-02-01&to=2026-02-28").await;
    let none = json!({"mean": null, "median": null, "max": null});
    assert_eq!(
        assert_ok(&nothing)["period"],
        json!({
            "from": "2026-02-01", "to": "2026-02-28", "receptions": 0, "allocations": 0, "reallocations": 0,
            "overrides": 0, "daysToAllocate": none,
            "daysFromReception": {"allocations": 0, "mean": null, "median": null, "max": null},
            "atEnd": {"cases": 0, "allocated": 0, "waiting": 0, "activePoms": 4},
        })
    );
    // Without a period the answer is the months, as before there were periods.
    let months = statistics(&ledger, "").await;
    assert_eq!(assert_ok(&months)[0]["month"], "2026-03");
}

#[tokio::test]
async fn what_is_corrected_counts_as_corrected_and_as_known_then_it_does_not() {
    let ledger = ledger().await;
    let position = ledger.event_count().await;
    let void = |revision: u64| json!({"revision": revision, "reason": "Another person"});
    // The last allocation of the second case, and the reception of the fourth.
    record(&ledger, "POST /prisoners/A0002AA/voids", void(4)).await;
    record(&ledger, "POST /prisoners/A0004AA/voids", void(0)).await;
    let answer = statistics(&ledger, COMPARED).await;
    let [period, comparison] = ["period", "comparison"].map(|of| &assert_ok(&answer)[of]);
    assert_eq!((&period["allocations"], &period["daysToAllocate"]["max"]), (&json!(1), &json!(7)));
    assert_eq!(period["atEnd"], json!({"cases": 4, "allocated": 3, "waiting": 1, "activePoms": 3}));
    assert_eq!((&comparison["receptions"], &comparison["atEnd"]["cases"]), (&json!(2), &json!(3)));
    let known = statistics(&ledger, &format!("{COMPARED}&known-at={position}")).await;
    assert_eq!(*assert_ok(&known), json!({"period": april(), "comparison": march()}));
    assert_eq!(known.header("ledger-position"), Some(position.to_string().as_str()));
}

/// A transfer is a reception only of a person unknown so far, so that it counts for nobody.
#[tokio::test]
async fn arrivals_from_another_prison_are_no_receptions() {
    let ledger = Ledger::start_all_roles().await;
    for (number, part, day, body) in [
        ("A0001AA", "receptions", "03-02", json!({"prison": PRISON, "reason": "TRANSFERRED"})),
        ("A0001AA", "tier", "03-02", json!({"tier": "C1"})),
        ("A0001AA", "allocations", "03-04", allocation(SHAH)),
        ("A0002AA", "tier", "03-01", json!({"tier": "C1", "prison": "MDI"})),
        ("A0002AA", "transfers", "03-02", json!({"toPrison": PRISON})),
        ("A0002AA", "allocations", "03-05", allocation(SHAH)),
    ] {
        assert_eq!(send(&ledger, number, part, &format!("2026-{day}"), body).await, 201, "{number} {part}");
    }
    let march = "from=2026-03-01&to=2026-03-31";
    let known_at = format!("{march}&known-at={}", ledger.event_count().await);
    let assert_none = async |query: &str| {
        let answer = statistics(&ledger, query).await;
        let period = &assert_ok(&answer)["period"];
        assert_eq!((&period["receptions"], &period["allocations"]), (&json!(0), &json!(2)), "{query}");
        let none = json!({"allocations": 0, "mean": null, "median": null, "max": null});
        assert_eq!(period["daysFromReception"], none, "{query}");
    };
    assert_none(march).await;
    assert_none(&known_at).await;
    // What happened since has the case read from the log.
    assert_eq!(send(&ledger, "A0001AA", "tier", "2026-04-01", json!({"tier": "C2"})).await, 201);
    assert_none(&known_at).await;
}

#[tokio::test]
async fn a_period_that_cannot_be_is_refused() {
    let ledger = Ledger::start_all_roles().await;
    for (query, code, detail) in [
        ("from=2026-04-01", "parameter-missing", "to: give it with `from`"),
        ("to=2026-04-01", "parameter-missing", "from: give it with `to`"),
        ("from=2026-04-02&to=2026-04-01", "parameter-invalid", "from: 2026-04-02 is after to, 2026-04-01"),
        ("from=2026-04-01&to=2199-01-01", "parameter-invalid", "to: 2199-01-01 is still to come"),
        ("from=1990-01-01&to=2026-04-01", "parameter-invalid", "to: the period has "),
        ("from=2026-4-1&to=2026-04-01", "parameter-invalid", "from: "),
        ("from=2026-04-01T00:00:00Z&to=2026-04-01", "parameter-invalid", "from: "),
        (
            "comparisonFrom=2026-03-01&comparisonTo=2026-03-31",
            "parameter-missing",
            "from: give it with `to`, for the period that is to be compared",
        ),
        (
            "from=2026-04-01&to=2026-04-01&comparisonTo=2026-03-31",
            "parameter-missing",
            "comparisonFrom: give it with `comparisonTo`",
        ),
        (
            "from=2026-04-01&to=2026-04-01&comparisonFrom=2026-03-02&comparisonTo=2026-03-01",
            "parameter-invalid",
            "comparisonFrom: 2026-03-02 is after comparisonTo, 2026-03-01",
        ),
        ("from=2026-04-01&to=2026-04-01&until=2026-04-01", "parameter-unknown", ""),
    ] {
        let answer = statistics(&ledger, query).await;
        assert_refused(&answer, 400, code);
        let text = answer.body["detail"].as_str().unwrap_or_default();
        assert!(text.starts_with(detail), "{query}: {text}");
    }
}

/// A case as a person would keep it on paper.
#[derive(Default)]
struct PaperCase {
    /// The day of the last reception of this stay, until the case is allocated.
    received: Option<u32>,
    /// Whether a POM holds it.
    is_held: bool,
}

/// The receptions, and the first allocations with the days since the reception, each with its day.
#[derive(Default)]
struct PaperLedger {
    receptions: Vec<u32>,
    allocations: Vec<(u32, Option<u32>)>,
}

impl PaperLedger {
    /// The answer that the ledger should give for days of the year from one to another.
    fn period(&self, from: u32, to: u32) -> Value {
        let within = |day: u32| from <= day && day <= to;
        let allocations = self.allocations.iter().filter(|(day, _)| within(*day));
        let mut days: Vec<u32> = allocations.clone().filter_map(|(_, days)| *days).collect();
        days.sort_unstable();
        let tenths = |days: f64| json!((days * 10.0).round() / 10.0);
        let (mut mean, mut median) = (Value::Null, Value::Null);
        if !days.is_empty() {
            mean = tenths(f64::from(days.iter().sum::<u32>()) / days.len() as f64);
            let halves = days[(days.len() - 1) / 2] + days[days.len() / 2];
            median = tenths(f64::from(halves) / 2.0);
        }
        json!([
            self.receptions.iter().filter(|day| within(**day)).count(),
            allocations.count(),
            {"allocations": days.len(), "mean": mean, "median": median, "max": days.last()},
        ])
    }
}

/// A day of 2025. All months have 28 days, so that no date is none.
fn date(day: u32) -> String {
    format!("2025-{:02}-{:02}", 1 + day / 28, 1 + day % 28)
}

/// Days of the calendar between two such days.
fn days_between(from: u32, to: u32) -> u32 {
    let [from, to] = [from, to].map(|day| date(day).parse::<chrono::NaiveDate>().expect("a date"));
    u32::try_from((to - from).num_days()).expect("in order")
}

#[tokio::test]
async fn random_periods_are_those_of_a_ledger_on_paper() {
    const NUMBERS: [&str; 5] = ["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA"];
    let ledger = Ledger::start_all_roles().await;
    let mut dice = RandomNumbers(7);
    let mut paper = PaperLedger::default();
    let mut cases: [PaperCase; NUMBERS.len()] = Default::default();
    for number in NUMBERS {
        assert_eq!(send(&ledger, number, "tier", "2025-01-01", json!({"tier": "C1"})).await, 201);
    }
    let mut middle = 0;
    for step in 0..140 {
        let day = 1 + step * 2;
        let index = dice.roll(NUMBERS.len());
        let reason = dice.one_of(&["NEW_ADMISSION", "READMISSION", "TRANSFERRED"]);
        let (part, body) = match dice.roll(9) {
            0..=2 => ("receptions", json!({"prison": PRISON, "reason": reason})),
            3..=5 => ("allocations", allocation(dice.one_of(&[SHAH, NOVAK, OKAFOR]))),
            6 | 7 => ("deallocations", json!({"trigger": "MANUAL"})),
            _ => ("releases", json!({})),
        };
        let status = send(&ledger, NUMBERS[index], part, &date(day), body).await;
        assert!([200, 201, 422].contains(&status), "{part}: {status}");
        let case = &mut cases[index];
        match part {
            _ if status != 201 => {}
            "receptions" => {
                let counts = reason != "TRANSFERRED";
                paper.receptions.extend(counts.then_some(day));
                case.received = (counts && !case.is_held).then_some(day);
            }
            "allocations" => {
                paper.allocations.push((day, case.received.take().map(|from| days_between(from, day))));
                case.is_held = true;
            }
            "releases" => *case = PaperCase::default(),
            _ => case.is_held = false,
        }
        if step == 70 {
            middle = ledger.event_count().await;
        }
    }
    assert!(paper.allocations.iter().filter(|(_, days)| days.is_some()).count() > 6, "enough to count");
    for _ in 0..12 {
        let [one, other] = [0; 2].map(|_| u32::try_from(dice.roll(300)).expect("small"));
        let (from, to) = (one.min(other), one.max(other));
        let query = format!("from={}&to={}", date(from), date(to));
        let answer = statistics(&ledger, &query).await;
        let period = &assert_ok(&answer)["period"];
        let got = json!([period["receptions"], period["allocations"], period["daysFromReception"]]);
        assert_eq!(got, paper.period(from, to), "{query}");
        // From the log, too, as far as it went in the middle: nothing of the second half counts.
        let known = statistics(&ledger, &format!("{query}&known-at={middle}")).await;
        let period = &assert_ok(&known)["period"];
        let got = json!([period["receptions"], period["allocations"], period["daysFromReception"]]);
        assert_eq!(got, paper.period(from, to.min(1 + 70 * 2)), "{query} known-at {middle}");
    }
}
