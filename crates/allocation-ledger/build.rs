//! Tells the program which build it is: the commit, and the number that a pipeline gave the build.
//!
//! | variable | gives | where it is not set |
//! |---|---|---|
//! | `GIT_REF` | the commit | a release build asks git, and marks a changed checkout; a source archive has none |
//! | `BUILD_NUMBER` | the number of the build | none |
//!
//! Only a release build asks git. The others, of which there is one after each change, would
//! compile the program again after each commit.

use std::{env, path::Path, process::Command};

/// The sources of the program, from its folder.
const SOURCES: [&str; 3] = ["../../crates", "../../Cargo.toml", "../../Cargo.lock"];

/// Follows the commit where the sources have changes that are not committed.
const CHANGED: &str = "-dirty";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=GIT_REF");
    println!("cargo:rerun-if-env-changed=BUILD_NUMBER");
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = match given("GIT_REF") {
        Some(id) => Some((id, None)),
        None if is_release => commit_of_checkout(),
        None => None,
    };
    let number = given("BUILD_NUMBER");
    let mut remarks: Vec<String> = number.iter().map(|number| format!("build {number}")).collect();
    if let Some((id, time)) = &commit {
        let (id_alone, mark) = id.strip_suffix(CHANGED).map_or((id.as_str(), ""), |id| (id, CHANGED));
        remarks.push(format!("commit {}{mark}", id_alone.get(..12).unwrap_or(id_alone)));
        println!("cargo:rustc-env=LEDGER_COMMIT={id}");
        if let Some(time) = time {
            remarks.push(time.clone());
            println!("cargo:rustc-env=LEDGER_COMMIT_TIME={time}");
        }
    }
    if let Some(number) = number {
        println!("cargo:rustc-env=LEDGER_BUILD_NUMBER={number}");
    }
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let remarks = if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join(", ")) };
    println!("cargo:rustc-env=LEDGER_VERSION={version}{remarks}");
}

/// The value of a variable, if it has one.
fn given(variable: &str) -> Option<String> {
    env::var(variable).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The commit that is checked out, with a mark where the sources differ from it, and its time. Has
/// cargo run this again when the commit or a source changes.
fn commit_of_checkout() -> Option<(String, Option<String>)> {
    // Sources that lie in the checkout of another project are not of its commit.
    if git(&["rev-parse", "--show-prefix"])? != "crates/allocation-ledger/" {
        return None;
    }
    // A worktree has files of its own. The second one is written whenever the commit changes.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = git(&["log", "-1", "--format=%H %cI"])?;
    let (id, time) = commit.split_once(' ')?;
    SOURCES.iter().for_each(|source| println!("cargo:rerun-if-changed={source}"));
    let status = git(&[&["status", "--porcelain", "--untracked-files=no", "--"], &SOURCES[..]].concat())?;
    let mark = if status.is_empty() { "" } else { CHANGED };
    Some((format!("{id}{mark}"), Some(time.to_owned())))
}

/// The output of git, where there is a git and it succeeds.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
