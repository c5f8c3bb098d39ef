//! The benchmark, run briefly. Its figures are not judged: a busy machine is slow.

mod event_store;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(arguments);
    command
}

/// What a run printed, which must be a success.
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The row of a table that begins so: its rate, and its ratio with the name of the yardstick.
fn rate_and_ratio<'t>(table: &'t str, beginning: &str) -> (f64, f64, &'t str) {
    let rows = table.lines().map(|line| line.split(['│', '┆']).map(str::trim).skip(1).collect::<Vec<_>>());
    let mut rows = rows.filter(|cells| cells.first().is_some_and(|cell| cell.starts_with(beginning)));
    let (Some(cells), None) = (rows.next(), rows.next()) else { panic!("not one row `{beginning}`:\n{table}") };
    let rate = cells[1].strip_suffix("/s").and_then(|rate| rate.parse().ok());
    let ratio = cells[2].split_once(' ').and_then(|(ratio, name)| Some((ratio.parse().ok()?, name)));
    let (Some(rate), Some((ratio, name))) = (rate, ratio) else { panic!("{cells:?} has no rate or no ratio") };
    (rate, ratio, name)
}

#[test]
fn each_rate_is_compared_with_its_yardstick_in_the_same_run() {
    let output = bench(&["--seconds", "1", "--events", "2000"]).output().expect("run the benchmark");
    let table = printed(&output);
    for (yardstick, name, measured) in [
        (
            "pgbench insert, a row a transaction, 64 clients",
            "(insert)",
            &["appends of one event, 64", "appends of one event, 256", "commands on", "commands over HTTP"][..],
        ),
        ("pgbench -S, a row by key, 16 clients", "(select)", &["GET …/responsibility, 16 connections"]),
        ("COPY of 2000 rows", "(COPY)", &["filling", "projector"]),
    ] {
        let (yardstick, one, its_name) = rate_and_ratio(&table, yardstick);
        assert!(yardstick > 0.0 && one == 1.0 && its_name == name, "{yardstick} {one} {its_name}");
        for row in measured {
            let (rate, ratio, of) = rate_and_ratio(&table, row);
            // Rates are printed whole, ratios with two digits.
            let rounding = 0.01 + ratio / yardstick + 1.0 / yardstick;
            assert!(
                (ratio - rate / yardstick).abs() < rounding && of == name,
                "{row}: {rate} / {yardstick} = {ratio} {of}"
            );
        }
    }
}

#[test]
fn a_made_up_ledger_is_measured_beside_pgbench_and_copy_and_started_until_it_is_ready() {
    let arguments = ["rebuild", "--events", "1000", "--seconds", "1", "--json"];
    let figures = printed(&bench(&arguments).output().expect("run the benchmark"));
    let figures: Value = serde_json::from_str(&figures).expect("JSON");
    let figure = |name: &str| figures[name].as_f64().filter(|figure| *figure > 0.0);
    for name in
        ["commandReadyFromLogSeconds", "commandReadySeconds", "singleReadyOnNewMachineSeconds", "singleReadySeconds"]
    {
        assert!(figure(name).is_some(), "{name}: {figures}");
    }
    for (ratio, [part, whole]) in [
        ("appendsTimesPgbench", ["appendsPerSecond", "pgbenchInsertsPerSecond"]),
        ("rebuildTimesCopy", ["rebuildSeconds", "copySeconds"]),
    ] {
        let [ratio, part, whole] = [ratio, part, whole].map(|name| figure(name).unwrap_or_else(|| panic!("{name}")));
        assert!((ratio - part / whole).abs() < 0.001, "{ratio}: {figures}");
    }
}

#[test]
fn without_pgbench_the_benchmark_says_where_it_looked_and_what_to_install() {
    let directory = tempfile::tempdir().expect("a directory");
    let binaries = embedded_postgres::binaries_dir().expect("server programs");
    for name in ["postgres", "initdb"] {
        let (program, script) = (binaries.join(name), directory.path().join(name));
        fs::write(&script, format!("#!/bin/sh\nexec '{}' \"$@\"\n", program.display())).expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a program");
    }
    for arguments in [&[][..], &["rebuild"]] {
        let mut command = bench(arguments);
        let output = command.env("LEDGER_POSTGRES_BIN", directory.path()).output().expect("run the benchmark");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}: {error}");
        let looked_in = directory.path().canonicalize().expect("the directory");
        for part in ["no pgbench in", &looked_in.to_string_lossy(), "install", "LEDGER_POSTGRES_BIN"] {
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }
}
