//! The day of a handover: it is published once, whether or not anything is recorded on it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{PUBLIC_URL, published, received, responsibility, responsibility_override, wait_until_published};
use crate::support::{
    TestDatabase, bare_database,
    estate::Estate,
    fake_clock::FakeClock,
    ledger::{Ledger, NOVAK, PRISON, SHAH},
    projections::execute,
    questions::{determinate_sentence, record},
};

fn set(clock: &FakeClock, to: &str) {
    clock.set(to.parse::<DateTime<Utc>>().expect("an instant") - Utc::now());
}

/// A topic for a ledger with a clock of its own, which begins late on an evening of April.
struct ClockedTopic {
    estate: Estate,
    clock: FakeClock,
    variables: [(&'static str, String); 2],
}

impl ClockedTopic {
    async fn start() -> Option<Self> {
        let (estate, clock) = (Estate::start().await?, FakeClock::new());
        set(&clock, "2026-04-15T22:00:00Z");
        let variables = clock.variables();
        Some(Self { estate, clock, variables })
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        let clock = self.variables.iter().map(|(name, value)| (*name, value.as_str()));
        self.estate.environment().into_iter().chain(clock).collect()
    }

    fn arguments(&self) -> [&str; 4] {
        ["--domain-events-topic", self.estate.topic(), "--public-url", PUBLIC_URL]
    }

    /// A ledger that publishes to the topic, once its publisher has begun.
    async fn ledger(&self) -> Ledger {
        let ledger = Ledger::start_all_roles_in(&self.environment(), &self.arguments()).await;
        wait_until_published(&ledger).await;
        ledger
    }

    /// The ledger of a database again.
    async fn ledger_again(&self, database: TestDatabase, arguments: &[&str]) -> Ledger {
        Ledger::start_all_roles_on(database, &self.environment(), arguments).await
    }
}

/// Waits until the handovers of a day are published.
async fn wait_for_day(ledger: &Ledger, day: &str) {
    let read = async || {
        let row: Option<String> = sqlx::query_scalar("SELECT handover_day::text FROM integration.publication")
            .fetch_optional(&ledger.database.pool)
            .await
            .expect("the checkpoint");
        row.filter(|row| row == day)
    };
    crate::support::eventually("the handovers of the day", read).await;
}

#[tokio::test]
async fn a_handover_goes_out_in_the_morning_once_also_after_missed_days() {
    let Some(topic) = ClockedTopic::start().await else { return };
    let ClockedTopic { estate, clock, .. } = &topic;
    let ledger = topic.ledger().await;
    for (number, pom) in [("A1111AA", SHAH), ("A2222BB", SHAH), ("A3333CC", NOVAK)] {
        ledger.case(number, pom).await;
        record(&ledger, &format!("POST /prisoners/{number}/handover-plans"), determinate_sentence()).await;
    }
    // This one's date makes no difference.
    let decision = json!({"responsible": "PRISON", "reason": "OTHER", "detail": "Agreed",
        "effectiveAt": "2026-03-01T09:00:00Z"});
    record(&ledger, "PUT /prisoners/A2222BB/responsibility-override", decision).await;
    published(&ledger, estate).await;

    // Midnight in London is eleven o'clock in the evening here.
    set(clock, "2026-04-16T22:59:30Z");
    wait_for_day(&ledger, "2026-04-16").await;
    assert_eq!(received(estate).await, []);
    set(clock, "2026-04-16T23:06:00Z");
    wait_for_day(&ledger, "2026-04-17").await;
    let messages = received(estate).await;
    let texts: Vec<&str> = messages.iter().map(|message| message.text.as_str()).collect();
    let expected = ["A1111AA", "A3333CC"].map(|number| responsibility(number, "COMMUNITY", "2026-04-16T23:00:00Z"));
    assert_eq!(texts, expected);
    // The trace tells nothing about the person: it is random (version 4).
    for message in &messages {
        assert_eq!(message.traceparent.get(15..16), Some("4"), "{}", message.traceparent);
    }
    let answer = messages[0].follow(&ledger).await;
    assert_eq!((&answer.body["phase"], answer.status.as_u16()), (&json!("COMMUNITY"), 200), "{}", answer.text);

    // A later plan, whose dates come while nothing runs.
    let mut plan = determinate_sentence();
    plan["conditionalReleaseDate"] = json!("2027-01-20");
    plan["effectiveAt"] = json!("2026-04-16T23:01:00Z");
    record(&ledger, "POST /prisoners/A3333CC/handover-plans", plan).await;
    let types: Vec<Value> =
        published(&ledger, estate).await.iter().map(|message| message.event["eventType"].clone()).collect();
    assert_eq!(types, ["offender-management.handover.changed", "offender-management.responsibility.changed"]);
    let Ledger { database, program } = ledger;
    program.kill();
    set(clock, "2026-05-20T09:00:00Z");
    let ledger = topic.ledger_again(database, &topic.arguments()).await;
    wait_for_day(&ledger, "2026-05-20").await;
    let messages = received(estate).await;
    let texts: Vec<&str> = messages.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, [responsibility("A3333CC", "COMMUNITY", "2026-05-05T23:00:00Z")]);
    // Once: neither after a restart nor with the next command.
    let Ledger { database, program } = ledger;
    program.kill();
    let ledger = topic.ledger_again(database, &topic.arguments()).await;
    let tier = json!({"tier": "B1", "source": "DELIUS", "prison": PRISON, "effectiveAt": "2026-05-20T08:00:00Z"});
    record(&ledger, "POST /prisoners/A3333CC/tier", tier).await;
    assert_eq!(published(&ledger, estate).await, []);
}

/// An override that leaves nothing to hand over later.
fn probation_since(instant: &str) -> Value {
    json!({"responsible": "PROBATION", "reason": "OTHER", "detail": "Agreed", "effectiveAt": instant})
}

/// The views know nothing any more of the handovers that came while nothing was published.
#[tokio::test]
async fn a_missed_handover_is_told_whatever_is_recorded_before_publishing_goes_on() {
    let Some(topic) = ClockedTopic::start().await else { return };
    let ClockedTopic { estate, clock, .. } = &topic;
    let ledger = topic.ledger().await;
    for number in ["A1111AA", "A2222BB", "A3333CC"] {
        ledger.case(number, SHAH).await;
        record(&ledger, &format!("POST /prisoners/{number}/handover-plans"), determinate_sentence()).await;
    }
    ledger.case("B4444DD", NOVAK).await;
    published(&ledger, estate).await;
    let position = ledger.event_count().await;
    let Ledger { database, program } = ledger;
    program.kill();

    set(clock, "2026-04-19T09:00:00Z");
    let ledger = topic.ledger_again(database, &[]).await;
    // Since before the days that were missed, on which the views have nothing of the case then.
    let late = probation_since("2026-04-14T12:00:00Z");
    record(&ledger, "PUT /prisoners/A1111AA/responsibility-override", late).await;
    let merge = json!({"removedNumber": "A2222BB", "effectiveAt": "2026-04-18T09:00:00Z"});
    record(&ledger, "POST /prisoners/B4444DD/merges", merge).await;
    ledger.wait_for_policies().await;
    let Ledger { database, program } = ledger;
    assert!(program.stop().await.success());
    let leave_out = "DELETE FROM views.case_period WHERE prisoner_number = 'A3333CC';
        INSERT INTO views.stream_aside
            (stream, prisoner_number, position, revision, event_id, event_type, sql_state, reason)
            VALUES ('prisoner-A3333CC', 'A3333CC', 1, 0, gen_random_uuid(), 'TierAssigned', '23514', 'a mistake')";
    execute(&database.pool, leave_out).await;

    let ledger = topic.ledger_again(database, &topic.arguments()).await;
    wait_for_day(&ledger, "2026-04-19").await;
    let messages = published(&ledger, estate).await;
    let missed = messages.iter().filter(|message| message.position == position);
    let missed: Vec<&str> = missed.map(|message| message.text.as_str()).collect();
    let expected =
        ["A1111AA", "A2222BB", "A3333CC"].map(|number| responsibility(number, "COMMUNITY", "2026-04-16T23:00:00Z"));
    assert_eq!(missed, expected);
}

#[tokio::test]
async fn an_entry_just_after_midnight_tells_the_handover_of_the_day_once() {
    let Some(topic) = ClockedTopic::start().await else { return };
    let ClockedTopic { estate, clock, .. } = &topic;
    let ledger = topic.ledger().await;
    for number in ["A1111AA", "A2222BB"] {
        ledger.case(number, SHAH).await;
        record(&ledger, &format!("POST /prisoners/{number}/handover-plans"), determinate_sentence()).await;
    }
    set(clock, "2026-04-16T22:50:00Z");
    wait_for_day(&ledger, "2026-04-16").await;
    published(&ledger, estate).await;

    // One removes the handover of this day, which is not yet told, and one leaves it.
    set(clock, "2026-04-16T23:01:00Z");
    let late = probation_since("2026-04-16T12:00:00Z");
    record(&ledger, "PUT /prisoners/A1111AA/responsibility-override", late).await;
    let tier = json!({"tier": "B1", "source": "DELIUS", "prison": PRISON, "effectiveAt": "2026-04-16T23:00:30Z"});
    record(&ledger, "POST /prisoners/A2222BB/tier", tier).await;
    let messages = published(&ledger, estate).await;
    let told: Vec<&str> = messages.iter().map(|message| message.text.as_str()).collect();
    let expected = [
        responsibility_override("A1111AA", Some(("PROBATION", "OTHER")), "2026-04-16T12:00:00Z"),
        responsibility("A1111AA", "COMMUNITY", "2026-04-16T12:00:00Z"),
        responsibility("A2222BB", "COMMUNITY", "2026-04-16T23:00:00Z"),
    ];
    assert_eq!(told, expected);
    // What two commands have done and undone before the day is published goes out, too.
    let end = json!({"trigger": "MANUAL", "effectiveAt": "2026-04-16T23:00:40Z"});
    record(&ledger, "POST /prisoners/A2222BB/deallocations", end).await;
    let back = json!({"prison": PRISON, "pom": {"staffId": SHAH}, "effectiveAt": "2026-04-16T23:00:50Z"});
    record(&ledger, "POST /prisoners/A2222BB/allocations", back).await;
    let messages = published(&ledger, estate).await;
    let told: Vec<&Value> =
        messages.iter().map(|message| &message.event["additionalInformation"]["staffCode"]).collect();
    assert_eq!(told, [&Value::Null, &json!(SHAH)]);
    set(clock, "2026-04-16T23:06:00Z");
    wait_for_day(&ledger, "2026-04-17").await;
    assert_eq!(received(estate).await, []);
}

/// The views are large, and a statement may take seconds at most.
#[tokio::test]
async fn the_periods_of_a_day_are_found_by_an_index() {
    let database = bare_database().await;
    projector::migrate(&database.pool).await.expect("views");
    let mut transaction = database.pool.begin().await.expect("a transaction");
    let no_scan = sqlx::query("SET LOCAL enable_seqscan = off");
    no_scan.execute(&mut *transaction).await.expect("no scan of the table");
    let explain = "EXPLAIN SELECT prisoner_number FROM views.case_period
        WHERE valid_from >= '2026-04-17' AND valid_from <= '2026-04-18'";
    let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut *transaction).await.expect("a plan");
    assert!(plan.join("\n").contains("case_period_valid_from"), "{plan:?}");
}
