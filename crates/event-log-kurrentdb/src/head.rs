//! Finding the log's end: on from the last event seen, or from the end backwards.
//!
//! It may take looking through all that others have written, and some who ask wait no longer than two seconds. So a look is a
//! task of its own, which goes on when nobody waits for it any more: what it has passed over is then known to the next, and a
//! client that has lost its node is made anew.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, try_join},
};
use kurrentdb::{Client, Error, Position, ReadAllOptions, StreamPosition};
use tokio::time::sleep;

use event_log::{FOLLOW_POLL_INTERVAL, LogError};

use crate::{
    Store,
    connection::{SILENCE_MAX, as_caller, ended, is_invalid_position},
    read::{Then, collect, log_error, position},
};

/// Events that are read on from the last one seen, before the end is looked for backwards.
const NEWER_EVENTS_MAX: usize = 100;

/// The last look that was asked for. One is under way at a time; all who ask meanwhile share the next.
pub(crate) type LastLook = Mutex<Option<Look>>;

pub(crate) struct Look {
    /// Whether it is too late to share it: what it finds may have been so before.
    has_begun: Arc<AtomicBool>,
    found: Shared<BoxFuture<'static, Result<u64, Error>>>,
}

impl Store {
    /// The position of the log's last event, 0 where there is none.
    pub(crate) async fn head(self: &Arc<Self>) -> Result<u64, LogError> {
        let found = {
            let mut last = self.last_look.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = last.take_if(|look| !look.has_begun.load(Ordering::SeqCst));
            let look = waiting.unwrap_or_else(|| self.look_after(last.take()));
            last.insert(look).found.clone()
        };
        found.await.map_err(log_error)
    }

    /// A look that begins when the one before it has ended.
    fn look_after(self: &Arc<Self>, before: Option<Look>) -> Look {
        let (store, has_begun) = (Arc::clone(self), Arc::<AtomicBool>::default());
        let begins = Arc::clone(&has_begun);
        let looking = tokio::spawn(async move {
            if let Some(before) = before {
                // What became of it, those were told who had asked for it.
                let _ = before.found.await;
            }
            begins.store(true, Ordering::SeqCst);
            store.look().await
        });
        let ends = Arc::clone(&has_begun);
        let found = looking.map(move |found| {
            // Also where its runtime has ended before it could begin.
            ends.store(true, Ordering::SeqCst);
            ended(found)
        });
        Look { has_begun, found: found.boxed().shared() }
    }

    async fn look(self: &Arc<Self>) -> Result<u64, Error> {
        if let Some(head) = self.look_on().await? {
            return Ok(head);
        }
        tokio::select! {
            found = self.look_backwards() => found,
            found = self.look_on_from_later() => found,
        }
    }

    /// Looks on from each event of ours that is seen meanwhile, until from one the end is not far.
    async fn look_on_from_later(self: &Arc<Self>) -> Result<u64, Error> {
        loop {
            self.seen_beyond(self.seen.end()).await;
            if let Some(head) = self.look_on().await? {
                return Ok(head);
            }
        }
    }

    /// Looks on from our last event seen, and from a later one when such is seen meanwhile.
    async fn look_on(self: &Arc<Self>) -> Result<Option<u64>, Error> {
        loop {
            let known = self.seen.end();
            tokio::select! {
                found = self.look_on_from(known) => return found,
                () = self.seen_beyond(known) => {}
            }
        }
    }

    async fn seen_beyond(&self, known: u64) {
        while self.seen.end() <= known {
            sleep(FOLLOW_POLL_INTERVAL).await;
        }
    }

    /// Nothing where no event of ours was seen, the last one is gone, or many have come since.
    async fn look_on_from(self: &Arc<Self>, known: u64) -> Result<Option<u64>, Error> {
        if known == 0 && self.seen.gap_after(0).is_none() {
            return Ok(None);
        }
        let (mut head, mut last, mut from) = (known, known, self.seen.place_after(known));
        let is_there = self.is_at(known);
        let newer = self.read_all(last, from, NEWER_EVENTS_MAX);
        let (is_there, mut newer) = match try_join(is_there, newer).await {
            Err(error) if is_invalid_position(&error) => (false, (Vec::new(), Then::End)),
            read => read?,
        };
        if !is_there {
            self.seen.forget_positions();
            return Ok(None);
        }
        loop {
            let (read, then) = newer;
            for event in &read {
                (last, from) = (position(event).commit, from.max(position(event)));
                if self.is_ours(event) {
                    head = last;
                    self.seen.note_position(head);
                }
            }
            match then {
                Then::End => return Ok(Some(head)),
                Then::More => return Ok(None),
                Then::From(before) => from = from.max(Position { commit: before, prepare: 0 }),
                Then::Quiet => {}
            }
            newer = self.read_all(last, from, NEWER_EVENTS_MAX).await?;
        }
    }

    /// Looks from the end backwards, past all that others have written since our last event. There is no way to learn how far
    /// the server is; so it may be silent for as long as it answers others.
    async fn look_backwards(&self) -> Result<u64, Error> {
        let options = ReadAllOptions::default().position(StreamPosition::End).backwards().filter(self.filter());
        let options = &as_caller!(self.connection.address(), options);
        let ask = |client: Client| async move {
            let looking = async {
                let mut read = client.read_all(options).await?;
                while let Some(event) = read.next().await? {
                    if self.is_ours(&event) {
                        return Ok(position(&event).commit);
                    }
                }
                Ok(0)
            };
            tokio::select! {
                found = looking => found,
                error = self.fallen_silent(&client) => Err(error),
            }
        };
        let head = self.connection.call(ask).await?;
        self.seen.note_position(head);
        Ok(head)
    }

    /// Returns, and says why, when the server does not answer what it could at once.
    async fn fallen_silent(&self, client: &Client) -> Error {
        let options = ReadAllOptions::default().position(StreamPosition::End).backwards().max_count(1);
        let options = as_caller!(self.connection.address(), options);
        loop {
            sleep(SILENCE_MAX).await;
            if let Err(error) = collect(client, &options, 1, &mut Vec::new()).await {
                return error;
            }
        }
    }
}
