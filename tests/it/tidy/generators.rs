//! Every command of the domain must be among the random steps of the tests.

use std::{collections::BTreeSet, fs};

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use super::sources;
use crate::support::random_ledger::{RandomStep, random_step};

/// Commands that are no step of their own: a merge sends these two.
const PARTS_OF_A_MERGE: [&str; 2] = ["CompleteMerge", "Retire"];

/// Commands that every random ledger sends at its start.
const COMMANDS_AT_THE_START: [&str; 2] = ["JoinOmic", "RegisterPom"];

/// Far more than it takes to meet each kind.
const SAMPLES: usize = 3_000;

#[test]
fn the_random_steps_include_every_command() {
    let mut runner = TestRunner::deterministic();
    let steps = (0..SAMPLES).map(|_| random_step().new_tree(&mut runner).expect("a step").current());
    let mut found: BTreeSet<String> = BTreeSet::new();
    for step in steps {
        match step {
            RandomStep::Case(_, _, command) => _ = found.insert(kind(&format!("{command:?}"))),
            RandomStep::Prison(_, command) => _ = found.insert(kind(&format!("{command:?}"))),
            RandomStep::Merge(..) => found.extend(PARTS_OF_A_MERGE.map(str::to_owned)),
        }
    }
    found.extend(COMMANDS_AT_THE_START.map(str::to_owned));
    let expected = ["prisoner", "prison"].into_iter().flat_map(commands_of);
    assert_eq!(found, expected.collect());
}

/// The name of a variant, from its debug output.
fn kind(debug: &str) -> String {
    debug.chars().take_while(|character| character.is_alphanumeric()).collect()
}

/// The names of the variants of `Command` in a module of `domain`.
fn commands_of(module: &str) -> Vec<String> {
    let path = sources::root().join("crates/domain/src").join(module).join("command.rs");
    let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (_, rest) = source.split_once("pub enum Command {\n").expect("an enum of commands");
    let (variants, _) = rest.split_once("\n}\n").expect("the end of the enum");
    let starts = variants.lines().filter_map(|line| line.strip_prefix("    "));
    starts.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase())).map(kind).collect()
}
