//! Both clocks at once: "which cases did each POM hold on 1 March, as known on 5 March?"
//!
//! The yardstick is the program itself. While the ledger grows, the test asks every question at
//! some positions and keeps the answers. When the ledger has grown on, it asks again `known-at`
//! these positions. Cases without later events are answered from the views, the others from the
//! log; both kinds occur.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    ledger::{BYRNE, Ledger, NOVAK, OKAFOR, PRISON, SHAH, assert_refused},
    questions::{ask, assert_ok, members, next_page, record},
    random_numbers::RandomNumbers,
};

/// The second prison.
const ELSEWHERE: &str = "MDI";

/// A prison POM at the second prison.
const JONES: i64 = 485_930;

/// The first four at [`PRISON`], the last at [`ELSEWHERE`], and one of them at both.
const POMS: [i64; 5] = [OKAFOR, BYRNE, SHAH, NOVAK, JONES];

const NUMBERS: [&str; 8] = ["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA", "A0006AA", "A0007AA", "A0008AA"];

/// Commands in a random ledger.
const STEPS: u64 = 75;

/// The number of commands between two rounds of questions.
const STEPS_BETWEEN: u64 = 25;

/// Two prisons. One POM works at both.
async fn start_with_two_prisons() -> Ledger {
    let ledger = Ledger::start_all_roles().await;
    ledger.join_omic(ELSEWHERE).await;
    ledger.register_pom(ELSEWHERE, JONES, "Jones, Ann", "PRISON").await;
    ledger.register_pom(ELSEWHERE, SHAH, "Shah, Priya", "PRISON").await;
    ledger
}

/// Sends a random command to a case or changes a roster. A command that the rules refuse changes
/// nothing.
async fn step(ledger: &Ledger, dice: &mut RandomNumbers, day: u64) {
    let number = dice.one_of(&NUMBERS);
    let case = format!("/prisoners/{number}");
    let prison = dice.one_of(&[PRISON, PRISON, ELSEWHERE]);
    let staff_id = dice.one_of(&POMS);
    // Most steps are a day later than the step before; some are far in the past.
    let day = if dice.roll(6) == 0 { day / 2 } else { day };
    let at = format!("2026-{:02}-{:02}T09:00:00Z", 1 + day / 28, 1 + day % 28);
    let to =
        json!({"prison": prison, "pom": {"staffId": staff_id}, "overrideReasons": ["NO_STAFF"], "effectiveAt": at});
    let (request, mut body) = match dice.roll(20) {
        0..=3 => {
            let tier = dice.one_of(&["A", "B", "B2", "C1", "D"]);
            let crn = format!("X{:06}", dice.roll(1_000_000));
            (format!("POST {case}/tier"), json!({"tier": tier, "source": "DELIUS", "prison": prison, "crn": crn}))
        }
        4..=7 => (format!("POST {case}/allocations"), to),
        8 => {
            let mut to = to;
            to["reason"] = json!("Wing move");
            (format!("POST {case}/reallocations"), to)
        }
        9 => (format!("POST {case}/deallocations"), json!({"trigger": "MANUAL"})),
        10 | 11 => (format!("POST {case}/co-workers"), json!({"prison": prison, "pom": {"staffId": staff_id}})),
        12 => (format!("PUT {case}/community-manager"), json!({"name": dice.one_of(&["Lee, Sam", "Fox, Kit"])})),
        13 | 14 => {
            let release = format!("20{}-{:02}-01", dice.one_of(&[26, 27]), 1 + dice.roll(12));
            let facts = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01",
                "conditionalReleaseDate": release});
            (format!("POST {case}/handover-plans"), facts)
        }
        15 => {
            let decision =
                json!({"responsible": dice.one_of(&["PRISON", "PROBATION"]), "reason": "OTHER", "detail": "Agreed"});
            (format!("PUT {case}/responsibility-override"), decision)
        }
        16 => {
            let request = dice.one_of(&["releases", "transfers"]);
            let body = if request == "transfers" { json!({"toPrison": prison}) } else { json!({}) };
            (format!("POST {case}/{request}"), body)
        }
        17 => (format!("POST {case}/voids"), json!({"revision": dice.roll(6), "reason": "Wrong case"})),
        18 => match dice.roll(3) {
            0 => (format!("POST {case}/merges"), json!({"removedNumber": dice.one_of(&NUMBERS)})),
            1 => {
                let status = dice.one_of(&["ACTIVE", "UNAVAILABLE", "INACTIVE"]);
                (format!("PUT /prisons/{prison}/poms/{staff_id}/status"), json!({"status": status}))
            }
            _ => (format!("PATCH /prisons/{prison}/poms/{staff_id}"), json!({"name": format!("Renamed, {day}")})),
        },
        _ => {
            let contact = json!({"prisonerNumber": number, "staffId": staff_id, "contactType": "POM"});
            (format!("POST /prisons/{prison}/nomis-contacts"), contact)
        }
    };
    if !request.ends_with("voids") {
        body["effectiveAt"] = json!(at);
    }
    let (method, path) = request.split_once(' ').expect("a method and a path");
    let method: Method = method.parse().expect("a method");
    let answer = ledger.client().send(method, path, &[], Some(&body)).await;
    let is_refused = [404, 422].contains(&answer.status.as_u16());
    assert!(answer.status.is_success() || is_refused, "{request} {body}: {}", answer.text);
}

