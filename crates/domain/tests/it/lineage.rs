//! The merges between numbers, by example (rule 10 of `docs/domain.md`).

use domain::{
    Entry, Stream,
    identifier::{CommandId, PrisonerNumber},
    prisoner::{
        History, MergedHoldings, PrisonerEvent, PrisonerNumberMerged, PrisonerNumberRetired, TierAssigned,
        lineage::{CaseNumbers, MergeCircle, PeriodBeforeMerge, RemovedNumbers, SurvivorChain, periods_before_merges},
    },
    tier::TierSource,
};
use uuid::Uuid;

use crate::case::{at, number, recorder};

/// A history of events, each at a position of the log and a day: `1 03-01 tier B`, `5 03-02 took
/// B1234BC`, `4 03-02 into A1234BC`.
fn history(of: &str, entries: &[&str]) -> History {
    let mut history = History::new(number(of));
    for entry in entries {
        let words: Vec<&str> = entry.split(' ').collect();
        let [position, day, kind, word] = words[..] else { panic!("not an entry: {entry}") };
        let event = match kind {
            "tier" => PrisonerEvent::TierAssigned(TierAssigned {
                tier: word.parse().expect("a tier"),
                rosh_level: None,
                source: TierSource::Manual,
                crn: None,
                prison: None,
            }),
            "took" => PrisonerEvent::PrisonerNumberMerged(Box::new(PrisonerNumberMerged {
                removed_number: number(word),
                history_ends_at: 0,
                held: MergedHoldings::default(),
            })),
            "into" => PrisonerEvent::PrisonerNumberRetired(PrisonerNumberRetired { survivor: number(word) }),
            _ => panic!("no such kind: {kind}"),
        };
        let position = position.parse().expect("a position");
        let command_id = CommandId(Uuid::from_u128(u128::from(position)));
        history.push(Entry {
            event_id: command_id.event_id(&Stream::Prisoner(history.number().clone()), 0),
            revision: history.entries().len() as u64,
            position,
            effective_at: at(day),
            recorded_at: at(day),
            recorded_by: recorder(),
            command_id,
            event,
        });
    }
    history
}

/// The last number of the chain that begins with `first`, where each pair is a number and its
/// survivor.
fn survivor(pairs: &[(&str, &str)], first: &str) -> Result<PrisonerNumber, MergeCircle> {
    let survivor_of = |of: &PrisonerNumber| {
        pairs.iter().find(|(removed, _)| *removed == of.as_str()).map(|(_, survivor)| number(survivor))
    };
    SurvivorChain::follow_all(number(first), survivor_of).map(|chain| chain.last().number.clone())
}

#[test]
fn the_last_number_of_a_chain_answers_for_the_first() {
    let merges = [("C1234BC", "B1234BC"), ("B1234BC", "A1234BC")];
    assert_eq!(survivor(&merges, "C1234BC"), Ok(number("A1234BC")));
    assert_eq!(survivor(&merges, "A1234BC"), Ok(number("A1234BC")), "a number that was not merged answers for itself");
}

#[test]
fn a_circle_of_merges_names_the_numbers_in_it_and_no_others() {
    let merges = [("D1234BC", "A1234BC"), ("A1234BC", "B1234BC"), ("B1234BC", "C1234BC"), ("C1234BC", "A1234BC")];
    let numbers = ["A1234BC", "B1234BC", "C1234BC"].map(number).to_vec();
    assert_eq!(survivor(&merges, "D1234BC"), Err(MergeCircle { numbers }));
    assert_eq!(survivor(&[("A1234BC", "A1234BC")], "A1234BC"), Err(MergeCircle { numbers: vec![number("A1234BC")] }));
}

/// The numbers merged into the first history, found with the others.
fn removed(histories: &[History]) -> Vec<(u64, String)> {
    let mut removed = RemovedNumbers::of(&histories[0]);
    std::iter::from_fn(|| {
        let (merged_at, number) = removed.take_next()?;
        histories.iter().filter(|history| *history.number() == number).for_each(|history| removed.add(history));
        Some((merged_at, number.to_string()))
    })
    .collect()
}

#[test]
fn numbers_merged_into_a_merged_number_are_found_too_the_last_merged_first() {
    let survivor = history("A1234BC", &["3 03-03 took D1234BC", "9 03-04 took B1234BC"]);
    let merged = history("B1234BC", &["5 03-01 took C1234BC", "8 03-04 into A1234BC"]);
    let found = [(9, "B1234BC"), (5, "C1234BC"), (3, "D1234BC")].map(|(position, number)| (position, number.into()));
    assert_eq!(removed(&[survivor, merged]), found);
}

#[test]
fn a_circle_of_merges_is_gone_round_once() {
    let one = history("A1234BC", &["3 03-03 took B1234BC"]);
    let other = history("B1234BC", &["4 03-03 took A1234BC"]);
    assert_eq!(removed(&[one, other]), [(3, "B1234BC".into())]);
}

#[test]
fn the_numbers_of_a_case_are_each_to_be_looked_up_once() {
    let mut numbers = CaseNumbers::new(number("A1234BC"));
    assert_eq!(numbers.take_unread(), [number("A1234BC")]);
    numbers.add(number("B1234BC"));
    numbers.add(number("A1234BC"));
    assert_eq!(numbers.take_unread(), [number("B1234BC")]);
    numbers.add(number("B1234BC"));
    assert_eq!(numbers.take_unread(), []);
    assert_eq!(numbers.into_numbers().len(), 2);
}

/// The periods before the survivor's own, as `number tier from to`.
fn before(survivor: &History, removed: &[(u64, History)]) -> Vec<String> {
    periods_before_merges(survivor, removed.iter().map(|(merged_at, history)| (*merged_at, history)))
        .iter()
        .map(|PeriodBeforeMerge { removed, period }| {
            let tier = period.state.tier.as_ref().map(|tier| tier.tier.to_string()).unwrap_or_default();
            let to = period.to.map_or("on".into(), |to| to.format("%m-%d").to_string());
            format!("{} {tier} {} {to}", removed.number(), period.from.format("%m-%d"))
        })
        .collect()
}

#[test]
fn before_its_own_first_entry_a_number_answers_as_those_merged_into_it() {
    let survivor = history("A1234BC", &["5 03-10 tier A", "9 03-20 took B1234BC"]);
    let merged = history("B1234BC", &["1 03-01 tier B", "2 03-05 tier C", "8 03-20 into A1234BC"]);
    assert_eq!(before(&survivor, &[(9, merged)]), ["B1234BC B 03-01 03-05", "B1234BC C 03-05 03-10"]);
}

#[test]
fn of_several_numbers_merged_at_one_instant_the_last_merged_one_answers_for_the_time_before() {
    let survivor = history("A1234BC", &["8 03-20 took B1234BC", "9 03-20 took C1234BC"]);
    let first = history("B1234BC", &["1 03-01 tier B", "6 03-20 into A1234BC"]);
    let last = history("C1234BC", &["2 03-05 tier C", "7 03-20 into A1234BC"]);
    let answers = ["B1234BC B 03-01 03-05", "C1234BC C 03-05 03-20"];
    assert_eq!(before(&survivor, &[(8, first.clone()), (9, last.clone())]), answers);
    assert_eq!(before(&survivor, &[(9, last), (8, first)]), answers, "in whichever order they are given");
}
