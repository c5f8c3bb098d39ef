//! The table that `bench --event-store` prints.

use std::{fmt, time::Duration};

use crate::{
    measure::millis,
    table::{per_second as per_second_text, write_table},
};

/// How long a second start may take.
const READY_MAX: Duration = Duration::from_secs(3);

/// The measurements, beside those of the plain client.
#[derive(Default)]
pub(super) struct ServerTable {
    rows: Vec<[String; 4]>,
}

impl ServerTable {
    /// Adds a rate of the plain client.
    pub(super) fn plain_rate(&mut self, what: &str, rate: f64) {
        self.push(what, per_second_text(rate), String::new(), String::new());
    }

    /// Adds a time of the plain client.
    pub(super) fn plain_time(&mut self, what: &str, time: Duration) {
        self.push(what, millis(time), String::new(), String::new());
    }

    /// Adds a rate of the ledger, beside one of the plain client and its name.
    pub(super) fn rate(&mut self, what: &str, rate: f64, (plain, name): (f64, &str), at_least: f64) {
        let ratio = rate / plain;
        let goal = judged(format!("at least {at_least} times"), ratio >= at_least);
        self.push(what, per_second_text(rate), format!("{ratio:.2} ({name})"), goal);
    }

    /// Adds a time of the ledger, beside one of the plain client and its name.
    pub(super) fn times(&mut self, what: &str, time: Duration, (plain, name): (Duration, &str), at_most: f64) {
        let ratio = time.as_secs_f64() / plain.as_secs_f64();
        let goal = judged(format!("at most {at_most} times"), ratio <= at_most);
        self.push(what, millis(time), format!("{ratio:.2} ({name})"), goal);
    }

    /// Adds a time until the program was ready.
    pub(super) fn ready(&mut self, what: &str, time: Duration) {
        let goal = judged(format!("within {} s", READY_MAX.as_secs()), time <= READY_MAX);
        self.push(what, seconds(time), String::new(), goal);
    }

    /// Adds a time without a goal.
    pub(super) fn time(&mut self, what: &str, time: Duration) {
        self.push(what, seconds(time), String::new(), String::new());
    }

    fn push(&mut self, what: &str, figure: String, ratio: String, goal: String) {
        self.rows.push([what.to_owned(), figure, ratio, goal]);
    }
}

/// So many a second.
pub(super) fn per_second(count: u64, taken: Duration) -> f64 {
    count as f64 / taken.as_secs_f64()
}

fn judged(goal: String, is_met: bool) -> String {
    if is_met { goal } else { format!("{goal}: missed") }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

impl fmt::Display for ServerTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_table(f, ["measured", "figure", "times the plain client", "goal"], &self.rows)?;
        write!(f, "\n{WHAT_IS_MEASURED}")
    }
}

/// The exact meaning of the figures.
const WHAT_IS_MEASURED: &str = "\
The plain client speaks the server's protocol (gRPC) over one connection with TCP_NODELAY, in the same run; each ratio names the
figure of it that the ledger's is divided by.
append, appends: one event of 500 bytes, each to a new stream. batch call: each event to a new stream, so many unanswered at a
time. `$all`: from the start of the server's log, events of the made-up ledger alone, until the last of them.
generate, copy, replay, rebuild: the program as a process of its own, from its start to its end. copy compares both logs, too.
ready: from the start of the process until GET /health/readiness answers 200, on the made-up ledger, on which the first start
has read the whole log.
commands: POST /prisoners/{number}/tier, one event each, to a serving process of its own; the client shares the cores with it.
A known case has events of this process. The answer: GET …/responsibility with Ledger-Position-At-Least.";
