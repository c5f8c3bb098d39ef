//! The program `allocation-ledger`. Everything is in the library, so that tests can stand on it.

use std::process::ExitCode;

fn main() -> ExitCode {
    allocation_ledger::main()
}
