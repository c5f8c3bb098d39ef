//! The client: requests below the configured addresses, with the ledger's token.

use std::{sync::Arc, time::Duration};

use domain::identifier::{Crn, PrisonerNumber};
use reqwest::{Client, Method, Response, StatusCode, Url, header::CONTENT_TYPE};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use sign_on::{check_server_address, server_client};
use tokio::{
    sync::{Mutex, Semaphore},
    time::sleep,
};
use uuid::Uuid;

use super::{
    ClientCredentials, LookUpError,
    failure::TryError,
    records::{CaseRecord, PrisonerRecord, TierRecord, TierVersion},
    token::TokenSource,
};

/// How long a service may take to answer one request.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Longest answer that is read. The record of a person has less than 100 kB, a page of a prison's
/// people some thousands of that.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How often a request is sent that fails in a way that may pass in a moment.
const TRIES_MAX: u32 = 3;

/// The longest pause before the second try; it is doubled before the third.
const PAUSE_MAX: Duration = Duration::from_millis(400);

/// Most requests under way at a time: the services have other callers.
const REQUESTS_MAX: usize = 16;

/// The sign-on, as a failure names it.
const SIGN_ON: &str = "the sign-on";

/// The services that are asked. Clones share the token and the connections.
#[derive(Debug, Clone)]
pub struct LookUpClient {
    inner: Arc<ClientInner>,
}

#[derive(Debug)]
struct ClientInner {
    http: Client,
    token: TokenSource,
    tiers: Option<Url>,
    case_records: Option<Url>,
    prisoner_search: Option<Url>,
    turns: Semaphore,
    /// One question at a time whether a service is well.
    probe: Mutex<()>,
}

/// The addresses of the services. One that is absent is not asked.
#[derive(Debug, Clone, Default)]
pub struct LookUpAddresses {
    /// That of the sign-on, which gives the token: it ends in `/auth`.
    pub sign_on: String,
    /// That of the tier service.
    pub tiers: Option<String>,
    /// That of manage-pom-cases-and-delius.
    pub case_records: Option<String>,
    /// That of prisoner search.
    pub prisoner_search: Option<String>,
}

/// A service that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookUpService {
    /// hmpps-tier.
    Tiers,
    /// manage-pom-cases-and-delius.
    CaseRecords,
    /// hmpps-prisoner-search.
    PrisonerSearch,
}

impl LookUpService {
    pub(crate) const ALL: [Self; 3] = [Self::Tiers, Self::CaseRecords, Self::PrisonerSearch];

    /// The name in sentences.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tiers => "the tier service",
            Self::CaseRecords => "manage-pom-cases-and-delius",
            Self::PrisonerSearch => "prisoner search",
        }
    }

    pub(crate) const fn not_configured(self) -> LookUpError {
        LookUpError::NotConfigured { service: self.name(), setting: self.setting() }
    }

    pub(crate) fn answers_with_another(self) -> LookUpError {
        LookUpError::Unusable { service: self.name(), problem: "answers with another person or case".to_owned() }
    }

    /// The setting that names its address.
    const fn setting(self) -> &'static str {
        match self {
            Self::Tiers => "TIER_API_URL",
            Self::CaseRecords => "MANAGE_POM_CASES_AND_DELIUS_API_URL",
            Self::PrisonerSearch => "PRISONER_SEARCH_API_URL",
        }
    }

    /// The path of something that a service which is well has not: of a case, or of a person, with
    /// an identifier that none has.
    const fn unused_path(self) -> &'static [&'static str] {
        match self {
            Self::Tiers => &["v3", "crn", "X000000", "tier"],
            Self::CaseRecords => &["case-records", "X000000"],
            Self::PrisonerSearch => &["prisoner", "A0000AA"],
        }
    }
}

