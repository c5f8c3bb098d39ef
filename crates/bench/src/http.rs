//! Commands and questions over HTTP, on a serving ledger.
//!
//! The client shares the machine's cores with the ledger, so it does as little as possible:
//! requests are made beforehand, connections are kept alive, and of each answer only the status is
//! read.

use std::{net::SocketAddr, path::Path, sync::Mutex, time::Duration};

use allocation_ledger::{look_up_settings::LookUpSettings, serve, shared_settings};
use anyhow::{Context as _, bail};
use domain::{caseload::TierWeights, identifier::PrisonerNumber};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    measure::{MeasuredCalls, calls, millis, number},
    table::ResultTable,
};

/// The numbers of connections that send commands, and that send questions.
const WRITERS: u64 = 64;
const READERS: u64 = 16;

/// The largest number of cases that questions are about.
const CASES_MAX: usize = 10_000;

/// Measures commands over HTTP, then `GET …/responsibility`.
pub(crate) async fn posts_and_gets(
    directory: &Path,
    commands: &shared_settings::CommandSettings,
    duration: Duration,
    table: &mut ResultTable,
) -> anyhow::Result<()> {
    let running = serve::ServingLedger::start(&serve::ServeSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        hosts: Vec::new(),
        trusted_proxies: Vec::new(),
        rate_limit: serve::RATE_LIMIT,
        sign_on: serve::SignOnSettings::default(),
        pages: serve::PagesSettings::default(),
        tls: serve::ServerTlsSettings::default(),
        message_queue: shared_settings::MessageQueueSettings::default(),
        look_ups: LookUpSettings::default(),
        publisher: serve::PublisherSettings::default(),
        audit: serve::AuditSettings::default(),
        access_log: serve::AccessLogSettings::default(),
        role: serve::Role::All,
        stores: shared_settings::StoreSettings::in_dir(directory.join("http")),
        commands: commands.clone(),
        tier_weights: TierWeights::default(),
        lag_max: serve::LAG_MAX_SECONDS,
        product_id: "default".to_owned(),
    })
    .await?;
    let measured = measure(&running, duration, table).await;
    running.stop().await?;
    measured
}

async fn measure(running: &serve::ServingLedger, duration: Duration, table: &mut ResultTable) -> anyhow::Result<()> {
    let address = running.url().trim_start_matches("http://").to_owned();
    let posts = calls_over_http(&address, WRITERS, duration, async |connection, index| {
        connection.ask(&tier_request(&address, &number(index), "B2")).await.map(drop)
    })
    .await?;
    table.writes(&format!("commands over HTTP, {WRITERS} connections"), posts.rate, 0.4);
    running.wait_for_views().await?;
    let cases = &posts.indexes[..posts.indexes.len().min(CASES_MAX)];
    let ask = async |connection: &mut Connection, index: u64| {
        let number = number(cases[usize::try_from(index).unwrap_or(0) % cases.len()]);
        let request = format!("GET /prisoners/{number}/responsibility HTTP/1.1\r\nHost: {address}\r\n\r\n");
        connection.ask(&request).await.map(drop)
    };
    let alone = calls_over_http(&address, 1, duration / 2, ask).await?;
    table.time("GET …/responsibility, 1 connection, median", millis(alone.median), "under 1 ms");
    let gets = calls_over_http(&address, READERS, duration, ask).await?;
    table.reads(&format!("GET …/responsibility, {READERS} connections"), gets.rate, 0.5);
    Ok(())
}

/// As [`calls`], with a connection for each caller.
pub(crate) async fn calls_over_http(
    address: &str,
    connections: u64,
    duration: Duration,
    once: impl AsyncFn(&mut Connection, u64) -> anyhow::Result<()>,
) -> anyhow::Result<MeasuredCalls> {
    let mut pool = Vec::new();
    for _ in 0..connections {
        pool.push(Connection::open(address).await?);
    }
    let (pool, once) = (&Mutex::new(pool), &once);
    calls(connections, duration, |index| async move {
        // There are as many callers as connections, so one is always free.
        let connection = pool.lock().ok().and_then(|mut pool| pool.pop());
        let mut connection = connection.context("take a connection")?;
        once(&mut connection, index).await?;
        if let Ok(mut pool) = pool.lock() {
            pool.push(connection);
        }
        Ok(())
    })
    .await
}

/// A request to give the case of a prisoner a tier.
pub(crate) fn tier_request(address: &str, number: &PrisonerNumber, tier: &str) -> String {
    let body = format!(r#"{{"tier":"{tier}","source":"DELIUS","crn":"X123456","prison":"LEI"}}"#);
    format!(
        "POST /prisoners/{number}/tier HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A kept-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connect to the ledger")?;
        stream.set_nodelay(true).context("set a connection up")?;
        Ok(Self { stream, answer: Vec::with_capacity(4096) })
    }

    /// Sends a request and reads the answer, which must be a success with a length. Returns its
    /// head.
    pub(crate) async fn ask(&mut self, request: &str) -> anyhow::Result<&str> {
        self.stream.write_all(request.as_bytes()).await.context("send a request")?;
        self.answer.clear();
        let head_len = loop {
            if self.stream.read_buf(&mut self.answer).await.context("read an answer")? == 0 {
                bail!("the ledger closed the connection");
            }
            let Some(head_len) = self.answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.answer[..head_len]).context("read an answer's head")?;
            let body_len = header(head, "content-length").and_then(|length| length.parse().ok());
            let body_len: usize = body_len.context("find an answer's length")?;
            if self.answer.len() < head_len + 4 + body_len {
                continue;
            }
            if !head.starts_with("HTTP/1.1 2") {
                bail!("the ledger answered: {}", String::from_utf8_lossy(&self.answer));
            }
            break head_len;
        };
        std::str::from_utf8(&self.answer[..head_len]).context("read an answer's head")
    }
}

/// Asks over a connection of its own. Answers the head and the body, as text.
pub(crate) async fn ask_once(address: SocketAddr, request: &str) -> anyhow::Result<String> {
    let mut connection = Connection::open(&address.to_string()).await?;
    connection.ask(request).await?;
    Ok(String::from_utf8_lossy(&connection.answer).into_owned())
}

/// The value of a header in an answer's head.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers.find_map(|(its_name, value)| its_name.eq_ignore_ascii_case(name).then(|| value.trim()))
}
