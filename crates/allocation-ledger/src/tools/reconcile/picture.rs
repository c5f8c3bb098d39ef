//! The estate's side of a prison: from extracts, and from look-ups for what no extract says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use domain::identifier::{Crn, PrisonerNumber};
use futures::{StreamExt as _, stream};
use hmpps::{
    LookUpClient, LookUpError, LookUpService, LookUps,
    reconcile::{Discrepancy, EstateRecord, look_up_person, look_up_prison, look_up_probation},
};
use http_api::instant::DateOrInstant;
use spreadsheets::contacts::ContactRow;

use super::{ReconcileSettings, extract::read_extract};
use crate::tools::import::nomis_contacts::read_whole_list;

/// People who are looked up side by side; the client has a bound of its own.
const LOOK_UPS_AT_ONCE: usize = 16;

/// The columns of an extract of prisoner search that it must have.
const PRISONER_COLUMNS: [&str; 2] = ["prisonerNumber", "prisonId"];

/// The columns of an extract of probation, of which it must have one.
const PROBATION_COLUMNS: [&str; 2] = ["tier", "managerSurname"];

/// The estate's side, as far as sources are given.
pub(super) struct EstatePicture {
    /// The records of people.
    pub records: BTreeMap<PrisonerNumber, EstateRecord>,
    /// The contacts in NOMIS.
    pub contacts: Option<Vec<ContactRow>>,
    /// The time of the picture. The ledger may have learnt more since.
    pub taken_at: Option<DateTime<Utc>>,
    /// Whether an extract says who is at the prison.
    has_places: bool,
    /// Whether an extract says what probation has.
    has_probation: bool,
    look_ups: Option<LookUps>,
    /// The answers of services that cannot be read.
    pub unreadable: Vec<Discrepancy>,
}

impl EstatePicture {
    /// Reads the extracts, and asks nothing yet.
    ///
    /// # Errors
    /// A file or a setting is wrong, or there is no source.
    pub fn read(settings: &ReconcileSettings, now: DateTime<Utc>) -> anyhow::Result<Self> {
        let ReconcileSettings { prison, prisoners, probation, contacts, .. } = settings;
        let look_ups = settings.look_ups.open()?;
        ensure!(
            prisoners.is_some() || probation.is_some() || contacts.is_some() || look_ups.is_some(),
            "there is nothing to compare with: give --prisoners, --probation or --contacts, or the addresses of services \
             to ask"
        );
        let taken_at = settings.taken_at.map(DateOrInstant::instant);
        ensure!(taken_at.is_none_or(|taken_at| taken_at <= now), "--taken-at lies in the future");
        let has_extracts = prisoners.is_some() || probation.is_some();
        ensure!(
            !(settings.apply && has_extracts) || taken_at.is_some(),
            "--apply needs --taken-at, the time at which the extracts were made: what the ledger has learnt since must \
             stay"
        );
        let mut picture = Self {
            records: match prisoners {
                Some(path) => read_extract(path, &EstateRecord::FIELDS, &PRISONER_COLUMNS, &[])?,
                None => BTreeMap::new(),
            },
            contacts: contacts.as_deref().map(|path| read_whole_list(path, prison, now)).transpose()?,
            taken_at: taken_at.or(look_ups.is_some().then_some(now)),
            has_places: prisoners.is_some(),
            has_probation: probation.is_some(),
            look_ups,
            unreadable: Vec::new(),
        };
        if let Some(path) = probation {
            let fields = &EstateRecord::PROBATION_FIELDS;
            let records = read_extract(path, fields, &PRISONER_COLUMNS[..1], &PROBATION_COLUMNS)?;
            records.into_values().for_each(|record| picture.add(record));
        }
        Ok(picture)
    }

    fn add(&mut self, record: EstateRecord) {
        match self.records.get_mut(&record.number) {
            Some(known) => known.add(record),
            None => drop(self.records.insert(record.number.clone(), record)),
        }
    }

    /// Adds the records of people that were looked up. One that cannot be read is left out, and
    /// told.
    fn add_found(
        &mut self,
        found: Vec<(Result<EstateRecord, LookUpError>, PrisonerNumber)>,
    ) -> Result<(), LookUpError> {
        for (record, number) in found {
            match record {
                Ok(record) => self.add(record),
                Err(fault @ LookUpError::Unusable { .. }) => self.leave_out(number, &fault),
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, number: PrisonerNumber, fault: &LookUpError) {
        self.unreadable.push(Discrepancy::unreadable(number, fault.to_string()));
    }

    /// Adds who is at the prison, and where those are whom the ledger has there: from prisoner
    /// search, unless an extract says it. Without either, places are not compared.
    ///
    /// # Errors
    /// Prisoner search does not answer, or not with what can be used.
    pub async fn add_places(
        &mut self,
        settings: &ReconcileSettings,
        held_here: &BTreeSet<PrisonerNumber>,
    ) -> anyhow::Result<()> {
        let client = self.look_ups.as_ref().map(|look_ups| look_ups.client.clone());
        let client = client.filter(|client| !self.has_places && client.has(LookUpService::PrisonerSearch));
        if let Some(client) = &client {
            let prison = &settings.prison;
            let (found, unreadable) =
                look_up_prison(client, prison).await.with_context(|| format!("look up the people at {prison}"))?;
            found.into_iter().for_each(|record| self.add(record));
            unreadable.into_iter().for_each(|(number, fault)| self.leave_out(number, &fault));
        } else if !self.has_places {
            return Ok(());
        }
        // The survivor has the case of a number that was merged into it.
        let removed: BTreeSet<_> =
            self.records.values().flat_map(|record| record.removed_numbers.iter().cloned()).collect();
        let has_place = |number: &PrisonerNumber| self.records.get(number).is_some_and(|record| record.place.is_some());
        let is_left_out = |number: &PrisonerNumber| self.unreadable.iter().any(|finding| finding.number == *number);
        let is_missing =
            |number: &&PrisonerNumber| !removed.contains(number) && !has_place(number) && !is_left_out(number);
        let missing: Vec<PrisonerNumber> = held_here.iter().filter(is_missing).cloned().collect();
        match client {
            Some(client) => {
                let look_ups = missing.into_iter().map(async |number| (look_up_person(&client, &number).await, number));
                let found: Vec<_> = stream::iter(look_ups).buffered(LOOK_UPS_AT_ONCE).collect().await;
                self.add_found(found).context("look up people of the prison")?;
            }
            None => missing.into_iter().map(EstateRecord::absent).for_each(|record| self.add(record)),
        }
        Ok(())
    }

    /// Adds the tiers and COMs of cases, by their CRNs, from the services that are configured,
    /// unless an extract says them.
    ///
    /// # Errors
    /// A service does not answer, or not with what can be used.
    pub async fn add_probation(&mut self, crns: Vec<(PrisonerNumber, Crn)>) -> anyhow::Result<()> {
        let Some(LookUps { client, tier_version }) = self.look_ups.clone().filter(|_| !self.has_probation) else {
            return Ok(());
        };
        let asks = |service| LookUpClient::has(&client, service);
        if tier_version.is_none() && asks(LookUpService::Tiers) {
            eprintln!("Tiers are not compared: say with --tier-version which answers of the tier service count.");
        }
        let look_up = async |(number, crn): (PrisonerNumber, Crn)| {
            (look_up_probation(&client, &number, &crn, tier_version).await, number)
        };
        let found: Vec<_> = stream::iter(crns).map(look_up).buffered(LOOK_UPS_AT_ONCE).collect().await;
        self.add_found(found).context("look up what probation has")
    }
}