impl LookUpClient {
    /// A client of the services at these addresses.
    ///
    /// # Errors
    /// An address is not one to which a token may be sent; the sentence names the service.
    pub fn new(addresses: &LookUpAddresses, credentials: ClientCredentials) -> Result<Self, String> {
        let LookUpAddresses { sign_on, tiers, case_records, prisoner_search } = addresses;
        let address = |service: LookUpService, address: &Option<String>| {
            address.as_deref().map(|address| read_address(service.name(), address)).transpose()
        };
        let inner = ClientInner {
            http: server_client().timeout(ANSWER_TIME_MAX).build().map_err(|error| error.to_string())?,
            token: TokenSource::new(read_address(SIGN_ON, sign_on)?, credentials),
            tiers: address(LookUpService::Tiers, tiers)?,
            case_records: address(LookUpService::CaseRecords, case_records)?,
            prisoner_search: address(LookUpService::PrisonerSearch, prisoner_search)?,
            turns: Semaphore::new(REQUESTS_MAX),
            probe: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether the address of a service is configured.
    #[must_use]
    pub fn has(&self, service: LookUpService) -> bool {
        self.address(service).is_some()
    }

    /// The tier of a case now; `None` where the tier service has none.
    ///
    /// # Errors
    /// [`LookUpError`].
    pub async fn tier(&self, crn: &Crn, version: TierVersion) -> Result<Option<TierRecord>, LookUpError> {
        self.get(LookUpService::Tiers, &[version.path(), "crn", crn.as_str(), "tier"], &[]).await
    }

    /// The record of a case in Delius now, by its CRN; `None` where Delius has none.
    ///
    /// # Errors
    /// [`LookUpError`].
    pub async fn case_record(&self, crn: &Crn) -> Result<Option<CaseRecord>, LookUpError> {
        let service = LookUpService::CaseRecords;
        let found: Option<CaseRecord> = self.get(service, &["case-records", crn.as_str()], &[]).await?;
        match found.as_ref().is_none_or(|record| record.crn == *crn) {
            true => Ok(found),
            false => Err(service.answers_with_another()),
        }
    }

    /// The record of a person in prisoner search now; `None` where it has none.
    ///
    /// # Errors
    /// [`LookUpError`].
    pub async fn prisoner(&self, number: &PrisonerNumber) -> Result<Option<PrisonerRecord>, LookUpError> {
        self.get(LookUpService::PrisonerSearch, &["prisoner", number.as_str()], &[]).await
    }

    /// Whether a service answers another question as it should, in the midst of failures. False
    /// also while that is being asked already.
    pub(crate) async fn answers_otherwise(&self, service: LookUpService) -> bool {
        let Ok(_probing) = self.inner.probe.try_lock() else { return false };
        self.get::<IgnoredAny>(service, service.unused_path(), &[]).await.is_ok()
    }

    /// Asks a service for what is at the path of these segments below its address; `None` where it
    /// says that nothing is (404). Tries again where a failure may pass in a moment.
    ///
    /// # Errors
    /// [`LookUpError`].
    pub async fn get<T: DeserializeOwned>(
        &self,
        service: LookUpService,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Option<T>, LookUpError> {
        let mut url = self.address(service).ok_or_else(|| service.not_configured())?.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut tries = 1;
        loop {
            let failed = match self.try_once(&url).await {
                Ok(found) => return Ok(found),
                Err(failed) => failed,
            };
            let (asked, error) = failed.into_asked(service);
            if !matches!(error, TryError::Again(_)) || tries == TRIES_MAX {
                return Err(error.into_look_up_error(asked));
            }
            sleep(some_of(PAUSE_MAX * tries)).await;
            tries += 1;
        }
    }

    async fn try_once<T: DeserializeOwned>(&self, url: &Url) -> Result<Option<T>, FailedTry> {
        // Never closed.
        let _turn = self.inner.turns.acquire().await;
        let mut has_renewed = false;
        loop {
            let token = self.inner.token.token(&self.inner.http).await.map_err(FailedTry::SignOn)?;
            // Prisoner search asks for the type of a body also where a request has none.
            let request = self.inner.http.request(Method::GET, url.clone()).bearer_auth(&token);
            let request = request.header(CONTENT_TYPE, "application/json");
            let response = request.send().await.map_err(|error| FailedTry::Service(error.into()))?;
            match response.status() {
                StatusCode::OK => return read_answer(response).await.map(Some).map_err(FailedTry::Service),
                StatusCode::NOT_FOUND => return read_absence(response).await.map_err(FailedTry::Service),
                StatusCode::UNAUTHORIZED if !has_renewed => {
                    self.inner.token.forget(&token).await;
                    has_renewed = true;
                }
                status => return Err(FailedTry::Service(TryError::of_status(status))),
            }
        }
    }

    fn address(&self, service: LookUpService) -> Option<&Url> {
        match service {
            LookUpService::Tiers => self.inner.tiers.as_ref(),
            LookUpService::CaseRecords => self.inner.case_records.as_ref(),
            LookUpService::PrisonerSearch => self.inner.prisoner_search.as_ref(),
        }
    }
}

/// The server that failed in a try: the one asked, or the sign-on before it.
enum FailedTry {
    SignOn(TryError),
    Service(TryError),
}

impl FailedTry {
    fn into_asked(self, service: LookUpService) -> (&'static str, TryError) {
        match self {
            Self::SignOn(error) => (SIGN_ON, error),
            Self::Service(error) => (service.name(), error),
        }
    }
}

/// Reads an address below which a server is asked.
fn read_address(service: &str, address: &str) -> Result<Url, String> {
    let problem = |problem: &str| format!("the address of {service}: {problem}");
    check_server_address(address).map_err(|why| problem(&why))?;
    let url: Url = address.parse().map_err(|_| problem("it is no URL"))?;
    match url.query().or(url.fragment()) {
        None => Ok(url),
        Some(_) => Err(problem("leave out what is after its path")),
    }
}

/// Reads an answer in JSON, of a length that fits.
pub(super) async fn read_answer<T: DeserializeOwned>(mut response: Response) -> Result<T, TryError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(TryError::Unusable(format!("answers with more than {ANSWER_BYTES_MAX} bytes")));
        }
    }
    // The text of the error may quote what the answer says of a person.
    serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        TryError::Unusable(format!("answers what cannot be read, at line {line}, column {column}"))
    })
}

