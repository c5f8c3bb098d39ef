//! The files of Docker Compose: their settings, and the stand-ins for the estate.

use std::{collections::BTreeSet, path::Path};

use fancy_regex::Regex;
use serde_json::Value;

use crate::support::{
    estate::Estate,
    python::{python_with, run_script, run_tool},
};

fn path(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names that an expression finds.
fn found(expression: &str, text: &str) -> BTreeSet<String> {
    let regex = Regex::new(expression).expect("a regular expression");
    let found = regex.captures_iter(text).map(|found| found.expect("a pattern that ends"));
    found.filter_map(|found| Some(found.get(1)?.as_str().to_owned())).collect()
}

/// A file of YAML, its anchors resolved.
async fn yaml(name: &str) -> Option<Value> {
    const SCRIPT: &str =
        "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1], encoding='utf-8'))))";
    let python = python_with("yaml")?;
    let said = run_script(python, vec!["-c".to_owned(), SCRIPT.to_owned(), path(name)]).await;
    Some(serde_json::from_str(&said).expect("JSON"))
}

fn members(value: &Value) -> BTreeSet<String> {
    value.as_object().expect("a map").keys().cloned().collect()
}

#[test]
fn each_variable_of_compose_is_in_the_example_of_its_settings() {
    let mut asked = found(r"\$\{([A-Z_]+)", &read("docker-compose.yml"));
    asked.extend(found(r"\$\{([A-Z_]+)", &read("deploy/stand-ins/docker-compose.yml")));
    // Those of the build are given on the command line.
    asked.retain(|name| !["BUILD_NUMBER", "GIT_REF"].contains(&name.as_str()));
    assert_eq!(asked, found(r"(?m)^([A-Z_]+)=", &read(".env.example")));
}

#[tokio::test]
async fn the_stand_ins_give_a_service_only_settings_that_it_has() {
    let (Some(ledger), Some(stand_ins)) =
        (yaml("docker-compose.yml").await, yaml("deploy/stand-ins/docker-compose.yml").await)
    else {
        return;
    };
    let service = |file: &Value| members(&file["services"]["integration"]["environment"]);
    let (known, given) = (service(&ledger), service(&stand_ins));
    assert!(given.is_subset(&known), "{given:?} of {known:?}");
    for name in ["aws", "queues"] {
        let service = &stand_ins["services"][name];
        let image = service["image"].as_str().expect("an image");
        assert!(image.starts_with("motoserver/moto:") && !image.ends_with("latest"), "{image}");
        let networks = service["networks"].as_array().expect("networks");
        assert!(networks.iter().all(|network| ledger["networks"].get(network.as_str().expect("a name")).is_some()));
        // A service without a profile would start with the rest, which needs no stand-in.
        assert_eq!(service["profiles"], ledger["services"]["integration"]["profiles"]);
    }
    let packages = read("tests/run");
    let version = found(r"motoserver/moto:([0-9.]+)", &read("deploy/stand-ins/docker-compose.yml"));
    assert_eq!(found(r"'moto\[server\]==([0-9.]+)'", &packages), version, "the server that the tests know");
}

#[tokio::test]
async fn the_job_makes_what_the_service_is_told_of() {
    let Some(estate) = Estate::start().await else { return };
    let (Some(python), Some(stand_ins)) = (python_with("boto3"), yaml("deploy/stand-ins/docker-compose.yml").await)
    else {
        return;
    };
    let environment: Vec<_> = estate.environment().into_iter().chain([("AWS_DEFAULT_REGION", "eu-west-2")]).collect();
    let script = path("deploy/stand-ins/make_queues.py");
    let mut said = String::new();
    for _ in 0..2 {
        let ran = run_tool(&python, &[&script], &environment).await;
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        said = String::from_utf8(ran.stdout).expect("UTF-8");
    }
    let settings = &stand_ins["services"]["integration"]["environment"];
    let setting = |name: &str| settings[name].as_str().expect("a setting");
    let audit = setting("AUDIT_SQS_QUEUE_URL").rsplit('/').next().expect("a name");
    let queue = setting("DOMAIN_EVENTS_SQS_QUEUE_NAME");
    for name in [queue, setting("DOMAIN_EVENTS_SQS_DLQ_NAME"), audit, "subscriber"] {
        assert!(said.contains(&format!("queue {name}: ")), "{name}: {said}");
        estate.take_messages_from(name).await;
    }
    assert!(said.contains(setting("DOMAIN_EVENTS_TOPIC_ARN")), "{said}");

    // The ledger gets what it reads, and nothing else; the subscriber gets all.
    let page = read("docs/integration.md");
    let (_, events) = page.split_once("\n## The events\n").expect("the table of events");
    let (events, _) = events.split_once("\n## ").expect("the end of the table");
    let cells = found(r"(?m)^\| (`[^|]+`) \|", events);
    let mut read_types: Vec<String> = Vec::new();
    for name in cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        // `.updated` is another end of the type before.
        let start = if name.starts_with('.') { read_types.last().and_then(|last| last.rsplit_once('.')) } else { None };
        read_types.push(format!("{}{name}", start.map_or("", |(start, _)| start)));
    }
    assert!(read_types.len() > 10, "{read_types:?}");
    for event_type in read_types.iter().map(String::as_str).chain(["offender-management.allocation.changed"]) {
        estate.publish(&serde_json::json!({ "eventType": event_type })).await;
    }
    let count = async |name: &str| estate.take_messages_from(name).await.len();
    assert_eq!((count(queue).await, count("subscriber").await), (read_types.len(), read_types.len() + 1));
    // A message that is received again and again is given up, as in the estate.
    estate.publish(&serde_json::json!({ "eventType": read_types.first() })).await;
    for _ in 0..4 {
        estate.receive_and_die_on(queue).await;
    }
    assert_eq!(count(setting("DOMAIN_EVENTS_SQS_DLQ_NAME")).await, 1);
}