/// A question over HTTP.
#[derive(Debug, Clone)]
struct Question {
    path: String,
    body: Option<Value>,
}

impl Question {
    fn known_at(&self, point: impl std::fmt::Display) -> Self {
        Self { path: known_at(&self.path, point), body: self.body.clone() }
    }
}

/// Every question that takes both clocks, about one day. The answers do not depend on the hour of
/// the test run.
fn questions(on: &str) -> Vec<Question> {
    let mut paths = Vec::new();
    let cases = format!("/prisons/{PRISON}/cases?on={on}");
    for by in [
        "prisonerNumber",
        "tier",
        "pom",
        "phase",
        "handoverStartDate",
        "handoverDate",
        "waitingSince",
        "responsibleSince",
    ] {
        paths.push(format!("{cases}&sort={by}&limit=2"));
        paths.push(format!("{cases}&sort=-{by}&limit=2"));
    }
    for filter in [
        "tier=B".to_owned(),
        "tier=B2".to_owned(),
        "phase=CUSTODY_ONLY".to_owned(),
        "phase=COMMUNITY".to_owned(),
        "responsible=COM".to_owned(),
        "responsible=POM".to_owned(),
        "allocated=true".to_owned(),
        "allocated=false".to_owned(),
        "waiting=true".to_owned(),
        "waiting=false".to_owned(),
        format!("pom={SHAH}"),
        format!("pom={SHAH}&role=PRIMARY"),
        format!("pom={OKAFOR}&role=COWORKING"),
    ] {
        paths.push(format!("{cases}&{filter}"));
    }
    for prison in [PRISON, ELSEWHERE] {
        paths.push(format!("/prisons/{prison}/cases?on={on}"));
        paths.push(format!("/prisons/{prison}/unallocated?on={on}"));
        paths.push(format!("/prisons/{prison}/unallocated?on={on}&tier=B&limit=1"));
        let suggestions = |number| format!("/prisons/{prison}/unallocated/{number}/suggestions?on={on}");
        paths.extend(NUMBERS.map(suggestions));
        paths.push(format!("/prisons/{prison}/handovers?on={on}&within=200d"));
        paths.push(format!("/prisons/{prison}/poms?on={on}"));
    }
    for staff_id in POMS {
        paths.push(format!("/poms/{staff_id}/cases?on={on}&limit=2"));
        paths.push(format!("/poms/{staff_id}/cases?on={on}&role=COWORKING&sort=-tier"));
    }
    paths.extend(NUMBERS.map(|number| format!("/prisoners/{number}/responsibility?on={on}")));
    paths.extend(NUMBERS.map(|number| format!("/prisoners/{number}/responsibility/periods?")));
    let periods = "statistics?from=2026-01-01&to=2026-02-20&comparisonFrom=2026-02-01&comparisonTo=2026-06-30";
    paths.extend(["nomis-contacts", "nomis-contacts?outstanding=false", "statistics", periods].map(|what| {
        let joint = if what.contains('?') { "" } else { "?" };
        format!("/prisons/{PRISON}/{what}{joint}")
    }));
    paths.extend(["/nomis-contacts?limit=1".to_owned(), "/nomis-contacts?outstanding=false".to_owned()]);
    let mut questions: Vec<_> = paths.into_iter().map(|path| Question { path, body: None }).collect();
    questions.push(Question { path: format!("/responsibilities?on={on}"), body: Some(json!(NUMBERS)) });
    questions
}

