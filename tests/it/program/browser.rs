//! Pages of other sites in a real browser, on the machine of the ledger.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    time::timeout,
};

use crate::support::{
    PATIENCE, has_program,
    ledger::{Ledger, SHAH},
    topology::require_single_program,
};

/// The attacker's site. Its address is that of this machine, as DNS says anything that an attacker
/// wants.
const SITE: &str = "evil.example";

/// A page that sends a command to another origin in each way that needs no leave, and then asks for
/// its own `/done`.
fn cross_site_page(ledger: &str) -> String {
    format!(
        r#"<iframe name="hidden"></iframe>
<form id="form" target="hidden" method="post" action="{ledger}/prisoners/A1234BC/releases"></form>
<form id="text" target="hidden" method="post" enctype="text/plain" action="{ledger}/prisoners/A1234BC/releases">
  <input name='{{"note":"' value='"}}'>
</form>
<script>
  const loaded = () => new Promise(done => document.querySelector("iframe").onload = done);
  const send = options => fetch("{ledger}/prisoners/A1234BC/releases", {{method: "POST", ...options}}).catch(() => null);
  onload = async () => {{
    for (const form of document.forms) {{
      const answered = loaded();
      form.submit();
      await answered;
    }}
    await send({{mode: "no-cors"}});
    await send({{mode: "no-cors", body: "{{}}"}});
    await send({{headers: {{"Content-Type": "application/json"}}, body: "{{}}"}});
    await fetch("/done");
  }};
</script>"#
    )
}

/// A page whose name leads to the ledger once it has been loaded, so that the browser takes the
/// ledger for its own site.
const REBINDING_PAGE: &str = r#"<script>
  onload = async () => {
    const read = await fetch("/prisoners/A1234BC/responsibility").then(answer => answer.status);
    const sent = await fetch("/prisoners/A1234BC/releases", {
      method: "POST", headers: {"Content-Type": "application/json"}, body: "{}",
    }).then(answer => answer.status);
    await fetch(`/done?read=${read}&sent=${sent}`);
  };
</script>"#;

/// A site that shows its page at `/`, reports when a browser asks for `/done`, and passes all else
/// on to the ledger as it came.
struct Site {
    port: u16,
    done: mpsc::UnboundedReceiver<String>,
}

impl Site {
    async fn start(page: String, ledger: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let port = listener.local_addr().expect("an address").port();
        let (page, ledger): (Arc<str>, Arc<str>) = (page.into(), ledger.trim_start_matches("http://").into());
        let (report, done) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((browser, _)) = listener.accept().await {
                tokio::spawn(answer(browser, Arc::clone(&page), Arc::clone(&ledger), report.clone()));
            }
        });
        Self { port, done }
    }
}

/// Answers the one request of a connection.
async fn answer(mut browser: TcpStream, page: Arc<str>, ledger: Arc<str>, report: mpsc::UnboundedSender<String>) {
    let mut request = Vec::new();
    let head_len = loop {
        if browser.read_buf(&mut request).await.is_ok_and(|read| read == 0) {
            return;
        }
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&request[..head_len]).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    if path == "/" || path.starts_with("/done") || path == "/favicon.ico" {
        let body = if path == "/" { &*page } else { "" };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let _ = browser.write_all(answer.as_bytes()).await;
        if path.starts_with("/done") {
            let _ = report.send(path.to_owned());
        }
        return;
    }
    let mut to_ledger = TcpStream::connect(&*ledger).await.expect("connect to the ledger");
    // Each request comes over a connection of its own, so the next one may be for the page's site.
    let request = String::from_utf8_lossy(&request).replacen("\r\nConnection: keep-alive", "\r\nConnection: close", 1);
    to_ledger.write_all(request.as_bytes()).await.expect("send to the ledger");
    let _ = tokio::io::copy_bidirectional(&mut browser, &mut to_ledger).await;
}

/// Has a browser show the page of a site, and waits until that has done its work. Returns the path
/// of its report.
async fn show(site: &mut Site) -> String {
    let profile = tempfile::tempdir().expect("a folder");
    let browser = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--host-resolver-rules=MAP {SITE} 127.0.0.1"))
        .arg("--remote-debugging-port=0")
        .arg(format!("http://{SITE}:{}/", site.port))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("start the browser");
    let done = timeout(PATIENCE, site.done.recv()).await.expect("the page does its work in time");
    drop(browser);
    done.expect("a report")
}

/// The number of refusals with a code.
async fn refusals(ledger: &Ledger, code: &str) -> u64 {
    let metrics = ledger.client().get("/metrics").await.text;
    let series = format!("http_problems_total{{code=\"{code}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_in_a_browser_records_nothing() {
    require_single_program();
    if !has_program("chromium") {
        return;
    }
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    let count = ledger.event_count().await;
    let mut site = Site::start(cross_site_page(ledger.client().base_url()), ledger.client().base_url()).await;
    show(&mut site).await;
    assert_eq!(ledger.event_count().await, count);
    let refused = refusals(&ledger, "origin-foreign").await;
    assert!(refused >= 4, "two forms and two requests without leave have come to the ledger: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_name_leads_to_the_ledger_reads_and_records_nothing() {
    require_single_program();
    if !has_program("chromium") {
        return;
    }
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    let count = ledger.event_count().await;
    let mut site = Site::start(REBINDING_PAGE.to_owned(), ledger.client().base_url()).await;
    assert_eq!(show(&mut site).await, "/done?read=421&sent=421");
    assert_eq!(ledger.event_count().await, count);
}
