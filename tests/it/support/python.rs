//! Python with packages, for tests that try what readers of the ledger use.

use std::process::{Command, Output};

use super::leave_out;

/// The Python that has these packages, named by `LEDGER_TESTS_PYTHON` or found as `python3`.
///
/// Outside CI a test may be left out where they are missing.
#[track_caller]
pub fn python_with(packages: &str) -> Option<String> {
    let named = std::env::var("LEDGER_TESTS_PYTHON").ok();
    let must_run = named.is_some();
    let python = named.unwrap_or_else(|| "python3".to_owned());
    let imported = Command::new(&python).args(["-c", &format!("import {packages}")]).output();
    if imported.as_ref().is_ok_and(|imported| imported.status.success()) {
        return Some(python);
    }
    let missing = format!("{python} does not have the packages {packages}: set LEDGER_TESTS_PYTHON to one that has");
    assert!(!must_run, "{missing}: {imported:?}");
    leave_out(&missing);
    None
}

/// Runs a Python program in this environment to its end, in a folder of its own, as it may leave
/// files behind.
pub async fn run_tool(python: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(python);
    command.args(arguments).envs(environment.iter().copied()).current_dir(folder.path());
    let ran = tokio::task::spawn_blocking(move || command.output());
    ran.await.expect("a thread").expect("run Python")
}

/// Runs a script and returns its output.
pub async fn run_script(python: String, arguments: Vec<String>) -> String {
    let ran = tokio::task::spawn_blocking(move || Command::new(python).args(arguments).output());
    let ran = ran.await.expect("a thread").expect("run the script");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("UTF-8")
}
