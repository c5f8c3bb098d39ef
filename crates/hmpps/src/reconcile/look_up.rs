//! The estate's side by look-ups: the people at a prison, the place of a person, and what probation
//! has.

use domain::identifier::{Crn, PrisonCode, PrisonerNumber};
use serde::Deserialize;
use serde_json::Value;

use super::estate::{EstateManager, EstateRecord, EstateTier, SourceDate};
use crate::lookup::{LookUpClient, LookUpError, LookUpService, TierVersion};

/// People in one page of prisoner search.
const PAGE_PEOPLE: &str = "500";

/// Most pages that are read of a prison: none holds a tenth of so many people.
const PAGES_MAX: u32 = 40;

/// A page of the people at a prison.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrisonPage {
    content: Vec<Value>,
    total_pages: u32,
}

/// The records of the people at a prison, and the number and fault of each that cannot be read.
///
/// # Errors
/// [`LookUpError`]; a record without a number, or more people than a prison has, are unusable.
pub async fn look_up_prison(
    client: &LookUpClient,
    prison: &PrisonCode,
) -> Result<(Vec<EstateRecord>, Vec<(PrisonerNumber, LookUpError)>), LookUpError> {
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    for page in 0..PAGES_MAX {
        let number = page.to_string();
        let (path, query) =
            (["prisoner-search", "prison", prison.as_str()], [("page", number.as_str()), ("size", PAGE_PEOPLE)]);
        let found: Option<PrisonPage> = client.get(LookUpService::PrisonerSearch, &path, &query).await?;
        let found = found.ok_or_else(|| unusable(LookUpService::PrisonerSearch, "does not know the prison"))?;
        for person in &found.content {
            let number = person["prisonerNumber"].as_str().and_then(|text| text.trim().parse().ok());
            match (read(person), number) {
                (Ok(record), _) => records.push(record),
                (Err(fault), Some(number)) => unreadable.push((number, fault)),
                (Err(fault), None) => return Err(fault),
            }
        }
        if page + 1 >= found.total_pages {
            return Ok((records, unreadable));
        }
    }
    Err(unusable(LookUpService::PrisonerSearch, "answers with more people than a prison has"))
}

/// The record of a person; one of a person who is absent, where prisoner search has none.
///
/// # Errors
/// [`LookUpError`]; the record of another person, or one that cannot be read, is unusable.
pub async fn look_up_person(client: &LookUpClient, number: &PrisonerNumber) -> Result<EstateRecord, LookUpError> {
    let found: Option<Value> = client.get(LookUpService::PrisonerSearch, &["prisoner", number.as_str()], &[]).await?;
    let Some(found) = found else { return Ok(EstateRecord::absent(number.clone())) };
    let record = read(&found)?;
    match record.number == *number {
        true => Ok(record),
        false => Err(unusable(LookUpService::PrisonerSearch, "answers with another person")),
    }
}

/// The tier and the COM of a person that probation has under a CRN, from those services that are
/// configured; the tier where a version of its answers is given. A CRN that Delius has of another
/// person says nothing.
///
/// # Errors
/// [`LookUpError`].
pub async fn look_up_probation(
    client: &LookUpClient,
    number: &PrisonerNumber,
    crn: &Crn,
    tier_version: Option<TierVersion>,
) -> Result<EstateRecord, LookUpError> {
    let mut record = EstateRecord { crn: Some(crn.clone()), ..EstateRecord::empty(number.clone()) };
    if client.has(LookUpService::CaseRecords)
        && let Some(found) = client.case_record(crn).await?
    {
        if found.number.as_ref().is_some_and(|found| found != number) {
            return Ok(EstateRecord::empty(number.clone()));
        }
        let manager = found.community_manager().map_or(EstateManager::Vacant, EstateManager::Named);
        record.manager = Some(manager);
    }
    if client.has(LookUpService::Tiers)
        && let Some(version) = tier_version
        && let Some(found) = client.tier(crn, version).await?
    {
        let since = SourceDate { at: found.calculated_at, field: "calculationDate" };
        record.tier = Some(EstateTier { tier: found.tier, since: Some(since) });
    }
    Ok(record)
}

/// Reads a record of prisoner search.
fn read(person: &Value) -> Result<EstateRecord, LookUpError> {
    let text_of = |field: &'static str| match &person[field] {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(person[field].to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let fault = |field: &str| unusable(LookUpService::PrisonerSearch, &format!("answers with a wrong `{field}`"));
    EstateRecord::read(text_of).map_err(|problem| fault(problem.field))
}

fn unusable(service: LookUpService, problem: &str) -> LookUpError {
    LookUpError::Unusable { service: service.name(), problem: problem.to_owned() }
}
