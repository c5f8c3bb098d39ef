//! The help of the program and of each of its commands, as snapshots.

use crate::support::run;

/// The subcommands of a command. Each has a help of its own.
async fn commands_of(command: &[&str]) -> Vec<String> {
    let help = help(command).await;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// The help of a command, without the values that settings have in this environment.
async fn help(command: &[&str]) -> String {
    let output = run(&[command, &["--help"]].concat()).await;
    assert!(output.status.success(), "{command:?}: {}", output.stderr);
    let lines = output.stdout.lines().map(|line| match line.split_once("[env: ") {
        Some((before, setting)) => {
            let name = setting.split(['=', ']']).next().unwrap_or_default();
            format!("{before}[env: {name}]\n")
        }
        None => format!("{line}\n"),
    });
    lines.collect()
}

#[tokio::test]
async fn the_help_of_every_command_is_as_in_its_snapshot() {
    insta::assert_snapshot!("allocation-ledger", help(&[]).await);
    let commands = commands_of(&[]).await;
    assert!(commands.len() > 5, "{commands:?}");
    for command in &commands {
        insta::assert_snapshot!(command.as_str(), help(&[command]).await);
        for sub_command in commands_of(&[command]).await {
            insta::assert_snapshot!(format!("{command}-{sub_command}"), help(&[command, &sub_command]).await);
        }
    }
}
