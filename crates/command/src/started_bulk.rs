//! A bulk reallocation as it was when it first came: its cases, and why some were not moved. The
//! log keeps it as the answer of the bulk's key, so that a repeat gets the same answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use domain::{
    Refusal, Rule,
    identifier::{CommandId, PrisonerNumber},
};
use event_log::lock;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as TurnMutex, MutexGuard as TurnGuard};

/// A bulk reallocation that has started.
pub(crate) struct StartedBulk {
    /// Its cases.
    pub(crate) numbers: Vec<PrisonerNumber>,
    refused: Mutex<HashMap<PrisonerNumber, Refusal>>,
    /// How many refusals the log has. A try holds it while it saves them.
    saved_count: TurnMutex<usize>,
}

/// The turn of a try to have the log keep the refusals. One that is dropped before its end leaves
/// them to the next try.
pub(crate) struct SaveTurn<'a> {
    saved_count: TurnGuard<'a, usize>,
}

impl SaveTurn<'_> {
    /// Notes that the log has so many refusals.
    pub(crate) fn end(mut self, count: usize) {
        *self.saved_count = count;
    }
}

/// A bulk as the log keeps it.
#[derive(Serialize, Deserialize)]
struct SavedBulk {
    numbers: Vec<PrisonerNumber>,
    refused: Vec<SavedRefusal>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedRefusal {
    number: PrisonerNumber,
    code: String,
    sentence: String,
    later_entry: Option<u64>,
    survivor: Option<PrisonerNumber>,
}

impl StartedBulk {
    pub(crate) fn new(numbers: Vec<PrisonerNumber>) -> Self {
        Self { numbers, refused: Mutex::default(), saved_count: TurnMutex::default() }
    }

    /// A bulk that [`Self::save`] wrote. A refusal by a rule that this program does not know is
    /// left out, so that the case is tried once more.
    pub(crate) fn restore(saved: &str) -> Result<Self, serde_json::Error> {
        let SavedBulk { numbers, refused } = serde_json::from_str(saved)?;
        let refusal = |saved: SavedRefusal| {
            let rule = Rule::ALL.iter().find(|rule| rule.code() == saved.code)?;
            let SavedRefusal { number, sentence, later_entry, survivor, .. } = saved;
            Some((number, Refusal { rule: *rule, sentence, later_entry, survivor }))
        };
        let refused: HashMap<_, _> = refused.into_iter().filter_map(refusal).collect();
        Ok(Self { numbers, saved_count: TurnMutex::new(refused.len()), refused: Mutex::new(refused) })
    }

    /// # Panics
    /// Never: numbers and texts are plain JSON.
    pub(crate) fn save(&self) -> String {
        let refused = lock(&self.refused);
        let refusal = |number: &PrisonerNumber| {
            let Refusal { rule, sentence, later_entry, survivor } = refused.get(number)?.clone();
            Some(SavedRefusal { number: number.clone(), code: rule.code().to_owned(), sentence, later_entry, survivor })
        };
        let refused = self.numbers.iter().filter_map(refusal).collect();
        let saved = SavedBulk { numbers: self.numbers.clone(), refused };
        serde_json::to_string(&saved).expect("a bulk is plain JSON")
    }

    /// Why a case was not moved.
    pub(crate) fn refusal(&self, number: &PrisonerNumber) -> Option<Refusal> {
        lock(&self.refused).get(number).cloned()
    }

    /// Remembers why a case was not moved. The first refusal of a case is the one that counts.
    pub(crate) fn refuse(&self, number: PrisonerNumber, refusal: Refusal) {
        lock(&self.refused).entry(number).or_insert(refusal);
    }

    /// Takes over the refusals that the log has. They come first: another service has answered with
    /// them.
    pub(crate) fn add_refusals(&self, saved: &Self) {
        lock(&self.refused).extend(lock(&saved.refused).drain());
    }

    /// The number of cases that were refused.
    pub(crate) fn refusal_count(&self) -> usize {
        lock(&self.refused).len()
    }

    /// The turn to save the refusals; `None` once the log has them all. Waits while another try
    /// saves them: no try is answered before they are durable.
    pub(crate) async fn take_save_turn(&self) -> Option<SaveTurn<'_>> {
        let saved_count = self.saved_count.lock().await;
        (self.refusal_count() > *saved_count).then_some(SaveTurn { saved_count })
    }
}

/// The bulks that are under way in this process, by their keys: tries of one bulk share what became
/// of its cases.
#[derive(Default)]
pub(crate) struct RunningBulks(Mutex<HashMap<CommandId, Weak<StartedBulk>>>);

impl RunningBulks {
    /// The bulk as it is under way, or else this one, which is under way from now on.
    pub(crate) fn share(&self, command_id: CommandId, bulk: StartedBulk) -> Arc<StartedBulk> {
        let mut running = lock(&self.0);
        running.retain(|_, bulk| bulk.strong_count() > 0);
        if let Some(running) = running.get(&command_id).and_then(Weak::upgrade) {
            return running;
        }
        let bulk = Arc::new(bulk);
        running.insert(command_id, Arc::downgrade(&bulk));
        bulk
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;
    use tokio::pin;

    use super::*;

    fn number(text: &str) -> PrisonerNumber {
        text.parse().expect("a prisoner number")
    }

    fn refusal(rule: Rule) -> Refusal {
        Refusal { rule, sentence: rule.code().to_owned(), later_entry: None, survivor: None }
    }

    fn started() -> StartedBulk {
        StartedBulk::new(["A0001AA", "A0002AA"].map(number).to_vec())
    }

    #[tokio::test]
    async fn a_try_waits_until_the_refusals_of_another_are_saved_and_saves_them_where_that_fails() {
        let bulk = started();
        assert!(bulk.take_save_turn().await.is_none(), "nothing to save");
        bulk.refuse(number("A0001AA"), refusal(Rule::PomNotHolder));
        let failing = bulk.take_save_turn().await.expect("a turn");
        let second = bulk.take_save_turn();
        pin!(second);
        assert!(poll!(&mut second).is_pending(), "answered before the refusal was durable");
        drop(failing);
        let second = second.await.expect("the turn that failed is left to the next try");
        second.end(1);
        assert!(bulk.take_save_turn().await.is_none(), "saved twice");
        bulk.refuse(number("A0002AA"), refusal(Rule::PomNotHolder));
        assert!(bulk.take_save_turn().await.is_some(), "one refusal more");
    }

    #[tokio::test]
    async fn refusals_of_two_services_add_up_and_the_saved_ones_count() {
        let (one, other) = (started(), started());
        one.refuse(number("A0001AA"), refusal(Rule::PomNotHolder));
        for text in ["A0001AA", "A0002AA"] {
            other.refuse(number(text), refusal(Rule::PomNotActive));
        }
        other.refuse(number("A0002AA"), refusal(Rule::NotAllocated));
        let saved = StartedBulk::restore(&one.save()).expect("a saved bulk");
        assert!(saved.take_save_turn().await.is_none(), "the log has them");
        other.add_refusals(&saved);
        let both = StartedBulk::restore(&other.save()).expect("a saved bulk");
        let rules = ["A0001AA", "A0002AA"].map(|text| both.refusal(&number(text)).map(|refusal| refusal.rule));
        assert_eq!(rules, [Some(Rule::PomNotHolder), Some(Rule::PomNotActive)]);
    }
}
