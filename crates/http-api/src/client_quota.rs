//! Resources that all clients share, of which each client may take a part.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use event_log::lock;

use crate::RequestClient;

/// A resource, such as connections or bytes of memory, of which so much may be taken in all, and so
/// much by one client.
#[derive(Debug)]
pub struct ClientQuota {
    all_max: usize,
    client_max: usize,
    taken: Mutex<TakenAmounts>,
}

#[derive(Debug, Default)]
struct TakenAmounts {
    all: usize,
    /// Has no entry of a client that has taken nothing, so it is bounded as the amounts are.
    by_client: HashMap<RequestClient, usize>,
}

impl TakenAmounts {
    fn add(&mut self, client: Option<&RequestClient>, amount: usize) {
        self.all += amount;
        if let Some(client) = client {
            *self.by_client.entry(client.clone()).or_default() += amount;
        }
    }
}

/// Why nothing more is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaExceeded {
    /// All clients together have taken what there is.
    ByAll,
    /// The client has taken its part.
    ByClient,
}

impl ClientQuota {
    /// A resource of `all_max`, and of `client_max` for each client.
    #[must_use]
    pub fn new(all_max: usize, client_max: usize) -> Arc<Self> {
        Arc::new(Self { all_max, client_max, taken: Mutex::default() })
    }

    /// A resource of which a client may take an eighth, so that it takes eight clients to keep the
    /// others out. Of a resource of fewer than eight a client may take one.
    #[must_use]
    pub fn eighth_for_client(all_max: usize) -> Arc<Self> {
        Self::new(all_max, (all_max / 8).max(1))
    }

    /// The part of one client.
    #[must_use]
    pub fn client_max(&self) -> usize {
        self.client_max
    }

    /// How much is taken in all.
    #[must_use]
    pub fn taken(&self) -> usize {
        lock(&self.taken).all
    }

    /// Takes an amount, until the share is dropped. Without a client only the whole counts.
    ///
    /// # Errors
    /// [`QuotaExceeded`]; nothing is taken.
    pub fn take(self: &Arc<Self>, client: Option<&RequestClient>, amount: usize) -> Result<QuotaShare, QuotaExceeded> {
        self.add(client, amount)?;
        Ok(self.share(client, amount))
    }

    /// Takes an amount that must not be refused, even if that exceeds what there is.
    pub fn take_anyway(self: &Arc<Self>, client: &RequestClient, amount: usize) -> QuotaShare {
        lock(&self.taken).add(Some(client), amount);
        self.share(Some(client), amount)
    }

    /// A share of a client, which has taken nothing yet.
    pub(crate) fn empty_share(self: &Arc<Self>, client: &RequestClient) -> QuotaShare {
        self.share(Some(client), 0)
    }

    fn add(&self, client: Option<&RequestClient>, amount: usize) -> Result<(), QuotaExceeded> {
        let mut taken = lock(&self.taken);
        let of_client = client.and_then(|client| taken.by_client.get(client)).copied().unwrap_or_default();
        if client.is_some() && of_client.saturating_add(amount) > self.client_max {
            return Err(QuotaExceeded::ByClient);
        }
        if taken.all.saturating_add(amount) > self.all_max {
            return Err(QuotaExceeded::ByAll);
        }
        taken.add(client, amount);
        Ok(())
    }

    fn share(self: &Arc<Self>, client: Option<&RequestClient>, amount: usize) -> QuotaShare {
        QuotaShare { quota: Arc::clone(self), client: client.cloned(), amount }
    }

    fn give_back(&self, client: Option<&RequestClient>, amount: usize) {
        let mut taken = lock(&self.taken);
        taken.all -= amount;
        if let Some(client) = client
            && let Some(of_client) = taken.by_client.get_mut(client)
        {
            *of_client -= amount;
            if *of_client == 0 {
                taken.by_client.remove(client);
            }
        }
    }
}

/// An amount that a client has taken; given back when dropped.
#[derive(Debug)]
pub struct QuotaShare {
    quota: Arc<ClientQuota>,
    client: Option<RequestClient>,
    amount: usize,
}

impl QuotaShare {
    /// Takes more, so that the share has `amount` in all; one that has as much already stays.
    ///
    /// # Errors
    /// [`QuotaExceeded`]; nothing more is taken.
    pub(crate) fn grow_to(&mut self, amount: usize) -> Result<(), QuotaExceeded> {
        let more = amount.saturating_sub(self.amount);
        if more > 0 {
            self.quota.add(self.client.as_ref(), more)?;
            self.amount += more;
        }
        Ok(())
    }
}

impl Drop for QuotaShare {
    fn drop(&mut self) {
        self.quota.give_back(self.client.as_ref(), self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_part_and_no_more_and_gives_it_back() {
        let quota = ClientQuota::new(10, 5);
        let [one, two, three] = [1, 2, 3].map(|last| RequestClient::at([127, 0, 0, last].into()));
        let take = |client, amount| quota.take(Some(client), amount);
        let shares = [take(&one, 2), take(&one, 3)];
        assert!(shares.iter().all(Result::is_ok));
        assert_eq!(take(&one, 1).err(), Some(QuotaExceeded::ByClient));
        let others = [take(&two, 3), take(&three, 2)];
        assert!(others.iter().all(Result::is_ok));
        assert_eq!(take(&three, 1).err(), Some(QuotaExceeded::ByAll));
        assert_eq!(quota.take(None, 1).err(), Some(QuotaExceeded::ByAll));
        drop(shares);
        let without_client = quota.take(None, 1);
        assert!(without_client.is_ok());
        assert_eq!(quota.taken(), 6);
        let recorded = quota.take_anyway(&one, 20);
        assert_eq!((quota.taken(), take(&two, 1).err()), (26, Some(QuotaExceeded::ByAll)));
        drop((recorded, without_client));
        let mut growing = quota.empty_share(&one);
        assert_eq!((growing.grow_to(3), growing.grow_to(2), quota.taken()), (Ok(()), Ok(()), 8));
        assert_eq!((growing.grow_to(6), growing.grow_to(5)), (Err(QuotaExceeded::ByClient), Ok(())));
        assert_eq!((quota.empty_share(&three).grow_to(1), quota.taken()), (Err(QuotaExceeded::ByAll), 10));
        drop((growing, others));
        assert_eq!(quota.taken(), 0);
        assert!(lock(&quota.taken).by_client.is_empty());
    }
}
