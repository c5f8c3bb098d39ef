//! Requests to the pages that no browser sends for them, and hostile text.

use reqwest::{Client, RequestBuilder, header, redirect::Policy};
use serde_json::Value;

use crate::support::{HttpAnswer, demonstration::Demonstration, http_client, topology::require_single_program};

/// The browser of a person who was chosen from the list.
struct Person {
    http: Client,
    base_url: String,
    cookie: String,
}

impl Person {
    async fn choose(demonstration: &Demonstration) -> Self {
        // Makes the cryptography of TLS known.
        drop(http_client());
        let http = Client::builder().redirect(Policy::none()).build().expect("a client");
        let base_url = demonstration.program.client().base_url().to_owned();
        let mut person = Self { http, base_url, cookie: String::new() };
        let chosen = person.post("/pages/people", "person=HOMD_LEI", &[]).await;
        assert_eq!(chosen.header("location"), Some("/pages/prisons"), "{chosen:?}");
        let cookies = chosen.headers.get_all(header::SET_COOKIE).iter();
        let cookies =
            cookies.map(|cookie| cookie.to_str().expect("text").split(';').next().unwrap_or_default().to_owned());
        person.cookie = cookies.collect::<Vec<_>>().join("; ");
        person
    }

    async fn get(&self, path: &str) -> HttpAnswer {
        answer(self.http.get(format!("{}{path}", self.base_url)).header("Cookie", &self.cookie)).await
    }

    /// Sends a form, with further headers, and does not go where the answer leads.
    async fn post(&self, path: &str, form: &str, headers: &[(&str, &str)]) -> HttpAnswer {
        let request = self.http.post(format!("{}{path}", self.base_url)).body(form.to_owned());
        let request =
            request.header("Content-Type", "application/x-www-form-urlencoded").header("Cookie", &self.cookie);
        answer(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    /// The text that the form of a page carries against forged requests.
    async fn csrf(&self, path: &str) -> String {
        let page = self.get(path).await;
        let found = page.text.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        found.unwrap_or_else(|| panic!("no such text: {page:?}")).to_owned()
    }
}

async fn answer(request: RequestBuilder) -> HttpAnswer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a text");
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    HttpAnswer { status, headers, text, body }
}

#[tokio::test]
async fn only_a_form_of_the_session_records() {
    require_single_program();
    let demonstration = Demonstration::serve().await;
    let mut person = Person::choose(&demonstration).await;
    let path = "/pages/cases/A1000AA/tier";
    let csrf = person.csrf(path).await;
    let form = format!("csrf={csrf}&tier=A");
    let foreign = person.post(path, &form, &[("Origin", "http://evil.example")]).await;
    assert_eq!((foreign.status.as_u16(), foreign.body["code"].as_str()), (403, Some("origin-foreign")), "{foreign:?}");
    // A form that another site has made, or one of another session: what was typed is kept.
    for forged in ["tier=A", "csrf=&tier=A", "csrf=AAAA&tier=A"] {
        let refused = person.post(path, forged, &[]).await;
        assert_eq!(refused.status, 403, "{forged}");
        assert!(refused.text.contains("signed in again") && refused.text.contains("value=\"A\""), "{}", refused.text);
    }
    let history = demonstration.program.client().get("/prisoners/A1000AA/history?type=TierAssigned").await;
    assert_eq!(history.body.as_array().map(Vec::len), Some(2), "{history:?}");
    assert_eq!(person.post(path, &form, &[]).await.status, 303);
    for cookie in ["", "ledger-session-1=", "ledger-session-1=AAAA", "ledger-session-1=%00", "=;;;="] {
        cookie.clone_into(&mut person.cookie);
        assert_eq!(person.post(path, &form, &[]).await.status, 401, "{cookie}");
        let nobody = person.get("/pages/cases/A1000AA").await;
        let sign_in = "/pages/sign-in?to=%2Fpages%2Fcases%2FA1000AA";
        assert_eq!((nobody.status.as_u16(), nobody.header("location")), (303, Some(sign_in)), "{cookie}");
    }
}

#[tokio::test]
async fn text_that_was_typed_is_shown_as_text() {
    require_single_program();
    let demonstration = Demonstration::serve().await;
    let person = Person::choose(&demonstration).await;
    let path = "/pages/cases/A1002AA/community-manager";
    let csrf = person.csrf(path).await;
    let form = "name=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%2C%20Sam&team=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E";
    let recorded = person.post(path, &format!("csrf={csrf}&{form}"), &[]).await;
    assert_eq!(recorded.status, 303, "{recorded:?}");
    for path in ["/pages/cases/A1002AA", "/pages/cases/A1002AA/file", "/pages/log"] {
        let page = person.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text.contains("alert(1)"), "{path} does not show it");
        assert!(!page.text.contains("<script>") && !page.text.contains("<img"), "{path}");
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    }
}

/// A form with a file, and the fields before it.
fn form_with_file(csrf: &str, file_name: &str, file: &[u8]) -> Vec<u8> {
    let mut form =
        format!("--b\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}\r\n--b\r\n").into_bytes();
    let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\r\n");
    form.extend(head.bytes());
    form.extend(file);
    form.extend(b"\r\n--b--\r\n");
    form
}

#[tokio::test]
async fn a_spreadsheet_may_have_64_mib_and_comes_from_a_form_of_the_session() {
    require_single_program();
    let demonstration = Demonstration::serve().await;
    let person = Person::choose(&demonstration).await;
    let path = "/pages/prisons/LEI/spreadsheets";
    let csrf = person.csrf(path).await;
    let send = async |form: Vec<u8>| {
        let request =
            person.http.post(format!("{}{path}", person.base_url)).body(form).header("Cookie", &person.cookie);
        answer(request.header("Content-Type", "multipart/form-data; boundary=b")).await
    };
    let rows = b"Prison number,Tier\n".repeat(160_000);
    let taken = send(form_with_file(&csrf, "cases.csv", &rows)).await;
    assert_eq!(taken.status, 303, "{} bytes: {}", rows.len(), taken.text);
    let long = vec![b' '; (64 << 20) + 1];
    for (csrf, name, file, status, words) in [
        (csrf.as_str(), "cases.csv", long.as_slice(), 413, "at most 64 MiB"),
        (&csrf, "A1234BC.csv", &rows, 400, "prisoner number"),
        (&csrf, "", b"", 400, "Choose a file"),
        ("AAAA", "cases.csv", b"a", 403, "signed in again"),
    ] {
        let refused = send(form_with_file(csrf, name, file)).await;
        assert_eq!(refused.status, status, "{}", refused.text);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    let cut = send(format!("--b\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}").into_bytes()).await;
    assert_eq!(cut.status, 400, "{}", cut.text);
}
