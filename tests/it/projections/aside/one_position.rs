//! An answer is of one position: its rows, its position and the number of streams aside.
//!
//! The views change all the time between two states, as the projector changes them: at the last
//! event a case and a prison go aside, before it both are there. Each answer must be that of one of
//! the two states. No projector runs meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use projector::{VIEWS, View};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::answers::LISTS;
use crate::support::{
    Client, Program, eventually,
    ledger::{Ledger, SHAH},
    projections::execute,
    questions::record,
};

/// The case that goes aside.
const CASE: &str = "A0001AA";

/// The prison that goes aside.
const ELSEWHERE: &str = "MDI";

/// Answers to each question while the views change: as many, and some of each state.
const ANSWERS: usize = 30;

/// The SQL that brings the views from one of the two states to the other.
struct Changes {
    put_aside: String,
    bring_back: String,
}

impl Changes {
    /// Saves the rows of the case and the prison. The views include all of the log.
    async fn prepare(ledger: &Ledger) -> Self {
        let events = ledger.events().await;
        let [.., before, last] = &events[..] else { panic!("two events") };
        let checkpoint = |event: &event_log::StoredEvent| {
            let entry = &event.entry;
            format!(
                "UPDATE views.checkpoint SET position = {}, event_id = '{}', recorded_at = '{}';",
                entry.position,
                entry.event_id.0,
                entry.recorded_at.to_rfc3339()
            )
        };
        let (mut put_aside, mut bring_back) = (checkpoint(last), checkpoint(before));
        for view in VIEWS {
            let rows = rows_aside(view);
            execute(
                &ledger.database.pool,
                &format!("CREATE TABLE public.{view} AS SELECT * FROM views.{view} WHERE {rows}"),
            )
            .await;
            put_aside.push_str(&format!("DELETE FROM views.{view} WHERE {rows};"));
            bring_back.push_str(&format!("INSERT INTO views.{view} SELECT * FROM public.{view};"));
        }
        put_aside.push_str("DELETE FROM views.stream_aside;");
        for (stream, column, owner) in [("prisoner", "prisoner_number", CASE), ("prison", "prison_code", ELSEWHERE)] {
            put_aside.push_str(&format!(
                "INSERT INTO views.stream_aside (stream, {column}, position, revision, event_id, event_type, sql_state, reason)
                 SELECT '{stream}-{owner}', '{owner}', position, 0, event_id, 'TierAssigned', '23514', 'made up'
                   FROM views.checkpoint;"
            ));
        }
        bring_back.push_str("DELETE FROM views.stream_aside;");
        Self { put_aside, bring_back }
    }

    /// Changes the views to and fro until told to end.
    async fn go_on(&self, pool: &PgPool, end: &AtomicBool) {
        while !end.load(Ordering::Relaxed) {
            execute(pool, &self.bring_back).await;
            execute(pool, &self.put_aside).await;
        }
    }
}

/// The condition of the rows that a view has of the case or of the prison.
fn rows_aside(view: View) -> String {
    let owner = view.key()[0];
    format!("{owner} = '{}'", if owner == "prison_code" { ELSEWHERE } else { CASE })
}

/// Asks, and returns the answer without the members that differ from one moment to the next.
async fn ask(client: &Client, path: &str) -> (StatusCode, Value) {
    let numbers = json!([CASE, "A0002AA"]);
    let answer = match path {
        "/allocation/active" => client.send(Method::POST, path, &[], Some(&numbers)).await,
        _ => client.get(path).await,
    };
    let header = |name| answer.header(name).map(str::to_owned);
    let body = match path {
        "/projections" => {
            let views = answer.body.as_array().expect("a list").iter();
            views.map(|view| json!([view["view"], view["position"], view["rows"]])).collect()
        }
        "/health" => {
            let views = &answer.body["components"]["views"]["details"];
            json!([views["position"], views["streamsAside"]])
        }
        _ if answer.status.is_success() => answer.body.clone(),
        _ => answer.body["code"].clone(),
    };
    (answer.status, json!([header("ledger-streams-aside"), header("ledger-position"), body]))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_is_that_of_one_state_of_the_views() {
    let ledger = Ledger::start_all_roles().await;
    ledger.join_omic(ELSEWHERE).await;
    ledger.register_pom(ELSEWHERE, 8, "Patel, Asha", "PRISON").await;
    let contact = json!({"prisonerNumber": CASE, "staffId": 8, "contactType": "POM"});
    record(&ledger, &format!("POST /prisons/{ELSEWHERE}/nomis-contacts"), contact).await;
    // The case and the prison have changed since the first position, and not since the second.
    ledger.tier(CASE).await;
    ledger.tier("A0002AA").await;
    let changed = ledger.event_count().await;
    ledger.allocate(CASE, SHAH).await;
    ledger.register_pom(ELSEWHERE, 9, "Singh, Ravi", "PRISON").await;
    let unchanged = ledger.event_count().await;
    ledger.allocate("A0002AA", SHAH).await;
    ledger.tier("A0003AA").await;
    let head = ledger.wait_for_policies().await.to_string();
    ledger.client().send(Method::GET, "/projections", &[("Ledger-Position-At-Least", &head)], None).await;
    let changes = Changes::prepare(&ledger).await;
    let Ledger { database, program } = ledger;
    assert!(program.stop().await.success());
    let stores = database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let program = Program::serve_with(&[&["--role", "query", "--lag-max", "3600"], &stores[..]].concat()).await;

    let (pool, client) = (&database.pool, program.client());
    execute(pool, &changes.put_aside).await;
    let known = [String::new(), format!("?known-at={changed}"), format!("?known-at={unchanged}")];
    let lists = LISTS.iter().copied().filter(|path| *path != "/projections");
    let elsewhere = ["/prisons/MDI/poms", "/prisons/MDI/nomis-contacts", "/poms/8/cases"];
    let paths = lists.chain(elsewhere).flat_map(|path| known.iter().map(move |known| format!("{path}{known}")));
    let once = [
        "/projections",
        "/health",
        "/poms/8",
        "/poms/485928",
        "/allocation/active",
        "/prisoners/A0001AA/responsibility?on=2026-02-10",
    ];
    for path in paths.chain(once.map(str::to_owned)) {
        let path = path.as_str();
        execute(pool, &changes.bring_back).await;
        let whole = ask(client, path).await;
        execute(pool, &changes.put_aside).await;
        // A check of the health that has just ended still counts.
        let other = async || Some(ask(client, path).await).filter(|answer| *answer != whole);
        let without = eventually("the other answer", other).await;
        let end = AtomicBool::new(false);
        let asking = async {
            let mut seen = [0; 2];
            while seen.iter().sum::<usize>() < ANSWERS || seen.contains(&0) {
                let answer = ask(client, path).await;
                let state = [&whole, &without].iter().position(|state| **state == answer);
                seen[state.unwrap_or_else(|| panic!("{path}: {answer:?} is neither {whole:?} nor {without:?}"))] += 1;
            }
            end.store(true, Ordering::Relaxed);
        };
        tokio::join!(asking, changes.go_on(pool, &end));
    }
}
