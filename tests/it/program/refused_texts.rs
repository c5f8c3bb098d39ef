//! A refusal repeats what it refuses in one way, wherever the text was: short, and without a
//! character that cannot be seen or that a terminal might obey.
//!
//! The OpenAPI document names the places: each parameter, each header, each member of a body.

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::support::{HttpAnswer, ledger::Ledger, topology::require_single_program};

/// The longest answer to a request whose text is longer than that, in bytes. A refusal may list
/// what would be right, and says everything three times.
const ANSWER_LEN_MAX: usize = 8_000;

/// A text that is long and has characters of each unwelcome kind.
fn hostile() -> String {
    format!("x\u{1b}[2J\u{202e}\u{feff}\u{3164}`, expected `{}", "y".repeat(20_000))
}

/// As [`hostile`], without a control character, which headers cannot hold and texts refuse for its
/// own sake.
fn hostile_line() -> String {
    format!("x\u{202e}\u{feff}\u{3164}` is not a {}", "y".repeat(20_000))
}

fn in_url(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Checks that a refusal is short and that everything in it can be seen.
#[track_caller]
fn check(request: &str, answer: &HttpAnswer) {
    if answer.status.is_success() && answer.body["status"] != "error" {
        return;
    }
    assert!((200..500).contains(&answer.status.as_u16()), "{request}: {}", answer.status);
    assert!(answer.text.len() < ANSWER_LEN_MAX, "{request}: {} bytes: {:.2000}", answer.text.len(), answer.text);
    let unseen = |c: char| c.is_control() || "\u{202e}\u{feff}\u{3164}".contains(c);
    let mut parts = vec![&answer.body];
    while let Some(part) = parts.pop() {
        match part {
            Value::String(text) => assert!(!text.contains(unseen), "{request}: {text:?}"),
            Value::Array(items) => parts.extend(items),
            Value::Object(members) => {
                assert!(members.keys().all(|name| !name.contains(unseen)), "{request}: {}", answer.text);
                parts.extend(members.values());
            }
            _ => {}
        }
    }
}

/// The members of a body, as its schema lists them, those of its parts included.
fn members(document: &Value, schema: &Value, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        return members(document, &document.pointer(pointer).cloned().unwrap_or_default(), found);
    }
    for part in ["allOf", "oneOf", "anyOf"].iter().filter_map(|key| schema[*key].as_array()).flatten() {
        members(document, part, found);
    }
    for (name, _) in schema["properties"].as_object().into_iter().flatten() {
        if !found.contains(name) {
            found.push(name.clone());
        }
    }
}

/// A path with the values of its parameters.
fn path_with(path: &str, parameters: &[Value], value_of: impl Fn(&str, &Value) -> String) -> String {
    parameters.iter().filter(|parameter| parameter["in"] == "path").fold(path.to_owned(), |path, parameter| {
        let name = parameter["name"].as_str().expect("a name");
        path.replace(&format!("{{{name}}}"), &value_of(name, parameter))
    })
}

fn example(parameter: &Value) -> String {
    match &parameter["example"] {
        Value::String(text) => text.clone(),
        Value::Null => "1".to_owned(),
        other => other.to_string(),
    }
}

#[tokio::test]
async fn a_refusal_is_short_and_can_be_seen_wherever_the_text_was() {
    require_single_program();
    let ledger = Ledger::start_all_roles().await;
    let client = ledger.client();
    let document = client.get("/openapi.json").await.body;
    let mut requests = 0;
    let mut refused = 0;
    let mut send =
        async |request: String, method: &Method, path: &str, headers: &[(&str, &str)], body: Option<&Value>| {
            let answer = client.send(method.clone(), path, headers, body).await;
            requests += 1;
            refused += usize::from(answer.status.is_client_error());
            check(&request, &answer);
        };
    send("an unknown path".into(), &Method::GET, &format!("/{}", in_url(&hostile())), &[], None).await;
    send("an unknown method".into(), &"Y".repeat(5_000).parse().expect("a method"), "/status", &[], None).await;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method_name, operation) in item.as_object().expect("operations") {
            let method: Method = method_name.to_uppercase().parse().expect("a method");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let plain = path_with(path, &parameters, |_, parameter| example(parameter));
            let has_body = operation["requestBody"].is_object();
            let empty = json!({});
            let body = has_body.then_some(&empty);
            for parameter in &parameters {
                let name = parameter["name"].as_str().expect("a name");
                let request = format!("{method_name} {path}, {name}");
                match parameter["in"].as_str().expect("a place") {
                    "path" => {
                        let value_of =
                            |of: &str, other: &Value| if of == name { in_url(&hostile()) } else { example(other) };
                        send(request, &method, &path_with(path, &parameters, value_of), &[], body).await;
                    }
                    "query" => {
                        let path = format!("{plain}?{name}={}", in_url(&hostile()));
                        send(request, &method, &path, &[], body).await;
                    }
                    _ => send(request, &method, &plain, &[(name, &hostile_line())], body).await,
                }
            }
            let request = |place: &str| format!("{method_name} {path}, {place}");
            let path = format!("{plain}?{}=1", in_url(&hostile()));
            send(request("an unknown parameter"), &method, &path, &[], body).await;
            if method == Method::GET {
                let header = [("Ledger-Position-At-Least", hostile_line())];
                let header = header.each_ref().map(|(name, value)| (*name, value.as_str()));
                send(request("a position"), &method, &plain, &header, None).await;
            }
            if !has_body {
                continue;
            }
            let mut names = Vec::new();
            members(&document, &operation["requestBody"]["content"]["application/json"]["schema"], &mut names);
            for text in [hostile(), hostile_line()] {
                let unknown = Value::Object(Map::from_iter([(text.clone(), json!(1))]));
                for body in [&json!(text), &json!([text]), &unknown] {
                    send(request("the body"), &method, &plain, &[], Some(body)).await;
                }
                for name in &names {
                    for value in [json!(text), json!([text]), unknown.clone()] {
                        let body = Value::Object(Map::from_iter([(name.clone(), value)]));
                        send(request(name), &method, &plain, &[], Some(&body)).await;
                    }
                }
            }
        }
    }
    assert!(requests > 900 && refused * 10 > requests * 8, "{refused} of {requests} requests were refused");
}
