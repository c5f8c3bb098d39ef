//! The limits on what clients ask, and on what one of them may take from the others.

use std::time::Instant;

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::support::{
    HttpAnswer, PATIENCE, Program, eventually,
    ledger::{Ledger, SHAH, assert_refused},
    made_up_events::{append_to_made_up_cases, tiers},
    questions::ask,
    raw_http::{connect_from, exchange_from, status},
    tokens::{GuardedProgram, TestKey, changed, client, seconds_from_now},
    topology::{require_log_in_postgres, require_single_program},
};

const HOST: &str = "Host: localhost";

/// How many of as many requests as one connection takes at once are answered with a status.
async fn count(client: u8, program: &Program, requests: usize, head: &str, wanted: &str) -> usize {
    let request = format!("GET /event-types HTTP/1.1\r\n{HOST}\r\n{head}\r\n").repeat(requests);
    let answers = exchange_from(client, program.client().base_url(), &request).await;
    answers.matches(&format!("HTTP/1.1 {wanted} ")).count()
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_to_wait_and_others_are_not() {
    require_single_program();
    // Two at once, and one more in each second: few are answered of twenty, however slow the
    // machine is.
    let limits = ["--rate-limit", "1", "--trusted-proxy", "127.0.0.9,10.0.0.0/8"];
    let guarded = GuardedProgram::serve(None, &limits).await;
    let program = &guarded.program;
    let url = program.client().base_url();
    assert_eq!(count(2, program, 2, "", "200").await, 2);
    let refused = exchange_from(2, url, &format!("GET /events HTTP/1.1\r\n{HOST}\r\n\r\n").repeat(20)).await;
    assert!(refused.contains("rate-limited") && refused.contains("retry-after: 1\r\n"), "{refused}");
    for probed in ["/health", "/ping", "/info", "/metrics"] {
        let answers = exchange_from(2, url, &format!("GET {probed} HTTP/1.1\r\n{HOST}\r\n\r\n").repeat(20)).await;
        assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 20, "{probed}");
    }
    // Behind a proxy that is trusted each address is a client; elsewhere the header says nothing.
    for behind in ["198.51.100.1", "203.0.113.7, 198.51.100.2", "198.51.100.3, 10.1.2.3"] {
        assert_eq!(count(9, program, 2, &format!("X-Forwarded-For: {behind}\r\n"), "200").await, 2, "{behind}");
        assert!(count(9, program, 20, &format!("X-Forwarded-For: {behind}\r\n"), "429").await > 10, "{behind}");
    }
    assert_eq!(count(4, program, 2, "X-Forwarded-For: 198.51.100.4\r\n", "200").await, 2);
    assert!(count(4, program, 20, "X-Forwarded-For: 198.51.100.5\r\n", "429").await > 10);
    eventually("the client may ask again", async || (count(2, program, 1, "", "200").await == 1).then_some(())).await;
}

#[tokio::test]
async fn each_principal_is_a_client_wherever_it_asks_from() {
    require_single_program();
    let key = TestKey::of_sign_on();
    let guarded = GuardedProgram::serve(Some(&key), &["--rate-limit", "1"]).await;
    let (url, roles) = (guarded.program.client().base_url(), ["ROLE_ALLOCATION_LEDGER__RO"]);
    let [one, other] = ["one", "other"].map(|id| key.token(&client(id, &roles, "read")));
    let ask = async |from, token: &str, times| {
        let head = format!("GET /projections HTTP/1.1\r\n{HOST}\r\nAuthorization: Bearer {token}\r\n\r\n");
        let answers = exchange_from(from, url, &head.repeat(times)).await;
        [200, 429].map(|status| answers.matches(&format!("HTTP/1.1 {status} ")).count())
    };
    // A token is verified first, and until then counts for the address.
    assert_eq!(ask(2, &one, 3).await, [3, 0]);
    assert!(ask(2, &one, 20).await[1] > 10);
    assert!(ask(3, &one, 20).await[1] > 10, "the same principal from another address");
    assert_eq!(ask(2, &other, 3).await, [3, 0], "another principal from the same address");
}

/// Opens a stream of events and reads the beginning.
async fn open_stream(client: u8, program: &Program, head: &str) -> (TcpStream, String) {
    let mut connection = connect_from(client, program.client().base_url()).await;
    let request = format!("GET /events HTTP/1.1\r\n{HOST}\r\nAccept: text/event-stream\r\n{head}\r\n");
    connection.write_all(request.as_bytes()).await.expect("send");
    let begun = read_beginning(&mut connection).await;
    (connection, begun)
}

/// Reads an answer up to the end of its head.
async fn read_beginning(connection: &mut TcpStream) -> String {
    let mut begun = Vec::new();
    while !begun.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let read = timeout(PATIENCE, connection.read_buf(&mut begun)).await.expect("an answer in time");
        assert!(read.expect("an answer") > 0, "the connection ended");
    }
    String::from_utf8_lossy(&begun).into_owned()
}

