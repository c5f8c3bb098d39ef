//! How the ledger under test is run: as one program, or as the services of a cluster.
//!
//! | `LEDGER_TESTS_TOPOLOGY` | the ledger | its log | its views |
//! |---|---|---|---|
//! | not set | one program | in the test's database | in the test's database |
//! | `services` | a command, a projector and a query service | on the stand-in for KurrentDB | in the test's database |
//! | `services-postgres` | the same | in the test's database | in the test's database |

/// How the ledger under test is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    /// Each role a process of its own, where it is not the single program itself that is tested.
    pub are_services_apart: bool,
    /// The log is on the stand-in for KurrentDB, where it is not the log in Postgres itself that is tested.
    pub is_log_on_stand_in: bool,
}

impl Topology {
    /// As the environment says.
    pub fn chosen() -> Self {
        let chosen = std::env::var("LEDGER_TESTS_TOPOLOGY").unwrap_or_default();
        match chosen.as_str() {
            "" | "single" => Self { are_services_apart: false, is_log_on_stand_in: false },
            "services" => Self { are_services_apart: true, is_log_on_stand_in: true },
            "services-postgres" => Self { are_services_apart: true, is_log_on_stand_in: false },
            _ => panic!("LEDGER_TESTS_TOPOLOGY is `{chosen}`: it can be services or services-postgres, or not be set"),
        }
    }
}

/// True for a test of the single program or of its embedded Postgres, where the services are apart: it has shown the same in
/// the run before. The caller returns, and says `why`.
pub fn is_of_the_single_program(why: &str) -> bool {
    let skipped = Topology::chosen().are_services_apart;
    if skipped {
        println!("skipped where the services are apart: {why}");
    }
    skipped
}

/// True for a test that looks into the tables of a log in Postgres, where the log is elsewhere.
pub fn is_of_the_log_in_postgres(why: &str) -> bool {
    let skipped = Topology::chosen().is_log_on_stand_in;
    if skipped {
        println!("skipped where the log is not in Postgres: {why}");
    }
    skipped
}
