//! The program `allocation-ledger`. The library has all of it, so that tests and the benchmark can
//! use parts.

use std::process::ExitCode;

fn main() -> ExitCode {
    allocation_ledger::main()
}
