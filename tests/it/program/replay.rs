//! `replay`: the log as JSON lines, whole or filtered, up to its end or continuously.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, ToolOutput, eventually,
    ledger::{Ledger, NOVAK, PRISON, SHAH},
    made_up_events::{append_to_made_up_cases, tiers},
    questions::record,
    run, run_on_terminal, spawn,
};

/// The prison to which one case was transferred.
const ELSEWHERE: &str = "MDI";

/// A ledger with two prisons and four cases. One was transferred, one was merged into another.
pub async fn ledger() -> Ledger {
    let ledger = Ledger::start().await;
    ledger.join_omic(ELSEWHERE).await;
    ledger.case("A1111AA", SHAH).await;
    ledger.case("A2222AA", NOVAK).await;
    ledger.tier("A3333AA").await;
    record(
        &ledger,
        "POST /prisoners/A1111AA/transfers",
        json!({"toPrison": ELSEWHERE, "effectiveAt": "2026-03-01T09:00:00Z"}),
    )
    .await;
    record(
        &ledger,
        "POST /prisoners/A3333AA/merges",
        json!({"removedNumber": "A2222AA", "effectiveAt": "2026-03-02T09:00:00Z"}),
    )
    .await;
    ledger.wait_for_policies().await;
    ledger
}

/// Runs `replay` on a ledger.
async fn replay(ledger: &Ledger, arguments: &[&str]) -> ToolOutput {
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    run(&[&["replay"], &stores[..], arguments].concat()).await
}

#[track_caller]
fn lines(ran: &ToolOutput) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Asserts success and returns the positions of the printed lines.
async fn positions(ledger: &Ledger, arguments: &[&str]) -> Vec<u64> {
    let ran = replay(ledger, arguments).await;
    assert!(ran.status.success() && ran.stderr.is_empty(), "{arguments:?}: {}", ran.stderr);
    lines(&ran).iter().map(|line| line["position"].as_u64().expect("a position")).collect()
}

/// The positions of the events that match.
async fn positions_where(ledger: &Ledger, is_wanted: impl Fn(&Value) -> bool) -> Vec<u64> {
    let all = lines(&replay(ledger, &[]).await);
    all.iter().filter(|line| is_wanted(line)).map(|line| line["position"].as_u64().expect("a position")).collect()
}

#[tokio::test]
async fn replay_prints_the_whole_log_in_order() {
    let ledger = ledger().await;
    let all = lines(&replay(&ledger, &[]).await);
    let events = ledger.events().await;
    let stand = ledger.positions().await;
    assert_eq!(positions(&ledger, &[]).await, stand);
    for (line, stored) in all.iter().zip(&events) {
        let event = http_api::event::EventDocument::new(stored, http_api::Texts::Shown);
        assert_eq!(*line, serde_json::to_value(&event).expect("JSON"), "as over HTTP");
    }
    let (third, fifth) = (stand[2].to_string(), stand[4].to_string());
    assert_eq!(positions(&ledger, &["--from", &third, "--to", &fifth]).await, stand[2..5]);
    assert_eq!(positions(&ledger, &["--after", &third, "--to", &fifth, "--json"]).await, stand[3..5]);
    let head = *stand.last().expect("an event");
    let end = head.to_string();
    assert_eq!(positions(&ledger, &["--from", &end]).await, [head]);
    assert!(positions(&ledger, &["--after", &end]).await.is_empty(), "nothing is new");
}

