//! A bulk reallocation as it was when it first came: its cases, and why some were not moved. The
//! log keeps it as the answer of the bulk's key, so that a repeat gets the same answer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use domain::{
    Refusal, Rule,
    identifier::{CommandId, PrisonerNumber},
};
use event_log::lock;
use serde::{Deserialize, Serialize};

/// A bulk reallocation that has started.
pub(crate) struct StartedBulk {
    /// Its cases.
    pub(crate) numbers: Vec<PrisonerNumber>,
    refused: Mutex<HashMap<PrisonerNumber, Refusal>>,
    /// Whether the log lacks a refusal.
    is_unsaved: AtomicBool,
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
        Self { numbers, refused: Mutex::default(), is_unsaved: AtomicBool::new(false) }
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
        let refused = Mutex::new(refused.into_iter().filter_map(refusal).collect());
        Ok(Self { numbers, refused, is_unsaved: AtomicBool::new(false) })
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

    /// Remembers why a case was not moved.
    pub(crate) fn refuse(&self, number: PrisonerNumber, refusal: Refusal) {
        if lock(&self.refused).insert(number, refusal).is_none() {
            self.is_unsaved.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there are refusals that were not taken to be saved.
    pub(crate) fn take_unsaved(&self) -> bool {
        self.is_unsaved.swap(false, Ordering::Relaxed)
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
