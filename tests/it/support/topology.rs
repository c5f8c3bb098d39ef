//! How the ledger under test is run: as one program, or as the services of a cluster.
//!
//! | `LEDGER_TESTS_TOPOLOGY` | the ledger | its log | its views |
//! |---|---|---|---|
//! | not set | one program | in the test's database | in the test's database |
//! | `services` | a command, a projector and a query service | on the stand-in for KurrentDB | in the test's database |
//! | `services-postgres` | the same | in the test's database | in the test's database |
//!
//! A test that makes sense in some of these topologies only is in a module named after the reason,
//! `single_program` or `log_in_postgres`. A run in another topology must leave these modules out
//! with `--skip`, as `.ci/run` does. There they fail, because a test that passes without having
//! tested anything hides a gap.

/// How the ledger under test is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    /// Each role is a process of its own, except in tests of the single program.
    pub are_services_apart: bool,
    /// The log is on the stand-in for KurrentDB, except in tests of the log in Postgres.
    pub is_log_on_stand_in: bool,
}

impl Topology {
    /// The topology that the environment chooses.
    pub fn from_environment() -> Self {
        let chosen = std::env::var("LEDGER_TESTS_TOPOLOGY").unwrap_or_default();
        match chosen.as_str() {
            "" | "single" => Self { are_services_apart: false, is_log_on_stand_in: false },
            "services" => Self { are_services_apart: true, is_log_on_stand_in: true },
            "services-postgres" => Self { are_services_apart: true, is_log_on_stand_in: false },
            _ => panic!("LEDGER_TESTS_TOPOLOGY is `{chosen}`: it can be services or services-postgres, or not be set"),
        }
    }
}

/// Asserts that the ledger under test is one program.
///
/// Call it first in a test of the single program or of its embedded Postgres. The test must be in a
/// module named `single_program`, which `.ci/run` leaves out where the services are apart.
#[track_caller]
pub fn require_single_program() {
    let are_apart = Topology::from_environment().are_services_apart;
    assert!(!are_apart, "this test is about the single program: leave it out with `--skip single_program::`");
}

/// Asserts that the log under test is in Postgres.
///
/// Call it first in a test that reaches into the tables of the log. The test must be in a module
/// named `log_in_postgres`, which `.ci/run` leaves out where the log is elsewhere.
#[track_caller]
pub fn require_log_in_postgres() {
    let is_elsewhere = Topology::from_environment().is_log_on_stand_in;
    assert!(!is_elsewhere, "this test is about a log in Postgres: leave it out with `--skip log_in_postgres::`");
}
