//! The command line itself: the width of what it prints, tips for a wrong one, completions, pages
//! for `man`, and the version.

use std::{fs, process::Command};

use crate::support::{DataDir, ToolOutput, ledger::Ledger, ledger::SHAH, questions::ask, run, run_on_terminal};

/// A sheet whose report is wider than a terminal of 80 columns.
const SHEET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/spreadsheets/LEI-allocations.xlsx");

/// The commands that the help lists.
async fn commands() -> Vec<String> {
    let help = run(&["--help"]).await.stdout;
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Asserts that no line is wider than the terminal.
#[track_caller]
fn assert_fits(ran: &ToolOutput) {
    assert!(ran.status.success() && ran.stdout.lines().count() > 3, "{}", ran.stdout);
    // The name of the program under test is longer than that of the program.
    let lines = ran.stdout.lines().filter(|line| !line.starts_with("Usage: "));
    let wide: Vec<_> = lines.filter(|line| line.trim_end().chars().count() > 80).collect();
    assert!(wide.is_empty(), "wider than the terminal:\n{}", wide.join("\n"));
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[tokio::test]
async fn help_breaks_its_lines_at_words_and_fits_the_terminal() {
    for command in [&["--help"][..], &["replay", "--help"], &["import", "spreadsheet", "--help"], &["serve", "-h"]] {
        let shown = run_on_terminal(command).await;
        assert_fits(&shown);
        let whole = run(command).await.stdout;
        assert_eq!(words(&shown.stdout), words(&whole), "{command:?}: a word is torn");
    }
}

#[tokio::test]
async fn a_table_fits_the_terminal_and_is_whole_in_a_file() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    ask(&ledger, "/projections").await;
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    for command in [&["projections", "status"][..], &["cases", "LEI", "--on", "2026-03-01"]] {
        assert_fits(&run_on_terminal(&[command, &stores].concat()).await);
    }
    let dir = DataDir::new();
    let import = ["import", "spreadsheet", SHEET, "--prison", "LEI", "--dry-run", "--go-live", "2018-11-03"];
    let import = [&import[..], &["--data-dir", dir.path().to_str().expect("a path in UTF-8")]].concat();
    let is_of_table = |line: &&str| line.starts_with(['│', '┌', '└', '╞']);
    let shown = run_on_terminal(&import).await.stdout;
    let shown: Vec<_> = shown.lines().map(str::trim_end).filter(is_of_table).collect();
    assert!(shown.len() > 5 && shown.iter().all(|line| line.chars().count() <= 80), "{}", shown.join("\n"));
    let whole = run(&import).await.stdout;
    assert!(whole.lines().filter(is_of_table).any(|line| line.chars().count() > 80), "{whole}");
}

#[track_caller]
fn assert_tip(ran: &ToolOutput, tip: &str) {
    assert_eq!(ran.status.code(), Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains(tip), "{tip:?} in {}", ran.stderr);
}

#[tokio::test]
async fn a_wrong_command_line_is_told_the_right_form() {
    for command in [&["import", "LEI.xlsx"][..], &["LEI.xlsx"], &["import", "LEI.CSV", "--prison", "LEI"]] {
        let file = command.iter().find(|argument| argument.contains('.')).expect("a file");
        let tip = format!("`allocation-ledger import spreadsheet {file} --prison CODE`");
        assert_tip(&run(command).await, &tip);
    }
    assert!(!run(&["import", "nonsense"]).await.stderr.contains("spreadsheet nonsense"));
    let address = "give an IP address and a port, such as 127.0.0.1:9090";
    for wrong in ["9090", "localhost:9090", ":9090"] {
        assert_tip(&run(&["serve", "--listen", wrong]).await, address);
    }
    let listen = "`serve --listen 127.0.0.1:8080`";
    assert_tip(&run(&["serve", "--port", "9090"]).await, listen);
    for other in [&["cases", "LEI", "--port", "9090"][..], &["--port", "9090"]] {
        let ran = run(other).await;
        assert!(ran.status.code() == Some(2) && !ran.stderr.contains(listen), "{other:?}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn a_command_that_does_not_use_the_views_refuses_the_place_of_them() {
    for command in ["handover-dates", "token"] {
        let ran = run(&[command, "--views", "postgres://nowhere/views"]).await;
        assert_tip(&ran, "unexpected argument '--views'");
    }
}

#[tokio::test]
async fn completions_are_a_script_of_the_shell_with_every_command() {
    let script = run(&["completions", "bash"]).await;
    assert!(script.status.success(), "{}", script.stderr);
    let dir = DataDir::new();
    let file = dir.path().join("allocation-ledger.bash");
    fs::write(&file, &script.stdout).expect("write a file");
    let read = Command::new("bash").arg("-n").arg(&file).output().expect("run bash");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    // As a person types it: `allocation-ledger hist` and the tab key.
    let complete = "source \"$1\"; COMP_WORDS=(allocation-ledger hist); COMP_CWORD=1; \
                    _allocation__ledger allocation-ledger hist allocation-ledger; echo \"${COMPREPLY[*]}\"";
    let completed = Command::new("bash").args(["-c", complete, "bash"]).arg(&file).output().expect("run bash");
    let completed = String::from_utf8_lossy(&completed.stdout).trim().to_owned();
    assert_eq!(completed, "history");
    for shell in ["elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]).await;
        assert!(script.status.success(), "{shell}: {}", script.stderr);
        for command in commands().await {
            assert!(script.stdout.contains(&command), "{shell}: {command}");
        }
    }
}

#[tokio::test]
async fn each_command_has_a_page_for_man() {
    let dir = DataDir::new();
    let pages = dir.path().join("man1");
    let ran = run(&["man", pages.to_str().expect("a path in UTF-8")]).await;
    assert!(ran.status.success() && ran.stdout.is_empty(), "{}", ran.stderr);
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let main = page("allocation-ledger.1");
    for command in commands().await.iter().filter(|command| *command != "help") {
        assert!(page(&format!("allocation-ledger-{command}.1")).contains("SYNOPSIS"), "{command}");
        assert!(main.replace("\\-", "-").contains(&format!("allocation-ledger-{command}(1)")), "{command} in {main}");
    }
    let spreadsheet = page("allocation-ledger-import-spreadsheet.1").replace("\\-", "-");
    assert!(spreadsheet.contains("--prison") && spreadsheet.contains("LEDGER_DATA_DIR"), "{spreadsheet}");
    let alone = run(&["man"]).await.stdout;
    assert!(alone.starts_with(".ie") && alone.replace("\\-", "-").contains("allocation-ledger-serve(1)"), "{alone}");
}

#[tokio::test]
async fn the_version_begins_with_that_of_the_package() {
    let version = run(&["--version"]).await.stdout;
    let rest = version.trim_end().strip_prefix(concat!("allocation-ledger ", env!("CARGO_PKG_VERSION")));
    // The commit is in brackets, as far as the build knew it.
    assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" (") && rest.ends_with(')')), "{version}");
}
