//! The files in `deploy/`: what systemd and Prometheus themselves say of them, and that they name
//! only what the program has.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use fancy_regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Client, Program, checked_in::document, database, eventually, has_program, run, topology::require_single_program,
};

/// The program that `cargo` built.
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_allocation-ledger-under-test");

/// The place of the program in the units.
const INSTALLED: &str = "/usr/local/bin/allocation-ledger";

/// The worst that `systemd-analyze security` may say of a unit, of 100 for no protection at all.
const EXPOSURE_MAX: &str = "--threshold=15";

/// Labels that Prometheus adds, and that of buckets.
const OTHER_LABELS: [&str; 3] = ["instance", "job", "le"];

/// Values of labels that a sound ledger does not show.
const UNSOUND: [&str; 3] = ["broken", "contended", "unavailable"];

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(deployed(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a program of the machine, and asserts success without a warning.
#[track_caller]
fn assert_clean(program: &str, arguments: &[&str], input: Option<&Path>) -> String {
    let mut command = Command::new(program);
    let input = input.map_or_else(Stdio::null, |path| std::fs::File::open(path).expect("its input").into());
    let ran = command.args(arguments).stdin(input).output().expect(program);
    let [stdout, stderr] = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(ran.status.success() && stderr.is_empty(), "{program} {arguments:?}: {stdout}{stderr}");
    stdout
}

/// The parts of a text that a group of an expression matches.
fn captured(expression: &str, text: &str, group: usize) -> Vec<String> {
    let regex = Regex::new(expression).expect("a regular expression");
    let found = regex.captures_iter(text).map(|found| found.expect("a pattern that ends"));
    found.filter_map(|found| Some(found.get(group)?.as_str().to_owned())).collect()
}

#[tokio::test]
async fn systemd_accepts_the_units_and_the_program_their_commands() {
    if !has_program("systemd-analyze") {
        return;
    }
    let directory = TempDir::new().expect("a directory");
    for (name, instance) in [("allocation-ledger.service", ""), ("allocation-ledger@.service", "query")] {
        let unit = read(&format!("systemd/{name}"));
        let command = captured(&format!("(?m)^ExecStart={INSTALLED} (.*)$"), &unit, 1);
        let [command] = command.as_slice() else { panic!("{name}: one command in {command:?}") };
        let command = command.replace("%i", instance);
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        assert!(run(&arguments).await.status.success(), "{name}: {arguments:?}");
        // systemd wants the program to be there.
        let file = directory.path().join(name);
        std::fs::write(&file, unit.replace(INSTALLED, EXECUTABLE)).expect("write the unit");
        let file = file.to_str().expect("UTF-8");
        assert_clean("systemd-analyze", &["verify", file], None);
        assert_clean("systemd-analyze", &["security", "--offline=yes", "--no-pager", EXPOSURE_MAX, file], None);
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    if !has_program("promtool") {
        return;
    }
    let [rules, tests] = ["rules.yml", "rules_test.yml"].map(|name| deployed("prometheus").join(name));
    assert_clean("promtool", &["check", "rules", rules.to_str().expect("UTF-8")], None);
    assert_clean("promtool", &["test", "rules", tests.to_str().expect("UTF-8")], None);
}

/// The alerts by name.
fn alerts() -> BTreeSet<String> {
    let names = captured(r"(?m)^ +- alert: (\w+)$", &read("prometheus/rules.yml"), 1);
    let alerts: BTreeSet<String> = names.iter().cloned().collect();
    assert!(alerts.len() == names.len() && alerts.len() > 10, "{names:?}");
    alerts
}

#[test]
fn each_alert_is_tested_both_ways_and_is_in_the_documentation() {
    let (alerts, tests) = (alerts(), read("prometheus/rules_test.yml"));
    let silent: BTreeSet<String> = captured(r"alertname: (\w+), exp_alerts: \[\]", &tests, 1).into_iter().collect();
    let ringing: BTreeSet<String> =
        captured(r"alertname: (\w+)\n +exp_alerts:[ &\w]*\n +- exp_labels", &tests, 1).into_iter().collect();
    assert_eq!((&silent, &ringing), (&alerts, &alerts));
    let page = std::fs::read_to_string(document("operating.md")).expect("the page");
    let named: BTreeSet<String> = captured(r"`(Ledger[A-Z]\w+)`", &page, 1).into_iter().collect();
    assert_eq!(named, alerts, "the alerts that docs/operating.md names");
}

/// The queries of the dashboard, with values in the place of its variables.
fn queries() -> Vec<String> {
    fn collect(value: &Value, queries: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(query)) = members.get("expr") {
                    assert_eq!(members["datasource"]["uid"], "${datasource}", "{query}");
                    queries
                        .push(query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*"));
                }
                members.values().for_each(|member| collect(member, queries));
            }
            Value::Array(members) => members.iter().for_each(|member| collect(member, queries)),
            _ => {}
        }
    }
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboard.json")).expect("JSON");
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    assert!(queries.len() > 20 && queries.iter().all(|query| !query.contains('$')), "{queries:#?}");
    queries
}

#[test]
fn the_dashboard_is_sound() {
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    if has_program("promtool") {
        // Rules may be JSON, and promtool says whether it understands each query.
        let rule = |(number, query)| json!({"record": format!("query:{number}"), "expr": query});
        let rules: Vec<Value> = queries().into_iter().enumerate().map(rule).collect();
        let directory = TempDir::new().expect("a directory");
        let file = directory.path().join("queries.yml");
        let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
        std::fs::write(&file, groups.to_string()).expect("write the queries");
        assert_clean("promtool", &["check", "rules", file.to_str().expect("UTF-8")], None);
    }
}

/// A label, and the values that were seen of it.
type Labels = BTreeMap<String, BTreeSet<String>>;

/// The series of `/metrics` by name, with their labels.
fn series(metrics: &str) -> BTreeMap<String, Labels> {
    let mut series: BTreeMap<String, Labels> = BTreeMap::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name: String = line.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let labels = series.entry(name).or_default();
        for (label, value) in matchers(line) {
            labels.entry(label).or_default().insert(value);
        }
    }
    series
}

