//! Schemathesis tries each operation as the OpenAPI document describes it, with requests that the
//! document allows and requests that it does not. `tests/api` has its settings.

use serde_json::json;

use crate::support::{
    Program,
    demonstration::Demonstration,
    python::{python_with, run_tool},
    tokens::{ALL_ROLES, TestKey, changed, client, seconds_from_now},
    topology::require_single_program,
};

const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/api/schemathesis.toml");
const HOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/api/hooks.py");

/// Starts Schemathesis, which is no module that Python runs by name.
const START: &str = "from schemathesis.cli import schemathesis; schemathesis()";

/// The seed of its random requests, and others to try instead:
///
/// ```text
/// LEDGER_TESTS_SEED=2 cargo test -p tests --test it schemathesis
/// ```
const SEED: &str = "1";
const SEED_VARIABLE: &str = "LEDGER_TESTS_SEED";

/// Runs Schemathesis with further arguments.
async fn check_document(python: &str, program: &Program, further: &[&str]) {
    let url = format!("{}/openapi.json", program.client().base_url());
    let arguments = [&["-c", START, "--no-color", "--config-file", SETTINGS, "run", &url], further].concat();
    let found = run_tool(python, &arguments, &[("SCHEMATHESIS_HOOKS", HOOKS)]).await;
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stdout));
}

#[tokio::test]
async fn schemathesis_finds_no_difference_between_the_program_and_its_document() {
    require_single_program();
    let Some(python) = python_with("schemathesis") else { return };
    let seed = std::env::var(SEED_VARIABLE).unwrap_or(SEED.to_owned());
    let demonstration = Demonstration::serve().await;
    let phases = ["--phases", "examples,coverage,fuzzing,stateful"];
    check_document(&python, &demonstration.program, &[&["--seed", &seed], &phases[..]].concat()).await;
}

/// It also takes the token from requests that succeed, and expects a refusal.
#[tokio::test]
async fn schemathesis_finds_no_difference_with_a_token_either() {
    require_single_program();
    let Some(python) = python_with("schemathesis") else { return };
    let key = TestKey::of_sign_on();
    let claims = client("schemathesis", &ALL_ROLES, "read write");
    let token = key.token(&changed(claims, json!({"exp": seconds_from_now(3_600)})));
    let guarded = Demonstration::serve_guarded(&key, &token).await;
    let header = format!("Authorization: Bearer {token}");
    let few = ["--phases", "examples,coverage,fuzzing", "--max-examples", "2", "--seed", "1"];
    check_document(&python, &guarded.program, &[&["--header", &header], &few[..]].concat()).await;
}
