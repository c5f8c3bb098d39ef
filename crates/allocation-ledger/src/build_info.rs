//! The build that this program is of, as `build.rs` found it.

/// The version with the commit and the number of the build, as far as they are known.
pub const VERSION: &str = env!("LEDGER_VERSION");

/// The commit.
pub const COMMIT: Option<&str> = option_env!("LEDGER_COMMIT");

/// The time of the commit, with its offset from UTC.
pub const COMMIT_TIME: Option<&str> = option_env!("LEDGER_COMMIT_TIME");

/// The number that a pipeline gave the build; else the version of the program.
pub const NUMBER: &str = match option_env!("LEDGER_BUILD_NUMBER") {
    Some(number) => number,
    None => env!("CARGO_PKG_VERSION"),
};
