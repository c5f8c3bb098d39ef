//! A Python client is generated from the OpenAPI document without a warning, and works.

use crate::support::{
    demonstration::Demonstration,
    python::{python_with, run_tool},
    topology::require_single_program,
};

/// Generates the client and uses it.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/api/try_client.py");

#[tokio::test]
async fn a_generated_client_reads_each_event_and_those_of_later_versions() {
    require_single_program();
    let Some(python) = python_with("jsonschema_rs, openapi_python_client") else { return };
    let demonstration = Demonstration::serve().await;
    let client = demonstration.program.client();
    let folder = tempfile::tempdir().expect("a folder");
    let document = folder.path().join("openapi.json");
    std::fs::write(&document, client.get("/openapi.json").await.text).expect("write the document");
    let arguments = [SCRIPT, document.to_str().expect("UTF-8"), client.base_url()];
    let path = std::env::var("PATH").unwrap_or_default();
    let bin = std::path::Path::new(&python).parent().and_then(|bin| bin.to_str()).unwrap_or_default();
    // The generator formats the client with a program that is beside Python, and the script imports
    // the client from the folder that it runs in.
    let environment = [("PATH", format!("{bin}:{path}")), ("PYTHONPATH", ".".to_owned())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ran = run_tool(&python, &arguments, &environment).await;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