/// Reads the answer that nothing is there. The services give it as JSON, with its status. Another
/// server at a wrong address answers otherwise, and the same one for a path that it does not know.
async fn read_absence<T>(response: Response) -> Result<Option<T>, TryError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ErrorAnswer {
        status: u16,
        developer_message: Option<String>,
    }
    let is_of_path = |message: &str| message.contains("No static resource");
    match read_answer::<ErrorAnswer>(response).await {
        Ok(ErrorAnswer { status: 404, developer_message }) if !developer_message.as_deref().is_some_and(is_of_path) => {
            Ok(None)
        }
        Ok(_) | Err(TryError::Unusable(_)) => {
            Err(TryError::Unavailable("answers with the status 404 to a path that it should know".to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// A random time of up to `most`: many that failed at one moment do not all come again at another.
fn some_of(most: Duration) -> Duration {
    let [byte, ..] = *Uuid::new_v4().as_bytes();
    most * u32::from(byte) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(sign_on: &str, tiers: &str) -> Result<LookUpClient, String> {
        let addresses = LookUpAddresses {
            sign_on: sign_on.to_owned(),
            tiers: Some(tiers.to_owned()),
            ..LookUpAddresses::default()
        };
        LookUpClient::new(&addresses, ClientCredentials { id: "ledger".to_owned(), secret: "secret".to_owned() })
    }

    #[test]
    fn a_token_is_sent_in_the_open_to_this_machine_alone() {
        let auth = "https://sign-in.example/auth";
        assert!(client(auth, "https://tiers.example").is_ok());
        assert!(client("http://127.0.0.1:9090/auth", "http://localhost:8080/").is_ok());
        for (sign_on, tiers, why) in [
            ("http://sign-in.example/auth", "https://tiers.example", "the address of the sign-on"),
            (auth, "http://tiers.example", "the address of the tier service"),
            (auth, "https://tiers.example/?a=b", "leave out what is after its path"),
            (auth, "tiers", "the address of the tier service"),
        ] {
            let error = client(sign_on, tiers).expect_err("an address that is refused");
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_logged_client_shows_no_secret() {
        let client = client("https://sign-in.example/auth", "https://tiers.example").expect("a client");
        assert!(!format!("{client:?}").contains("\"secret\""), "{client:?}");
    }

    #[test]
    fn pauses_are_of_many_lengths() {
        let pauses: std::collections::BTreeSet<_> = (0..50).map(|_| some_of(PAUSE_MAX)).collect();
        assert!(pauses.len() > 10 && pauses.iter().all(|pause| *pause <= PAUSE_MAX), "{pauses:?}");
    }
}
