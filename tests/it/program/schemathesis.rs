//! Schemathesis tries each operation as the OpenAPI document describes it, with requests that the
//! document allows and requests that it does not. `tests/api` has its settings.

use crate::support::{
    demonstration::Demonstration,
    python::{python_with, run_tool},
    topology::require_single_program,
};

const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/api/schemathesis.toml");
const HOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/api/hooks.py");

/// Starts Schemathesis, which is no module that Python runs by name.
const START: &str = "from schemathesis.cli import schemathesis; schemathesis()";

/// The seeds of its random requests, and the phases of each: those other than `fuzzing` send the
/// same requests for every seed.
const SEEDS: [(&str, &str); 3] = [("1", "examples,coverage,fuzzing,stateful"), ("2", "fuzzing"), ("3", "fuzzing")];

#[tokio::test]
async fn schemathesis_finds_no_difference_between_the_program_and_its_document() {
    require_single_program();
    let Some(python) = python_with("schemathesis") else { return };
    for (seed, phases) in SEEDS {
        // A fresh ledger each time: what the requests record would slow the next ones.
        let demonstration = Demonstration::serve().await;
        let url = format!("{}/openapi.json", demonstration.program.client().base_url());
        let arguments =
            ["-c", START, "--no-color", "--config-file", SETTINGS, "run", &url, "--seed", seed, "--phases", phases];
        let found = run_tool(&python, &arguments, &[("SCHEMATHESIS_HOOKS", HOOKS)]).await;
        assert!(found.status.success(), "seed {seed}:\n{}", String::from_utf8_lossy(&found.stdout));
    }
}
