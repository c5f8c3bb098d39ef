//! The limits of an upload: its size, its type, its content, and the number of them.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::stream;
use serde_json::json;

use super::{data, one_case, record, upload, wait_for};
use crate::support::{
    Client,
    ledger::{Ledger, assert_refused},
    raw_http::{exchange, status},
};

const LEN_MAX: usize = 64 << 20;

const PATH: &str = "/prisons/LEI/spreadsheets?file-name=cases.csv";

/// A file of zeros in chunks, which does not tell its length. The memory of the process that gets
/// them is noted with each.
fn chunked(len: usize, process: i32, peak: &Arc<AtomicUsize>) -> reqwest::Body {
    const CHUNK: usize = 1 << 20;
    let (chunk, peak) = (bytes::Bytes::from(vec![0; CHUNK]), Arc::clone(peak));
    reqwest::Body::wrap_stream(stream::iter((0..len / CHUNK).map(move |_| {
        peak.fetch_max(memory(process), Ordering::Relaxed);
        Ok::<_, std::io::Error>(chunk.clone())
    })))
}

/// The memory that a process has now, in bytes.
fn memory(process: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the state of the process");
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    resident.map(|kib: usize| kib << 10).expect("its memory")
}

#[tokio::test]
async fn a_file_may_have_64_mib_and_is_never_whole_in_memory() {
    let ledger = Ledger::empty().await;
    let client = ledger.client();
    // A first upload takes memory of its own.
    let small = upload(client, "LEI", "file-name=a.csv", one_case("A0001BC")).await;
    wait_for(client, &small, &["READ"]).await;
    let process = ledger.program.pid();
    let (before, peak) = (memory(process), Arc::new(AtomicUsize::new(0)));
    let path = upload(client, "LEI", "file-name=zeros.csv", chunked(LEN_MAX, process, &peak)).await;
    let failed = wait_for(client, &path, &["FAILED"]).await;
    let detail = failed["detail"].as_str().expect("a sentence");
    assert!(detail.starts_with("This cannot be imported: the file"), "{detail}");
    let grown = peak.load(Ordering::Relaxed).max(memory(process)).saturating_sub(before);
    assert!(grown < LEN_MAX / 2, "{grown} bytes");
    assert_refused(&client.get(&format!("{path}/rows")).await, 409, "import-not-ready");
    assert_refused(&record(client, &path, None, None).await, 409, "import-not-ready");

    let longer = client.upload(PATH, &[], chunked(LEN_MAX + (1 << 20), process, &peak)).await;
    assert_refused(&longer, 413, "body-too-large");
    assert!(longer.text.contains("64 MiB"), "{}", longer.text);
    let announced = format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: {}\r\n\r\n",
        LEN_MAX + 1
    );
    assert_eq!(status(&exchange(client.base_url(), &announced).await), "413");
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let ledger = Ledger::empty().await;
    let client = ledger.client();
    for _ in 0..20 {
        let file = one_case("A0001BC");
        let half = format!(
            "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: {}\r\n\r\n{}",
            file.len(),
            &file[..file.len() / 2]
        );
        let answer = exchange(client.base_url(), &half).await;
        assert!(answer.is_empty() || answer.contains("body-incomplete"), "{answer}");
    }
    let path = upload(client, "LEI", "file-name=a.csv", one_case("A0001BC")).await;
    wait_for(client, &path, &["READ"]).await;
    assert!(ledger.events().await.is_empty());
}

#[tokio::test]
async fn what_is_no_spreadsheet_is_refused_in_words() {
    let ledger = Ledger::empty().await;
    let client = ledger.client();
    let read = |name: &str| fs::read(data(name)).expect("a file");
    for (query, file, sentence) in [
        (
            "file-name=empty.csv",
            Vec::new(),
            "This cannot be imported: the file is empty: give a spreadsheet with rows.",
        ),
        ("file-name=web.xls", read("odd/web-page.xls"), "a web page"),
        ("file-name=a.xlsx", b"PK\x03\x04 and nothing else".to_vec(), "is it damaged, or protected by a password?"),
        ("file-name=a.csv", b"Dear colleague,\nplease find it enclosed.\n".to_vec(), "no row was found"),
        (
            "file-name=a.csv",
            b"Prison number,Band,Staff id,Date allocated\nA1234BC,B,485926,01/02/2019\n".to_vec(),
            "Say which they are with `map`, e.g. `map` \"Band=tier\"",
        ),
        ("file-name=a.csv&map=Bund=tier", one_case("A0001BC").into_bytes(), "`map` names the column `Bund`"),
        ("file-name=a.csv&sheet=Nowhere", one_case("A0001BC").into_bytes(), "Nowhere"),
    ] {
        let path = upload(client, "LEI", query, file).await;
        let failed = wait_for(client, &path, &["FAILED"]).await;
        let detail = failed["detail"].as_str().expect("a sentence");
        assert!(detail.contains(sentence) && !detail.contains("--"), "{query}: {detail}");
        assert_eq!((&failed["reading"], &failed["counts"]), (&json!(null), &json!(null)));
    }
    assert!(ledger.events().await.is_empty());
}

#[tokio::test]
async fn an_upload_says_its_name_and_its_type_and_a_prison_that_there_is() {
    let ledger = Ledger::empty().await;
    let client = ledger.client();
    let send = async |path: &str| client.upload(path, &[], one_case("A0001BC")).await;
    assert_refused(&send("/prisons/LEI/spreadsheets").await, 400, "parameter-missing");
    assert_refused(&send("/prisons/LEI/spreadsheets?file-name=A1234BC.csv").await, 400, "parameter-invalid");
    assert_refused(&send("/prisons/LEE/spreadsheets?file-name=a.csv").await, 404, "prison-unknown");
    let unlisted = "file-name=a.csv&unlisted-prison=true&go-live=2019-01-01&dry-run=false";
    let path = upload(client, "LEE", unlisted, one_case("A0001BC")).await;
    wait_for(client, &path, &["DONE"]).await;
    let answer = client.send(reqwest::Method::POST, PATH, &[("Content-Type", "text/html")], None).await;
    assert_refused(&answer, 415, "content-type-unsupported");
    // An upload is of its own prison.
    assert_refused(&client.get(&path.replace("LEE", "MDI")).await, 404, "import-unknown");
}

async fn uploaded(client: &Client, number: u32) -> String {
    let path = upload(client, "LEI", "file-name=a.csv", one_case(&format!("A{number:04}BC"))).await;
    wait_for(client, &path, &["READ"]).await;
    path
}

#[tokio::test]
async fn a_fifth_upload_takes_the_place_of_the_callers_oldest() {
    let ledger = Ledger::empty().await;
    let client = ledger.client();
    let mut paths = Vec::new();
    for number in 0..4 {
        paths.push(uploaded(client, number).await);
    }
    // Asked for since.
    assert_eq!(client.get(&paths[0]).await.status, 200);
    paths.push(uploaded(client, 4).await);
    assert_refused(&client.get(&paths[1]).await, 404, "import-unknown");
    for path in [&paths[0], &paths[2], &paths[3], &paths[4]] {
        assert_eq!(client.get(path).await.status, 200);
    }
}