/// All pages of an answer, and the position that each page names.
async fn whole_answer(ledger: &Ledger, question: &Question, head: u64) -> Value {
    let Question { path, body } = question;
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let head = head.to_string();
    let mut pages = Vec::new();
    let mut next = Some(path.clone());
    while let Some(path) = next {
        let at_least = [("Ledger-Position-At-Least", head.as_str())];
        let answer = ledger.client().send(method.clone(), &path, &at_least, body.as_ref()).await;
        assert!([200, 404, 422].contains(&answer.status.as_u16()), "{path}: {}", answer.text);
        pages.push(json!({"position": answer.header("ledger-position"), "body": answer.body}));
        next = next_page(&answer);
    }
    json!(pages)
}

/// Adds a point of the log to a path.
fn known_at(path: &str, point: impl std::fmt::Display) -> String {
    format!("{path}&known-at={point}").replace("?&", "?")
}

async fn check_random_ledger(seed: u64) {
    let ledger = start_with_two_prisons().await;
    for (index, number) in NUMBERS.into_iter().enumerate() {
        match index % 3 {
            0 => ledger.case(number, SHAH).await,
            1 => ledger.case(number, NOVAK).await,
            _ => drop(ledger.tier(number).await),
        }
    }
    let mut dice = RandomNumbers(seed);
    let mut asked = Vec::new();
    for steps in 1..=STEPS {
        step(&ledger, &mut dice, steps + 35).await;
        if steps % STEPS_BETWEEN != 0 {
            continue;
        }
        // The policies have finished, so the log ends here.
        let position = ledger.wait_for_policies().await;
        for question in ["2026-02-10", "2026-03-20", "2026-12-01"].into_iter().flat_map(questions) {
            let answer = whole_answer(&ledger, &question, position).await;
            assert_eq!(answer[0]["position"], json!(position.to_string()), "{question:?}");
            asked.push((position, question, answer));
        }
    }
    let empty = asked.iter().filter(|(_, _, answer)| answer[0]["body"] == json!([])).count();
    assert!(empty < asked.len() / 3, "{empty} of {} answers are empty, which shows little", asked.len());
    let head = ledger.event_count().await;
    for (position, question, then) in asked {
        let question = question.known_at(position);
        assert_eq!(whole_answer(&ledger, &question, head).await, then, "seed {seed}: {question:?}");
    }
}

#[tokio::test]
async fn an_answer_known_at_a_position_equals_the_answer_given_then() {
    futures::future::join_all([1, 2].map(check_random_ledger)).await;
}

