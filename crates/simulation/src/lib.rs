//! The simulation: a made-up history of a whole country, to try the ledger at its real size. It has
//! no store and no clock.
//!
//! ```text
//! chance ─► commands ─the ledger's rules─► events ─► batches
//! ```
//!
//! | question | module |
//! |---|---|
//! | what is due when, and where is each person? | `world` |
//! | what happens to a case? to a prison? | `cases`, `roster` |
//! | which POM contacts has NOMIS? | `contacts` |
//! | how long does a stay in prison last? | `sentence` |
//! | how do commands become events? | `record` |
//! | what are people called, and what do they write? | `texts` |
//! | where does chance come from? | `random` |
//!
//! The same seed and sizes make the same log, byte for byte: one thread decides, in simulated time,
//! and no code reads a clock or depends on the order of a hash table. Each prefix of batches is a
//! legal history with no policy left to act: a batch ends where no merge is half done and no
//! inactive POM holds a case.

mod cases;
mod choice;
mod contacts;
mod random;
mod record;
mod roster;
mod sentence;
mod texts;
mod world;

pub use record::Batch;
pub use sentence::years_before;
pub use texts::PRISONS_MAX;
pub use world::Size;

use world::World;

/// Simulates the country and hands the events to `sink` in batches, until the last day is over or
/// `sink` answers `false`. Answers the number of cases.
pub fn simulate(size: Size, seed: u64, sink: impl FnMut(Batch) -> bool) -> usize {
    let mut world = World::new(size, seed);
    world.run(sink);
    world.cases.len()
}