#[tokio::test]
async fn replay_filters_by_type_prison_and_case() {
    let ledger = ledger().await;
    let of_type = |wanted: &'static [&'static str]| {
        move |line: &Value| line["type"].as_str().is_some_and(|name| wanted.contains(&name))
    };
    let tiers = positions_where(&ledger, of_type(&["TierAssigned"])).await;
    assert_eq!(tiers.len(), 3);
    assert_eq!(positions(&ledger, &["--type", "TierAssigned"]).await, tiers);
    let both = positions_where(&ledger, of_type(&["TierAssigned", "PomRegistered"])).await;
    assert_eq!(positions(&ledger, &["--type", "TierAssigned", "--type", "PomRegistered"]).await, both);
    assert_eq!(positions(&ledger, &["--type", "TierAssigned,PomRegistered"]).await, both);

    // The prison's own stream, and the transfer that names it, but no other event of that case.
    let elsewhere = positions_where(&ledger, |line| {
        line["stream"] == "prison-MDI" || line["data"]["toPrison"] == ELSEWHERE || line["data"]["prison"] == ELSEWHERE
    });
    let elsewhere = elsewhere.await;
    assert_eq!(elsewhere.len(), 2);
    assert_eq!(positions(&ledger, &["--prison", ELSEWHERE]).await, elsewhere);
    assert_eq!(positions(&ledger, &["--prison", "mdi"]).await, elsewhere);
    // The merge lists the events of the removed number.
    let merge = positions_where(&ledger, of_type(&["PrisonerNumberMerged"])).await;
    assert!(positions(&ledger, &["--prison", PRISON]).await.contains(&merge[0]));

    // A case includes the events of all its numbers, whichever of them is given.
    let merged = positions_where(&ledger, |line| {
        ["prisoner-A2222AA", "prisoner-A3333AA"].contains(&line["stream"].as_str().unwrap_or_default())
    });
    let merged = merged.await;
    assert!(merged.len() >= 5);
    assert_eq!(positions(&ledger, &["--prisoner", "A3333AA"]).await, merged);
    assert_eq!(positions(&ledger, &["--prisoner", "a2222aa"]).await, merged);
    assert_eq!(
        positions(&ledger, &["--prisoner", "A2222AA", "--type", "AllocationMade", "--prison", PRISON]).await.len(),
        1
    );
}

#[tokio::test]
async fn replay_filters_by_time_of_recording() {
    let ledger = ledger().await;
    let events = ledger.events().await;
    let (fifth, stand) = (events[4].entry.recorded_at, ledger.positions().await);
    let at = fifth.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let until = events.iter().rposition(|event| event.entry.recorded_at <= fifth).expect("the fifth");
    let since = events.iter().position(|event| event.entry.recorded_at >= fifth).expect("the fifth");
    assert_eq!(positions(&ledger, &["--until", &at]).await, stand[..=until]);
    assert_eq!(positions(&ledger, &["--since", &at]).await, stand[since..]);
    let today = domain::london::date(fifth).to_string();
    assert_eq!(positions(&ledger, &["--since", &today, "--until", "2199-12-31"]).await, stand);
    assert!(positions(&ledger, &["--until", "2020-01-01"]).await.is_empty());
}

