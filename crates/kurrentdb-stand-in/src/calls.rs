//! The calls of clients, for tests alone: [`CALLS_STREAM`] has one event, which lists the last of
//! them in the order in which they came.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// The data of this stream's one event is a list of the last calls, such as
/// `append ledger-prison-LEI`.
pub const CALLS_STREAM: &str = "$stand-in-calls";

/// Calls that are kept.
const CALLS_MAX: usize = 1_000;

static CALLS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Adds a call. Looking at the list is none.
pub fn note_call(call: &str, target: &str) {
    if target != CALLS_STREAM {
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() == CALLS_MAX {
            calls.pop_front();
        }
        calls.push_back(format!("{call} {target}"));
    }
}

/// The last calls, as a list in JSON.
pub fn last_calls() -> String {
    let calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    serde_json::json!(*calls).to_string()
}
