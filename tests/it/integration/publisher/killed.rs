//! A publisher that is killed amid its requests, beside random commands: no message is lost, and a
//! subscriber that keeps the last of each type about each person knows what the ledger answers.

use std::collections::BTreeSet;

use aws_stand_in::TopicStandIn;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sqlx::PgPool;

use super::{
    PUBLIC_URL,
    subscriber::{compare_with_answers, last_of},
    wait_until_published,
};
use crate::support::{
    Program, database,
    estate::Estate,
    eventually,
    ledger::Ledger,
    random_ledger::{RandomLedger, RandomStep, random_step},
    random_numbers::RandomNumbers,
    run_in,
};

/// The publisher is killed so often, unless [`KILLS_VARIABLE`] says another number.
const KILLS: usize = 8;
const KILLS_VARIABLE: &str = "LEDGER_TESTS_KILLS";

/// Commands between two kills.
const STEPS_OF_A_KILL: usize = 190;

/// Waits until the topic has stopped, or everything is published.
async fn wait_for_stop(sink: &TopicStandIn, random: &RandomLedger, pool: &PgPool) {
    let end = random.log.head().await.expect("the end of the log");
    eventually("a topic that has stopped", async || (sink.has_stopped() || position(pool).await >= end).then_some(()))
        .await;
}

/// How far the publisher has come.
async fn position(pool: &PgPool) -> u64 {
    let read = sqlx::query_scalar::<_, i64>("SELECT position FROM integration.publication");
    read.fetch_one(pool).await.expect("the checkpoint").unsigned_abs()
}

mod log_in_postgres {
    use super::*;
    use crate::support::topology::require_log_in_postgres;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_subscriber_knows_what_the_ledger_answers_whenever_the_publisher_was_killed() {
        require_log_in_postgres();
        let sink = TopicStandIn::serve(None).await.expect("a port");
        let database = database().await;
        let mut random = RandomLedger::new(&database.pool).await;
        let arguments = ["--domain-events-topic", "arn:aws:sns:eu-west-2:1:t", "--public-url", PUBLIC_URL];
        let ledger = Ledger::start_all_roles_on(database, &Estate::environment_at(&sink.url), &arguments).await;
        wait_until_published(&ledger).await;
        let Ledger { database, program } = ledger;
        program.kill();
        let start = position(&database.pool).await.to_string();

        let stores = database.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        // Apart, without policies: the random ledger knows the log that it alone appends to.
        let projector = Program::start_in(&[], &[&["--role", "projector"], &stores[..]].concat()).await;
        let publisher = [&["--role", "integration"], &stores[..], &arguments].concat();
        let mut runner =
            TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[19; 32]));
        let mut numbers = RandomNumbers(19);
        let mut merges = 0;
        let kills = std::env::var(KILLS_VARIABLE).map_or(KILLS, |text| text.parse().expect("a number"));
        for part in 0..kills {
            // It dies while a request of some messages is at work, of which the topic has some.
            sink.go_on();
            sink.stop_after(1 + numbers.roll(20));
            let program = Program::start_in(&Estate::environment_at(&sink.url), &publisher).await;
            for _ in 0..STEPS_OF_A_KILL {
                let step = random_step().new_tree(&mut runner).expect("a step").current();
                // A merge ends the commands about a number, of which there are five.
                if matches!(step, RandomStep::Merge(..)) {
                    if merges >= 3 * (part / 3) {
                        continue;
                    }
                    merges += 1;
                }
                random.take(step).await;
            }
            wait_for_stop(&sink, &random, &database.pool).await;
            program.kill();
        }
        sink.go_on();
        projector.kill();
        let ledger = Ledger::start_all_roles_on(database, &Estate::environment_at(&sink.url), &arguments).await;
        wait_until_published(&ledger).await;
        let taken = sink.taken();
        let messages: BTreeSet<(u64, String)> = taken.iter().cloned().collect();
        assert!(taken.len() > messages.len(), "none of {} messages came twice", taken.len());

        // As a publisher sends them that was never killed.
        let undisturbed = TopicStandIn::serve(None).await.expect("a port");
        let publish = [&["integration", "publish", "--since", &start], &arguments[..], &stores].concat();
        let ran = run_in(&Estate::environment_at(&undisturbed.url), &publish).await;
        assert!(ran.status.success(), "{}", ran.stderr);
        let expected: BTreeSet<(u64, String)> = undisturbed.taken().into_iter().collect();
        let lost: Vec<_> = expected.difference(&messages).collect();
        let unexpected: Vec<_> = messages.difference(&expected).collect();
        assert_eq!((lost, unexpected), (Vec::new(), Vec::new()));

        let last = last_of(&messages);
        let compared = compare_with_answers(&last, &ledger).await;
        assert!(compared.with_dates > 0, "no case has dates");
        assert!(compared.answers >= 8, "{} answers are too few", compared.answers);
        let events = ledger.events().await;
        assert!(events.len() > 300, "{} events are too few", events.len());
        let merges = events.iter().filter(|event| event.entry.event.type_name() == "PrisonerNumberMerged").count();
        assert!(merges > 0 && last.len() > 10, "{merges} merges, {} messages", last.len());
    }
}