#[tokio::test]
async fn replay_raw_prints_the_recorded_bytes() {
    let ledger = ledger().await;
    let events = ledger.log().await.read_all(0, 1_000).await.expect("the log");
    let raw = replay(&ledger, &["--raw"]).await;
    assert_eq!(raw.stdout.lines().count(), events.len());
    for (line, event) in raw.stdout.lines().zip(&events) {
        let [metadata, data] = [&event.metadata, &event.data].map(|bytes| std::str::from_utf8(bytes).expect("UTF-8"));
        assert!(line.ends_with(&format!(r#","metadata":{metadata},"data":{data}}}"#)), "{line}");
        assert!(serde_json::from_str::<Value>(line).expect("JSON").get("position").is_none(), "{line}");
    }
}

#[tokio::test]
async fn replay_digest_is_that_of_the_raw_lines() {
    let ledger = ledger().await;
    let positions = positions(&ledger, &[]).await;
    for up_to in [None, Some(positions[6])] {
        let to = up_to.map(|position| position.to_string());
        let range: Vec<_> = to.iter().flat_map(|position| ["--to", position]).collect();
        let raw = replay(&ledger, &[&["--raw"], &range[..]].concat()).await.stdout;
        let events = raw.lines().count();
        let position = up_to.unwrap_or(ledger.event_count().await);
        assert_eq!(events, up_to.map_or(positions.len(), |_| 7));
        let mut sha256sum = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sha256sum of Debian");
        sha256sum.stdin.take().expect("its input").write_all(raw.as_bytes()).expect("write");
        let told = String::from_utf8(sha256sum.wait_with_output().expect("its output").stdout).expect("a digest");
        let sha256 = told.split(' ').next().expect("a digest");
        let digest = replay(&ledger, &[&["--digest"], &range[..]].concat()).await;
        assert_eq!(digest.stdout, format!("position {position}, {events} events, SHA-256 {sha256}\n"), "{up_to:?}");
        let json = replay(&ledger, &[&["--digest", "--json"], &range[..]].concat()).await;
        assert_eq!(lines(&json), [json!({"position": position, "events": events, "sha256": sha256})]);
    }
}

#[tokio::test]
async fn an_invalid_replay_is_refused_with_a_sentence() {
    let ledger = ledger().await;
    let head = ledger.event_count().await;
    let beyond = (head + 1).to_string();
    let expected = format!("error: the log ends at position {head}: there is no position {beyond} yet\n");
    for argument in ["--from", "--after", "--to"] {
        let ran = replay(&ledger, &[argument, &beyond]).await;
        assert_eq!((ran.status.code(), ran.stdout.as_str(), ran.stderr.as_str()), (Some(1), "", expected.as_str()));
    }
    let to_come = replay(&ledger, &["--since", "2199-01-01", "--follow"]).await;
    assert_eq!(to_come.status.code(), Some(1));
    assert!(to_come.stderr.contains("is yet to come"), "{}", to_come.stderr);
    let backwards = replay(&ledger, &["--from", "5", "--to", "2"]).await;
    assert_eq!(backwards.status.code(), Some(1));
    let unknown = replay(&ledger, &["--prisoner", "Z9999ZZ"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.stderr.contains("nothing is known of Z9999ZZ"), "{}", unknown.stderr);
    for narrowed in [
        &[][..],
        &["--to", "3"],
        &["--after", &head.to_string()],
        &["--until", "2019-01-01"],
        &["--type", "TierAssigned"],
        &["--prisoner", "A1111AA"],
    ] {
        let unlisted = replay(&ledger, &[&["--prison", "LEE"], narrowed].concat()).await;
        assert_eq!((unlisted.status.code(), unlisted.stdout.as_str()), (Some(1), ""), "{narrowed:?}");
        assert!(unlisted.stderr.contains("LEE is not in the list of prisons"), "{}", unlisted.stderr);
    }
    // A prison that the ledger knows may have no event in a part of the log, or of a type.
    let joined = json!({
        "goLiveDate": "2019-01-01", "estate": "MENS_CLOSED", "unlistedPrison": true,
        "effectiveAt": "2019-01-01T00:00:00Z",
    });
    record(&ledger, "POST /prisons/LEE/onboarding", joined).await;
    let (head, quiet) = (ledger.event_count().await, "3");
    let to_head = head.to_string();
    for narrowed in [["--to", quiet], ["--after", &to_head], ["--until", "2019-01-01"], ["--type", "AllocationMade"]] {
        let ran = replay(&ledger, &[&["--prison", "LEE"], &narrowed[..]].concat()).await;
        assert_eq!((ran.status.code(), ran.stdout.as_str()), (Some(0), ""), "{narrowed:?}: {}", ran.stderr);
    }
    let known = replay(&ledger, &["--prison", "LEE"]).await;
    assert_eq!((known.status.code(), lines(&known).len()), (Some(0), 1), "{}", known.stderr);
    for wrong in
        [["--type", "Nonsense"], ["--since", "soon"], ["--until", "7"], ["--prison", "leeds"], ["--from", "-1"]]
    {
        assert_eq!(replay(&ledger, &wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(replay(&ledger, &["--from", "1", "--after", "1"]).await.status.code(), Some(2));
}

#[tokio::test]
async fn a_database_out_of_reach_is_told_with_the_reason_once() {
    let ledger = ledger().await;
    let elsewhere = ledger.database.url.replace(&ledger.database.name, "nosuchdb");
    for (url, reason) in [
        (elsewhere.as_str(), "names: database \"nosuchdb\" does not exist"),
        (
            "postgres://nobody@127.0.0.1:1/ledger",
            "is its server running, and the URL right?: error communicating with database: Connection refused",
        ),
    ] {
        let ran = run(&["replay", "--event-store", url]).await;
        assert_eq!(ran.status.code(), Some(1));
        let (_, last) = reason.rsplit_once(": ").expect("a reason");
        assert!(ran.stderr.contains(reason) && ran.stderr.matches(last).count() == 1, "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

/// A running `replay --follow`, and the lines that it prints.
struct FollowingReplay {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl FollowingReplay {
    fn start(ledger: &Ledger, arguments: &[&str]) -> Self {
        let [flag, store] = ledger.database.store.arguments();
        let command = ["replay", "--follow", flag.as_str(), store.as_str()];
        let mut child = spawn(&[&command, arguments].concat(), Stdio::piped());
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (found, lines) = mpsc::channel();
        // Ends with the output, or when the test drops the receiver.
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| found.send(line)));
        Self { child, lines }
    }

    /// Waits for the next line.
    fn position(&self) -> u64 {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        line["position"].as_u64().expect("a position")
    }
}

impl Drop for FollowingReplay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_follow_prints_new_events_until_interrupted() {
    let ledger = ledger().await;
    let stand = ledger.positions().await;
    let &[.., third_last, second_last, head] = &stand[..] else { panic!("few events: {stand:?}") };
    let all = FollowingReplay::start(&ledger, &["--after", &third_last.to_string()]);
    assert_eq!((all.position(), all.position()), (second_last, head));
    let case = FollowingReplay::start(&ledger, &["--prisoner", "A4444AA"]);
    let merged = FollowingReplay::start(&ledger, &["--prisoner", "A3333AA", "--after", &second_last.to_string()]);
    assert_eq!(merged.position(), head, "it has begun, with what is known of the case now");
    ledger.tier("A4444AA").await;
    let tier = ledger.event_count().await;
    assert_eq!((all.position(), case.position()), (tier, tier));
    // A merge adds the events of the other number.
    record(&ledger, "POST /prisoners/A3333AA/merges", json!({"removedNumber": "A4444AA"})).await;
    let stand = ledger.positions().await;
    let &[.., retired, taken_in] = &stand[..] else { panic!("few events: {stand:?}") };
    assert_eq!((case.position(), case.position()), (retired, taken_in), "retired, and taken in by the other");
    assert_eq!((merged.position(), merged.position()), (retired, taken_in));
    for mut following in [all, case, merged] {
        signal::kill(Pid::from_raw(following.child.id().cast_signed()), Signal::SIGINT).expect("signal it");
        let child = &mut following.child;
        let status = eventually("it to end", async || child.try_wait().expect("wait for it")).await;
        assert_eq!(status.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_a_replay_quietly() {
    let ledger = ledger().await;
    append_to_made_up_cases(&ledger, &tiers(1_000)).await;
    let [flag, store] = ledger.database.store.arguments();
    let command = ["replay", flag.as_str(), store.as_str()];
    let mut child = spawn(&command, Stdio::piped());
    let mut stdout = child.stdout.take().expect("its output");
    stdout.read_exact(&mut [0; 100]).expect("a beginning");
    drop(stdout);
    let status = eventually("it to end", async || child.try_wait().expect("wait for it")).await;
    assert_eq!(status.code(), Some(0));

    // An interrupt ends it even if its output is not read, and it reports the interrupt.
    let mut child = spawn(&command, Stdio::piped());
    let mut stdout = child.stdout.take().expect("its output");
    stdout.read_exact(&mut [0; 100]).expect("a beginning");
    signal::kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("signal it");
    let status = eventually("it to end", async || child.try_wait().expect("wait for it")).await;
    assert_eq!(status.code(), Some(1));
}

/// Damage in the tables of the log.
mod log_in_postgres {
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::support::topology::require_log_in_postgres;

    #[tokio::test]
    async fn damage_is_named_after_the_events_before_it() {
        require_log_in_postgres();
        let ledger = ledger().await;
        let harm = async |statement: &str| {
            // As a superuser, past the triggers that protect the log.
            let sql = format!("BEGIN; SET LOCAL session_replication_role = replica; {statement}; COMMIT");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&ledger.database.pool).await.expect("harm the log");
        };
        let check = async |position: u64| {
            for raw in [&[][..], &["--raw"], &["--digest"], &["--follow"], &["--prison", PRISON]] {
                let ran = replay(&ledger, raw).await;
                assert_eq!(ran.status.code(), Some(1), "{raw:?}: {}", ran.stderr);
                assert!(ran.stderr.contains(&format!("damaged at position {position}:")), "{raw:?}: {}", ran.stderr);
                if !raw.contains(&"--prison") {
                    let printed = if raw.contains(&"--digest") { 0 } else { position - 1 };
                    assert_eq!(ran.stdout.lines().count() as u64, printed, "{raw:?}");
                }
            }
        };
        // The tier of the first case: its stream and its type match the filters.
        let position = ledger.case_events("A1111AA").await[0].entry.position;
        harm(&format!("UPDATE log.event SET data = convert_to('{{\"tier\":', 'UTF8') WHERE position = {position}"))
            .await;
        check(position).await;
        let case = replay(&ledger, &["--prisoner", "A1111AA"]).await;
        assert!(case.status.code() == Some(1) && case.stdout.is_empty(), "{}", case.stderr);
        let before: Vec<u64> = (1..position).collect();
        assert_eq!(
            positions(&ledger, &["--to", &(position - 1).to_string()]).await,
            before,
            "what is sound can be read"
        );
        harm("DELETE FROM log.event WHERE position = 4").await;
        check(4).await;
    }

    /// Events of earlier versions may hold characters that a terminal obeys.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_terminal_is_sent_no_character_that_it_might_obey() {
        require_log_in_postgres();
        let ledger = ledger().await;
        let harmful = "\u{9b}2J\u{202e}";
        let sql = format!(
            "BEGIN; SET LOCAL session_replication_role = replica;
             UPDATE log.event
                SET data = convert_to(replace(convert_from(data, 'UTF8'), '\"name\":\"', '\"name\":\"{harmful}'), 'UTF8')
              WHERE type = 'PomRegistered'; COMMIT"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&ledger.database.pool).await.expect("put them into names");
        let store = ledger.database.store.arguments();
        let store = store.each_ref().map(String::as_str);
        for tool in [&["replay"][..], &["replay", "--raw"], &["export", "log"]] {
            let piped = run(&[tool, &store].concat()).await;
            assert!(piped.stdout.contains(harmful), "{tool:?}: {}{}", piped.stdout, piped.stderr);
            let shown = run_on_terminal(&[tool, &store].concat()).await.stdout;
            assert!(shown.contains("\\u009b2J\\u202e"), "{tool:?}: {shown}");
            assert_eq!(shown.chars().find(|c| *c != '\r' && domain::text::acts_on_terminal(*c)), None, "{tool:?}");
        }
    }

    /// An unknown type may be a damaged name of a type that is asked for.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_unknown_type_is_damage_under_any_filter() {
        require_log_in_postgres();
        let ledger = ledger().await;
        let position = ledger.harm_second_event("A1111AA").await;
        for filter in [&["--type", "AllocationMade"][..], &["--type", "Reallocated", "--prisoner", "A1111AA"]] {
            let ran = replay(&ledger, filter).await;
            assert_eq!(ran.status.code(), Some(1), "{filter:?}: {ran:?}");
            assert!(ran.stderr.contains(&format!("damaged at position {position}:")), "{filter:?}: {}", ran.stderr);
        }
    }
}