#[tokio::test]
async fn a_client_has_some_of_the_streams_and_never_all() {
    let ledger = Ledger::start_all_roles().await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        let (stream, answer) = open_stream(2, &ledger.program, "").await;
        assert_eq!(status(&answer), "200", "{answer}");
        streams.push(stream);
    }
    let (_, answer) = open_stream(2, &ledger.program, "").await;
    assert!(status(&answer) == "503" && answer.contains("retry-after: 1\r\n"), "{answer}");
    let (_other, answer) = open_stream(3, &ledger.program, "").await;
    assert_eq!(status(&answer), "200", "{answer}");
    drop(streams.pop());
    eventually("a stream of a client that has gone is free", async || {
        (status(&open_stream(2, &ledger.program, "").await.1) == "200").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    require_single_program();
    let key = TestKey::of_sign_on();
    let guarded = GuardedProgram::serve(Some(&key), &[]).await;
    let roles = ["ROLE_ALLOCATION_LEDGER__EXPORT", "ROLE_ALLOCATION_LEDGER__RW"];
    let token = |claims| format!("Bearer {}", key.token(&claims));
    let head = |claims| format!("Connection: close\r\nAuthorization: {}\r\n", token(claims));
    let (mut lasting, _) = open_stream(2, &guarded.program, &head(client("reader", &roles, "read"))).await;
    // Clocks may be a minute apart, so this one counts for some seconds more.
    let expiring = changed(client("reader", &roles, "read"), json!({"exp": seconds_from_now(-57)}));
    let (mut stream, answer) = open_stream(2, &guarded.program, &head(expiring)).await;
    assert_eq!(status(&answer), "200", "{answer}");
    let mut rest = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut rest)).await.expect("the stream ends").expect("a stream in UTF-8");
    assert!(rest.ends_with("0\r\n\r\n"), "an end in order: {rest}");
    // The other one goes on.
    let authorization = token(client("reader", &roles, "write"));
    let tier = json!({"tier": "B1", "source": "MANUAL"});
    let headers = [("Authorization", authorization.as_str())];
    guarded.program.client().send(Method::POST, "/prisoners/A1234BC/tier", &headers, Some(&tier)).await;
    let mut more = Vec::new();
    while !String::from_utf8_lossy(&more).contains("TierAssigned") {
        assert!(timeout(PATIENCE, lasting.read_buf(&mut more)).await.expect("in time").expect("more") > 0);
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_refused_in_time() {
    let ledger = Ledger::start().await;
    let begun = Instant::now();
    let request = format!(
        "POST /prisoners/A1234BC/tier HTTP/1.1\r\n{HOST}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n{{\"tier\":"
    );
    let mut connection = connect_from(2, ledger.client().base_url()).await;
    connection.write_all(request.as_bytes()).await.expect("send");
    let mut answer = String::new();
    timeout(PATIENCE, connection.read_to_string(&mut answer)).await.expect("an end").expect("an answer");
    assert!(status(&answer) == "408" && answer.contains("body-slow"), "{answer}");
    assert!(begun.elapsed().as_secs() >= 29, "{:?}", begun.elapsed());
    assert!(ledger.types("A1234BC").await.is_empty());
}

/// Sends the beginning of a command in a chunk.
async fn begin_chunked(client: u8, ledger: &Ledger, number: &str, body: &str) -> TcpStream {
    let mut connection = connect_from(client, ledger.client().base_url()).await;
    let begun = format!(
        "POST /prisoners/{number}/tier HTTP/1.1\r\n{HOST}\r\nContent-Type: application/json\r\n\
         Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
        body.len()
    );
    connection.write_all(begun.as_bytes()).await.expect("send");
    connection
}

#[tokio::test]
async fn a_chunked_body_counts_as_it_comes() {
    let ledger = Ledger::start().await;
    let numbers: Vec<_> = (1000..1040).map(|number| format!("A{number}BC")).collect();
    let mut at_work = Vec::new();
    for number in &numbers {
        at_work.push(begin_chunked(2, &ledger, number, r#"{"tier":"B2","#).await);
    }
    for (connection, number) in at_work.iter_mut().zip(&numbers) {
        let rest = "13\r\n\"source\": \"DELIUS\"}\r\n0\r\n\r\n";
        connection.write_all(rest.as_bytes()).await.expect("send");
        let mut answer = String::new();
        timeout(PATIENCE, connection.read_to_string(&mut answer)).await.expect("an end").expect("an answer");
        assert_eq!(status(&answer), "201", "{number}: {answer}");
    }

    let count = ledger.event_count().await;
    let long = format!("{{\"tier\":\"{}", "x".repeat(1_900_000));
    let mut long_bodies = JoinSet::new();
    for _ in 0..20 {
        let mut connection = begin_chunked(3, &ledger, "A1111AA", &long).await;
        long_bodies.spawn(async move {
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await.map(|_| answer)
        });
    }
    let refused = timeout(PATIENCE, long_bodies.join_next()).await.expect("a refusal in time").expect("an answer");
    let refused = refused.expect("a task").expect("an answer");
    assert!(status(&refused) == "429" && refused.contains("rate-limited"), "{refused}");
    assert_eq!(ledger.event_count().await, count);
}

#[tokio::test]
async fn an_expectation_that_there_is_not_is_refused() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    let path = "/prisoners/A1234BC/responsibility";
    assert_eq!(ask(&ledger, path).await.status, 200);
    for (expected, status) in [("rubbish", 400), ("100-Continue", 200)] {
        let answer = ledger.client().send(Method::GET, path, &[("Expect", expected)], None).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    let answer = ledger.client().send(Method::GET, path, &[("Expect", "rubbish")], None).await;
    assert_eq!(assert_refused(&answer, 400, "header-invalid").body["errors"][0]["header"], "expect");
}

/// Bulk reads of the log.
mod log_in_postgres {
    use access_log::{AccessQuestion, read_entries};
    use domain::{Event, officer::CommunityManager, prisoner::PrisonerEvent};
    use uuid::Uuid;

    use super::*;

    /// Events of which a page has some 4 MB: more than the system takes for a client that does not
    /// read, and more than half of what a client may leave untaken.
    fn long_events() -> Vec<Event> {
        let manager =
            CommunityManager { name: "Lee, Sam".to_owned(), team: Some("x".repeat(400_000)), email: None, ldu: None };
        vec![Event::Prisoner(PrisonerEvent::CommunityManagerAssigned(manager)); 12]
    }

    #[tokio::test]
    async fn an_answer_for_which_there_is_no_room_is_no_read_in_the_access_log() {
        require_log_in_postgres();
        let ledger = Ledger::start_all_roles().await;
        append_to_made_up_cases(&ledger, &long_events()).await;
        let mut untaken = Vec::new();
        let refused = loop {
            let mut connection = connect_from(2, ledger.client().base_url()).await;
            let id = Uuid::new_v4();
            let request = format!("GET /events?limit=1000 HTTP/1.1\r\n{HOST}\r\nX-Correlation-Id: {id}\r\n\r\n");
            connection.write_all(request.as_bytes()).await.expect("send");
            let answer = read_beginning(&mut connection).await;
            if status(&answer) == "429" {
                break id;
            }
            assert!(status(&answer) == "200" && untaken.len() < 10, "{answer}");
            untaken.push((connection, id));
        };
        // Entries are stored in their order.
        let last = Uuid::new_v4().to_string();
        ledger.client().send(Method::GET, "/prisoners/G0000ZZ/history", &[("X-Correlation-Id", &last)], None).await;
        let stored = eventually("the entry of the last read", async || {
            let question = AccessQuestion { rows: 1_000, ..AccessQuestion::default() };
            let page = read_entries(&ledger.database.pool, &question).await.expect("the access log");
            let ids: Vec<_> = page.entries.into_iter().filter_map(|entry| entry.correlation_id).collect();
            ids.iter().any(|id| id.to_string() == last).then_some(ids)
        })
        .await;
        assert!(untaken.iter().all(|(_, id)| stored.contains(id)) && !stored.contains(&refused), "{stored:?}");
    }

    /// As many readers at once as would use up the connections of a Postgres with usual settings.
    const READERS: usize = 110;

    /// The fewest events of a page that is read as a large one.
    const EVENTS: usize = 500;

    /// Connections of the program that read the log, in small pages and in large ones.
    const LOG_READERS_MAX: i64 = 16 + 3;

    #[tokio::test(flavor = "multi_thread")]
    async fn bulk_reads_share_a_few_connections() {
        require_log_in_postgres();
        let ledger = Ledger::start_all_roles().await;
        append_to_made_up_cases(&ledger, &tiers(EVENTS)).await;
        // Later than the connections of this test.
        let begun = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&ledger.database.pool).await;
        let begun: chrono::DateTime<chrono::Utc> = begun.expect("the time");
        let page = format!("/events?limit={EVENTS}");
        let readers = join_all((0..READERS).map(|_| ledger.client().get(&page)));
        let mut readers = std::pin::pin!(readers);
        let mut most = 0;
        let answers = loop {
            let connections = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND application_name = 'allocation-ledger log reader'
                    AND backend_start >= $1",
            )
            .bind(begun);
            tokio::select! {
                answers = &mut readers => break answers,
                count = connections.fetch_one(&ledger.database.pool) => {
                    most = most.max(count.expect("the connections"));
                }
            }
        };
        assert!((1..=LOG_READERS_MAX).contains(&most), "{most} connections");
        // Postgres has room all the time. A client that takes its answers slowly is told so, and so
        // is one that waited in vain for a free connection, on a busy machine.
        let codes = ["rate-limited", "event-store-unavailable"].map(|code| json!(code));
        let is_told = |answer: &HttpAnswer| answer.status == 200 || codes.contains(&answer.body["code"]);
        let others: Vec<_> = answers.iter().filter(|answer| !is_told(answer)).map(|answer| &answer.text).collect();
        assert!(others.is_empty() && answers.iter().any(|answer| answer.status == 200), "{others:?}");
    }
}