/// The labels and values of the form `label="value"`.
fn matchers(text: &str) -> Vec<(String, String)> {
    const MATCHER: &str = r#"(\w+)="([^"]*)""#;
    captured(MATCHER, text, 1).into_iter().zip(captured(MATCHER, text, 2)).collect()
}

/// A ledger of all roles that has answered, refused and recorded.
async fn assert_metrics_are_clean(client: &Client) -> BTreeMap<String, Labels> {
    let tier = json!({"tier": "A1", "source": "DELIUS"});
    assert_eq!(client.post("/prisoners/A1234BC/tier", &tier).await.status, 201);
    client.get("/prisoners/A1234BC/responsibility").await;
    assert_eq!(client.send(Method::GET, "/nowhere", &[], None).await.status, 404);
    let metrics = client.get("/metrics").await.text;
    if has_program("promtool") {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &metrics).expect("write the metrics");
        assert_clean("promtool", &["check", "metrics"], Some(file.path()));
    }
    series(&metrics)
}

#[tokio::test]
async fn each_series_of_rules_and_dashboard_exists_in_a_running_ledger() {
    require_single_program();
    let database = database().await;
    let stores = database.arguments();
    let publisher = ["--domain-events-mode", "shadow", "--public-url", "https://ledger.example"];
    // Nothing is recorded or read, so nothing is sent.
    let audit = ["--audit-queue", "http://127.0.0.1:9/audit"];
    let arguments: Vec<&str> = publisher.into_iter().chain(audit).chain(stores.iter().map(String::as_str)).collect();
    let program = Program::serve_with(&arguments).await;
    eventually("a publisher and a sender", async || {
        let health = program.client().get("/health").await;
        let state = |component: &str| health.body["components"][component]["details"]["state"].clone();
        (state("publisher") == "publishing" && state("audit") == "sending").then_some(())
    })
    .await;
    let series = assert_metrics_are_clean(program.client()).await;
    let known_labels: BTreeSet<&str> =
        series.values().flat_map(BTreeMap::keys).map(String::as_str).chain(OTHER_LABELS).collect();
    let rules = read("prometheus/rules.yml");
    let expressions = rules.split("- alert: ").skip(1).filter_map(|rule| rule.split("labels:").next());
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for text in expressions.map(str::to_owned).chain(queries()) {
        for (name, matchers) in selectors(&text) {
            checked += 1;
            match series.get(&name) {
                None => wrong.push(format!("there is no series {name}")),
                Some(labels) => wrong.extend(unseen(labels, &matchers).map(|unseen| format!("{name}: {unseen}"))),
            }
        }
        let grouped = captured(r"\b(?:by|on) \(([^)]*)\)", &text, 1).join(", ");
        let unknown = grouped.split(", ").filter(|label| !label.is_empty() && !known_labels.contains(label));
        wrong.extend(unknown.map(|label| format!("no series has the label {label}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}\nof {series:#?}");
    assert!(checked > 40, "only {checked} series were found in rules and dashboard");
}

/// The series that a query selects, with what it says of their labels.
fn selectors(query: &str) -> Vec<(String, String)> {
    const SELECTOR: &str = r#"\b((?:ledger|http|process)_\w+)((?:\{(?:[^"}]|"[^"]*")*\})?)"#;
    captured(SELECTOR, query, 1).into_iter().zip(captured(SELECTOR, query, 2)).collect()
}

/// The labels of a selector that its series does not have, and the values that it never has.
fn unseen(labels: &Labels, selector: &str) -> impl Iterator<Item = String> {
    let named = captured(r#"(\w+)\s*(?:!=|=~|!~|=)\s*""#, selector, 1);
    let unknown =
        named.into_iter().filter(|label| !labels.contains_key(label) && !OTHER_LABELS.contains(&label.as_str()));
    let never = matchers(selector).into_iter().filter(|(label, value)| {
        labels.get(label).is_some_and(|values| !values.contains(value)) && !UNSOUND.contains(&value.as_str())
    });
    unknown.chain(never.map(|(label, value)| format!("{label}={value}"))).collect::<Vec<_>>().into_iter()
}

#[tokio::test]
async fn metrics_say_which_program_and_which_process_answers() {
    let database = database().await;
    let program = Program::serve_all(&database).await;
    let metrics = program.client().get("/metrics").await.text;
    let info = program.client().get("/info").await.body;
    let commit = info["git"]["commit"]["id"].as_str().unwrap_or_default();
    let build = format!("ledger_build_info{{version=\"{}\",commit=\"{commit}\"}} 1.0", env!("CARGO_PKG_VERSION"));
    assert!(metrics.lines().any(|line| line == build), "{metrics}");
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse::<f64>().expect("a number")
    };
    let now = chrono::Utc::now().timestamp_micros() as f64 / 1e6;
    let started = value("process_start_time_seconds");
    assert!(started <= now && now - started < 300.0, "{started} at {now}");
    for (name, least, most) in [
        ("process_cpu_seconds_total", 0.001, 300.0),
        ("process_resident_memory_bytes", 1e6, 1e10),
        ("process_virtual_memory_bytes", 1e6, 1e14),
        ("process_open_fds", 5.0, 10_000.0),
        ("process_max_fds", 100.0, 1e19),
    ] {
        let value = value(name);
        assert!((least..most).contains(&value), "{name}: {value}");
    }
}
