//! The caseloads of a person, asked of the service that knows them and kept for a few minutes.
//!
//! - The caller's own token goes with the question, so the ledger needs no credential of its own.
//! - A person is a name and the source where it signed on.
//! - One look-up of a person is under way at a time, and few of all people; each has a time limit.
//! - A look-up that fails gives no answer, whatever was found longer ago.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{
    confinement::Prisons,
    identifier::{PrisonCode, Username},
};
use quick_cache::sync::Cache;
use reqwest::StatusCode;
use serde::Deserialize;
use tokio::{sync::Semaphore, time::timeout};

use crate::server::{check_server_address, server_client};

/// How long a look-up may take, with the wait for its turn.
const LOOK_UP_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the caseloads of a person count: after that, a new one is seen and a withdrawn one is
/// gone.
const KEPT: Duration = Duration::from_secs(5 * 60);

/// Most people whose caseloads are kept. Each takes some 200 bytes; some 10,000 people in prisons
/// use such services.
const PEOPLE_MAX: usize = 20_000;

/// Most look-ups under way at a time.
const LOOK_UPS_MAX: usize = 16;

/// Longest answer that is read: a person with every caseload there is has less than 20 kB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Where the name of the person goes in the address, if it goes there.
const PLACE_OF_NAME: &str = "{username}";

/// The service that knows the caseloads of people.
#[derive(Debug)]
pub struct CaseloadService {
    address: String,
    http: reqwest::Client,
    kept: Cache<Person, (Prisons, Instant)>,
    turns: Semaphore,
}

/// A person. Users of two sources may have one name and be two people.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Person {
    user: Username,
    auth_source: Option<String>,
}

/// Why the caseloads of a person are not known.
#[derive(Debug, thiserror::Error)]
pub enum CaseloadError {
    /// The service did not answer.
    #[error("ask for the caseloads")]
    NoAnswer(#[source] reqwest::Error),
    /// The service, or the turn to ask it, took too long.
    #[error("the caseloads did not come within {} s", LOOK_UP_TIME_MAX.as_secs())]
    Slow,
    /// The service answered that something is wrong.
    #[error("the answer with the caseloads has the status {0}")]
    Status(StatusCode),
    /// The answer is too long.
    #[error("the answer with the caseloads has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// The answer is not of the form that it should have.
    #[error("read the caseloads")]
    Unreadable(#[source] serde_json::Error),
}

/// An answer of the service.
#[derive(Deserialize)]
struct CaseloadAnswer {
    caseloads: Vec<CaseloadName>,
}

#[derive(Deserialize)]
struct CaseloadName {
    id: String,
}

impl CaseloadService {
    /// The service at an address, in which `{username}` is the name of the person.
    ///
    /// # Errors
    /// The address is not one to which tokens may be sent, or the client cannot be made.
    pub fn new(address: &str) -> Result<Self, String> {
        check_server_address(&address.replace(PLACE_OF_NAME, "NAME"))?;
        let http = server_client().build().map_err(|error| error.to_string())?;
        let (kept, turns) = (Cache::new(PEOPLE_MAX), Semaphore::new(LOOK_UPS_MAX));
        Ok(Self { address: address.to_owned(), http, kept, turns })
    }

    /// The prisons among the caseloads of a user who signed on at a source, and whose token it is.
    pub(crate) async fn find(
        &self,
        user: &Username,
        auth_source: Option<&str>,
        token: &str,
    ) -> Result<Prisons, CaseloadError> {
        let person = Person { user: user.clone(), auth_source: auth_source.map(str::to_owned) };
        self.kept.remove_if(&person, |(_, found_at)| found_at.elapsed() >= KEPT);
        let look_up = async {
            let prisons = self.ask(user, token).await?;
            Ok((prisons, Instant::now()))
        };
        let find = self.kept.get_or_insert_async(&person, look_up);
        let (prisons, _) = timeout(LOOK_UP_TIME_MAX, find).await.map_err(|_| CaseloadError::Slow)??;
        Ok(prisons)
    }

    async fn ask(&self, user: &Username, token: &str) -> Result<Prisons, CaseloadError> {
        let _turn = self.turns.acquire().await.map_err(|_| CaseloadError::Slow)?;
        if user.as_str().bytes().all(|byte| byte == b'.') {
            // Such a segment would lead to another path.
            return Ok(Prisons::default());
        }
        let address = self.address.replace(PLACE_OF_NAME, user.as_str());
        let request = self.http.get(address).bearer_auth(token);
        let mut response = request.send().await.map_err(|error| CaseloadError::NoAnswer(error.without_url()))?;
        match response.status() {
            StatusCode::OK => {}
            // A person of another system than NOMIS has no caseloads.
            StatusCode::NOT_FOUND => return Ok(Prisons::default()),
            status => return Err(CaseloadError::Status(status)),
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| CaseloadError::NoAnswer(error.without_url()))? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(CaseloadError::TooLong);
            }
        }
        let answer: CaseloadAnswer = serde_json::from_slice(&body).map_err(CaseloadError::Unreadable)?;
        // Caseloads of courts and of the central team are no prisons.
        Ok(Arc::new(answer.caseloads.iter().filter_map(|caseload| caseload.id.parse::<PrisonCode>().ok()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_sent_in_the_open_to_this_machine_alone() {
        for address in ["https://roles.example/users/{username}/caseloads", "http://localhost/{username}"] {
            assert!(CaseloadService::new(address).is_ok(), "{address}");
        }
        assert!(CaseloadService::new("http://roles.example/users/{username}/caseloads").is_err());
    }
}