#[tokio::test]
async fn a_list_known_before_a_void_includes_the_voided_allocation() {
    let ledger = start_with_two_prisons().await;
    ledger.case("A0001AA", SHAH).await;
    ledger.case("A0002AA", SHAH).await;
    let before = ledger.event_count().await;
    let mut voids = Vec::new();
    for revision in [1, 0] {
        let void = json!({"revision": revision, "reason": "Another person"});
        record(&ledger, "POST /prisoners/A0001AA/voids", void).await;
        voids.push(ledger.event_count().await);
    }
    let here = format!("/prisons/{PRISON}/cases?on=2026-03-01");
    assert_eq!(members(&ask(&ledger, &here).await, "prisonerNumber"), ["A0002AA"]);
    let known = ask(&ledger, &known_at(&here, before)).await;
    assert_eq!(members(&known, "prisonerNumber"), ["A0001AA", "A0002AA"]);
    assert_eq!(known.header("ledger-position"), Some(before.to_string().as_str()));
    let between = ask(&ledger, &known_at(&here, voids[0])).await;
    assert_eq!(members(&between, "pom")[0], Value::Null, "the allocation voided, the tier not yet");
    let held = ask(&ledger, &known_at(&format!("/poms/{SHAH}/cases?on=2026-03-01"), before)).await;
    assert_eq!(members(&held, "prisonerNumber"), ["A0001AA", "A0002AA"]);
}

#[tokio::test]
async fn a_number_known_before_its_merge_is_a_case_of_its_own() {
    let ledger = start_with_two_prisons().await;
    ledger.case("A0001AA", SHAH).await;
    ledger.case("A0002AA", NOVAK).await;
    let before = ledger.event_count().await;
    record(&ledger, "POST /prisoners/A0002AA/merges", json!({"removedNumber": "A0001AA"})).await;
    ledger.wait_for_policies().await;
    // Far enough in the future that the merge, which took effect now, has ended.
    let here = format!("/prisons/{PRISON}/cases?on=2199-01-01");
    assert_eq!(members(&ask(&ledger, &here).await, "prisonerNumber"), ["A0002AA"]);
    assert_eq!(members(&ask(&ledger, &known_at(&here, before)).await, "prisonerNumber"), ["A0001AA", "A0002AA"]);
    let periods = known_at("/prisoners/A0001AA/responsibility/periods?", before);
    assert_eq!(members(&ask(&ledger, &periods).await, "prisonerNumber")[0], "A0001AA");
}

#[tokio::test]
async fn known_at_takes_a_day_or_an_instant() {
    let ledger = start_with_two_prisons().await;
    ledger.tier("A0001AA").await;
    let tier = ledger.case_events("A0001AA").await.pop().expect("an event").entry;
    ledger.allocate("A0001AA", SHAH).await;
    let (instant, day) = (tier.recorded_at.to_rfc3339().replace('+', "%2B"), domain::london::date(tier.recorded_at));
    let here = format!("/prisons/{PRISON}/cases?on=2026-03-01");
    let then = ask(&ledger, &known_at(&here, &instant)).await;
    assert_eq!(members(&then, "pom"), [Value::Null]);
    assert_eq!(then.header("ledger-position"), Some(tier.position.to_string().as_str()));
    let yesterday = day.pred_opt().expect("a day before");
    assert_eq!(assert_ok(&ask(&ledger, &known_at(&here, yesterday)).await), &json!([]));
    // Today is not over, so the answer is what is known now.
    assert_eq!(members(&ask(&ledger, &known_at(&here, day)).await, "pom")[0]["staffId"], SHAH);

    // The answer cannot change any more, so a client that has it gets a 304.
    let tag = then.header("etag").expect("an entity tag").to_owned();
    let path = known_at(&here, &instant);
    let again = ledger.client().send(Method::GET, &path, &[("If-None-Match", tag.as_str())], None).await;
    assert_eq!(again.status, 304);
}

#[tokio::test]
async fn a_future_position_is_refused() {
    let ledger = start_with_two_prisons().await;
    ledger.case("A0001AA", SHAH).await;
    let head = ledger.event_count().await;
    for question in questions("2026-03-01") {
        let Question { path, body } = question.known_at(head + 1);
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let answer = ledger.client().send(method, &path, &[], body.as_ref()).await;
        assert_refused(&answer, 400, "parameter-invalid");
        let expected = format!(
            "known-at: {} is past the ledger's end, which is at position {head}; ask for an earlier one.",
            head + 1
        );
        assert_eq!(answer.body["detail"], expected, "{path}");
    }
    assert_ok(&ask(&ledger, &known_at("/prisons/LEI/cases?", head)).await);
}
