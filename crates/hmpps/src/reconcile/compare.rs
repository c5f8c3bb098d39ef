//! The comparison of one person: what the ledger has of the case, beside what the estate has. It
//! is pure.

use chrono::{DateTime, Utc};
use domain::{
    Entry, Refusal,
    event::RecordedBy,
    identifier::{CommandId, EventId, PrisonCode, PrisonerNumber},
    london,
    officer::CommunityManager,
    prisoner::{
        Command, Context, DeallocationTrigger, History, PrisonerEvent, Received, ReceptionReason, RecommendationPolicy,
        Release, State, TierAssigned, Transfer, decide,
    },
    tier::TierSource,
};
use uuid::Uuid;

use super::estate::{EstateManager, EstatePlace, EstateRecord, EstateTier, SourceDate, Stay};

/// A difference between the ledger and the estate.
#[derive(Debug, Clone, PartialEq)]
pub struct Discrepancy {
    /// The number of the case.
    pub number: PrisonerNumber,
    /// The kind of difference.
    pub kind: DiscrepancyKind,
    /// The ledger's side, in a few words.
    pub ledger: String,
    /// The estate's side, in a few words.
    pub estate: String,
    /// How the difference may be closed.
    pub resolution: Resolution,
}

/// A kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiscrepancyKind {
    /// Another number was merged into this one, and the ledger has it as a case of its own.
    Merged,
    /// The ledger merged this number into another one, and the estate has it still.
    Retired,
    /// Released, and held at the prison in the ledger.
    Released,
    /// At another prison or in transit, and held at the prison in the ledger.
    HeldElsewhere,
    /// At the prison, and unknown to the ledger.
    Unknown,
    /// At the prison, and elsewhere in the ledger.
    HeldHere,
    /// Held at the prison in the ledger, and unknown to the source.
    Absent,
    /// Held at the prison in the ledger, and at a place that means nothing certain for the case.
    Unclear,
    /// Another tier.
    Tier,
    /// Another COM.
    CommunityManager,
    /// An answer of a service about the person that cannot be read.
    Unreadable,
    /// A POM contact that is still in NOMIS, though the prison has joined OMiC.
    ContactRemains,
    /// A POM contact that is gone from NOMIS, which the ledger does not know.
    ContactGone,
}

impl Discrepancy {
    /// The finding that a service answers what cannot be read.
    #[must_use]
    pub fn unreadable(number: PrisonerNumber, problem: String) -> Self {
        let why = "tell the team of the service, and compare again".to_owned();
        let (kind, ledger, resolution) =
            (DiscrepancyKind::Unreadable, "not compared".to_owned(), Resolution::Leave(why));
        Self { number, kind, ledger, estate: problem, resolution }
    }
}

impl DiscrepancyKind {
    /// The word for it in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Merged => "MERGED",
            Self::Retired => "RETIRED",
            Self::Released => "RELEASED",
            Self::HeldElsewhere => "HELD_ELSEWHERE",
            Self::Unknown => "UNKNOWN",
            Self::HeldHere => "HELD_HERE",
            Self::Absent => "ABSENT",
            Self::Unclear => "UNCLEAR",
            Self::Tier => "TIER",
            Self::CommunityManager => "COM",
            Self::Unreadable => "UNREADABLE",
            Self::ContactRemains => "CONTACT_REMAINS",
            Self::ContactGone => "CONTACT_GONE",
        }
    }
}

/// How a difference may be closed.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// By a command, with no choice to make.
    Record(Box<Remedy>),
    /// By a person, and why.
    Leave(String),
}

/// The command that closes a difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Remedy {
    /// The operation, in the words of the HTTP API.
    pub operation: &'static str,
    /// The command.
    pub command: Command,
    /// Since when it holds, if the source says that; else from when it is recorded.
    pub since: Option<SourceDate>,
}

/// The ledger's side of a person.
#[derive(Debug, Clone, Copy)]
pub struct LedgerCase<'a> {
    /// The case of the number.
    pub case: &'a History,
    /// The cases of the numbers that the source says were merged into it.
    pub removed: &'a [History],
    /// Whether the prison has a case of which the source knows nothing: an unknown person may be
    /// that one, under another number.
    pub is_one_absent: bool,
}

/// The part of a case that a difference is about.
#[derive(Debug, Clone, Copy)]
enum Aspect {
    Place,
    Tier,
    Manager,
}

impl Aspect {
    fn is_touched_by(self, event: &PrisonerEvent) -> bool {
        match (self, event) {
            (_, PrisonerEvent::EntryVoided(_) | PrisonerEvent::PrisonerNumberMerged(_)) => true,
            (Self::Place, PrisonerEvent::TierAssigned(tier)) => tier.prison.is_some(),
            (
                Self::Place,
                PrisonerEvent::Received(_) | PrisonerEvent::AllocationMade(_) | PrisonerEvent::Deallocated(_),
            )
            | (Self::Tier, PrisonerEvent::TierAssigned(_))
            | (Self::Manager, PrisonerEvent::CommunityManagerAssigned(_) | PrisonerEvent::CommunityManagerRemoved(_)) => {
                true
            }
            _ => false,
        }
    }
}

/// The differences about a person, of those that concern a prison: merges, or else the place, tier
/// and COM. `taken_at` is the time of the estate's picture: what the ledger has learnt since is
/// newer.
#[must_use]
pub fn compare(
    prison: &PrisonCode,
    record: &EstateRecord,
    ledger: LedgerCase<'_>,
    taken_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Vec<Discrepancy> {
    // As the command side reckons where another server's clock is ahead.
    let now = ledger.case.entries().last().map_or(now, |entry| entry.recorded_at.max(now));
    let state = ledger.case.state();
    let pair = ComparedPair { prison, record, ledger, case: ledger.case, state, taken_at, now };
    let is_here = record.prison() == Some(prison);
    let is_held_here = |state: &State| state.prison.as_ref() == Some(prison);
    if let Some((_, survivor)) = ledger.case.retirement() {
        let finding = || {
            let why =
                format!("a merge cannot be taken back: find out which of {} and {survivor} is right", record.number);
            let (ledger, estate) = (format!("merged into {survivor}"), format!("at {prison}"));
            pair.finding(DiscrepancyKind::Retired, ledger, estate, Resolution::Leave(why))
        };
        return is_here.then(finding).into_iter().collect();
    }
    let concerns_prison =
        is_here || is_held_here(&pair.state) || ledger.removed.iter().any(|removed| is_held_here(&removed.state()));
    if !concerns_prison {
        return Vec::new();
    }
    let merges: Vec<Discrepancy> = ledger.removed.iter().filter_map(|removed| pair.compare_merge(removed)).collect();
    // All else about the person is compared once the merge is right.
    if !merges.is_empty() {
        return merges;
    }
    let place = pair.compare_place();
    // A tier or a COM would begin a case that may be another's.
    if ledger.case.is_empty() && place.as_ref().is_some_and(|place| matches!(place.resolution, Resolution::Leave(_))) {
        return place.into_iter().collect();
    }
    place.into_iter().chain(pair.compare_tier()).chain(pair.compare_manager()).collect()
}

/// A person on both sides.
struct ComparedPair<'a> {
    prison: &'a PrisonCode,
    record: &'a EstateRecord,
    ledger: LedgerCase<'a>,
    case: &'a History,
    state: State,
    taken_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

impl ComparedPair<'_> {
    fn finding(&self, kind: DiscrepancyKind, ledger: String, estate: String, resolution: Resolution) -> Discrepancy {
        Discrepancy { number: self.record.number.clone(), kind, ledger, estate, resolution }
    }

    fn compare_merge(&self, removed: &History) -> Option<Discrepancy> {
        let number = removed.number();
        let (ledger, resolution) = match removed.retirement() {
            _ if removed.is_empty() => return None,
            // Merged, and perhaps by way of another number.
            Some((_, survivor))
                if *survivor == self.record.number || self.record.removed_numbers.contains(survivor) =>
            {
                return None;
            }
            Some((_, survivor)) => {
                let why = format!("find out whether {number} is the person of {survivor} or of {}", self.record.number);
                (format!("{number} was merged into {survivor}"), Resolution::Leave(why))
            }
            None => {
                let why = "a merge cannot be taken back: record it once it is certain that both are one person";
                let ledger = format!("{number} is a case of its own, {}", place_in_words(&removed.state()));
                (ledger, Resolution::Leave(why.to_owned()))
            }
        };
        Some(self.finding(DiscrepancyKind::Merged, ledger, format!("{number} was merged into this number"), resolution))
    }

    fn compare_place(&self) -> Option<Discrepancy> {
        let is_held_here = self.state.prison.as_ref() == Some(self.prison);
        let place = self.record.place.as_ref()?;
        let (kind, estate, resolution) = match place {
            EstatePlace::Prison(stay) if stay.prison == *self.prison => {
                if is_held_here || self.has_left_by_legal_status() {
                    return None;
                }
                let kind = if self.case.is_empty() { DiscrepancyKind::Unknown } else { DiscrepancyKind::HeldHere };
                (kind, format!("at {}", stay.prison), self.bring_here(stay))
            }
            _ if !is_held_here => return None,
            EstatePlace::Prison(stay) if stay.prison.listed_name().is_none() => {
                let why = format!("{} is not in the program's list of prisons: is that its code?", stay.prison);
                (DiscrepancyKind::HeldElsewhere, format!("at {}", stay.prison), Resolution::Leave(why))
            }
            EstatePlace::Prison(stay) => {
                let resolution = self.move_to(stay.prison.clone(), stay.since);
                (DiscrepancyKind::HeldElsewhere, format!("at {}", stay.prison), resolution)
            }
            EstatePlace::InTransit(since) => {
                let resolution = self.move_to("TRN".parse().expect("the code of being in transit"), *since);
                (DiscrepancyKind::HeldElsewhere, "in transit".to_owned(), resolution)
            }
            EstatePlace::Released(since) => {
                let command = Command::Release(Release { prison: Some(self.prison.clone()) });
                let is_settled = |state: &State| state.prison.is_none();
                let resolution = self.settle(Aspect::Place, "release", command, *since, is_settled);
                (DiscrepancyKind::Released, "released".to_owned(), resolution)
            }
            EstatePlace::InHospital(Some(supporting)) if supporting == self.prison => return None,
            EstatePlace::InHospital(supporting) => {
                let why = "find out whether the case goes on at the prison, and record what is right".to_owned();
                let supporting = supporting.as_ref().map(|prison| format!(", supported by {prison}"));
                let place = format!("a restricted patient in hospital{}", supporting.unwrap_or_default());
                (DiscrepancyKind::Unclear, place, Resolution::Leave(why))
            }
            EstatePlace::Unclear(place) => {
                let why = "find out whether the case goes on at the prison, and record what is right".to_owned();
                (DiscrepancyKind::Unclear, place.clone(), Resolution::Leave(why))
            }
            EstatePlace::Absent => {
                let why = "find out where the person is, or whether the number was merged into another".to_owned();
                (DiscrepancyKind::Absent, "not there".to_owned(), Resolution::Leave(why))
            }
        };
        let ledger = if self.case.is_empty() { "unknown".to_owned() } else { place_in_words(&self.state) };
        Some(self.finding(kind, ledger, estate, resolution))
    }

    /// Whether the case ended because the person has no POM by the legal status. Such a person may
    /// be at the prison, and is no case.
    fn has_left_by_legal_status(&self) -> bool {
        let ended = self.case.in_effective_order().into_iter().rev().find_map(|entry| match &entry.event {
            PrisonerEvent::Deallocated(ended) => Some(ended.trigger),
            _ => None,
        });
        self.state.left_at.is_some() && ended == Some(DeallocationTrigger::LegalStatusChanged)
    }

    /// Brings a person to the prison: by a reception where the ledger has them at none.
    fn bring_here(&self, stay: &Stay) -> Resolution {
        if self.case.is_empty() && self.ledger.is_one_absent {
            let why = "the prison has a case that the source lacks: find out whether this is that person, under another number";
            return Resolution::Leave(why.to_owned());
        }
        let is_released = self.state.left_at.is_some();
        let reason = match (is_released, stay.is_by_transfer) {
            // As a message of such an arrival is taken in.
            (true, true) => return self.move_to(stay.prison.clone(), stay.since),
            (true, false) => ReceptionReason::Readmission,
            (false, true) => ReceptionReason::Transferred,
            (false, false) => ReceptionReason::NewAdmission,
        };
        if self.state.prison.is_some() {
            return self.move_to(stay.prison.clone(), stay.since);
        }
        let command = Command::Receive(Received { prison: stay.prison.clone(), reason });
        let is_settled = |state: &State| state.prison.as_ref() == Some(&stay.prison);
        self.settle(Aspect::Place, "receive", command, stay.since, is_settled)
    }

    fn move_to(&self, prison: PrisonCode, since: Option<SourceDate>) -> Resolution {
        let command = Command::Transfer(Transfer { to_prison: prison.clone() });
        self.settle(Aspect::Place, "transfer", command, since, |state| state.prison.as_ref() == Some(&prison))
    }

    fn compare_tier(&self) -> Option<Discrepancy> {
        let EstateTier { tier, since } = self.record.tier.as_ref()?;
        let held = self.state.tier.as_ref();
        if held.is_some_and(|held| tier.includes(held.tier)) {
            return None;
        }
        let command = Command::AssignTier(TierAssigned {
            tier: *tier,
            rosh_level: held.and_then(|held| held.rosh_level),
            source: TierSource::Delius,
            crn: self.record.crn.clone().or_else(|| self.state.crn.clone()),
            prison: None,
        });
        let is_settled = |state: &State| state.tier.as_ref().is_some_and(|held| held.tier == *tier);
        let settle = || self.settle(Aspect::Tier, "assign-tier", command, self.since_of_tier(*since), is_settled);
        let resolution = self.refuse_other_crn().unwrap_or_else(settle);
        let ledger = held.map_or_else(|| "none".to_owned(), |held| held.tier.to_string());
        Some(self.finding(DiscrepancyKind::Tier, ledger, tier.to_string(), resolution))
    }

    /// Since when a tier of the source is recorded: not from before the case begins, and from now
    /// on where the ledger has another of Delius since later. Such an entry repeats an earlier
    /// tier, as with another risk of serious harm.
    fn since_of_tier(&self, since: Option<SourceDate>) -> Option<SourceDate> {
        let entries = self.case.in_effective_order();
        let begins = entries.first().map(|entry| entry.effective_at);
        let since =
            since.map(|since| SourceDate { at: begins.map_or(since.at, |begins| since.at.max(begins)), ..since });
        let last = entries.into_iter().rev().find_map(|entry| match &entry.event {
            PrisonerEvent::TierAssigned(tier) => Some((entry.effective_at, tier.source)),
            _ => None,
        });
        since.filter(|since| !last.is_some_and(|(at, source)| at > since.at && source == TierSource::Delius))
    }

    fn compare_manager(&self) -> Option<Discrepancy> {
        let held = self.state.community_manager.as_ref().map(|role| &role.manager);
        let (operation, command, named) = match self.record.manager.as_ref()? {
            EstateManager::Vacant => {
                held?;
                ("remove-community-manager", Command::RemoveCommunityManager, None)
            }
            EstateManager::Named(told) => {
                let named = with_known_members(told, held);
                if held.is_some_and(|held| looks_same(held, &named)) {
                    return None;
                }
                ("assign-community-manager", Command::AssignCommunityManager(named.clone()), Some(named))
            }
        };
        let is_settled = |state: &State| state.community_manager.as_ref().map(|role| &role.manager) == named.as_ref();
        let settle = || self.settle(Aspect::Manager, operation, command, None, is_settled);
        let resolution = self.refuse_other_crn().unwrap_or_else(settle);
        let (ledger, estate) = (manager_in_words(held), manager_in_words(named.as_ref()));
        Some(self.finding(DiscrepancyKind::CommunityManager, ledger, estate, resolution))
    }

    /// Leaves to a person what probation has under another number than the ledger: it may be of
    /// another person.
    fn refuse_other_crn(&self) -> Option<Resolution> {
        let (held, told) = (self.state.crn.as_ref()?, self.record.crn.as_ref()?);
        (held != told).then(|| Resolution::Leave(format!("the ledger has the CRN {held}, and probation {told}")))
    }

    /// The command, if the case is settled once it is recorded.
    fn settle(
        &self,
        aspect: Aspect,
        operation: &'static str,
        command: Command,
        since: Option<SourceDate>,
        is_settled: impl Fn(&State) -> bool,
    ) -> Resolution {
        let learnt = self.case.entries().iter().rev().find(|entry| aspect.is_touched_by(&entry.event));
        if let Some((entry, taken_at)) = learnt.zip(self.taken_at)
            && entry.recorded_at > taken_at
        {
            let at = london::clock(entry.recorded_at);
            return Resolution::Leave(format!("the ledger learnt more at {at}: compare again with a newer picture"));
        }
        match self.state_after(&command, since) {
            Ok(state) if is_settled(&state) => Resolution::Record(Box::new(Remedy { operation, command, since })),
            Ok(_) => Resolution::Leave(
                "an entry of the ledger that holds from later says otherwise: find out which is right".to_owned(),
            ),
            Err(refusal) => Resolution::Leave(refusal.sentence),
        }
    }

    /// The state of the case with a command recorded.
    fn state_after(&self, command: &Command, since: Option<SourceDate>) -> Result<State, Refusal> {
        let effective_at = since.map_or(self.now, |since| since.at);
        // The commands of this module give no role, so that no roster and no policy is looked at.
        let recommendation_policy = RecommendationPolicy::Tier;
        let context = Context { now: self.now, effective_at, prison: None, recommendation_policy };
        let events = decide(self.case, command, &context)?;
        let mut case = self.case.clone();
        for event in events {
            case.push(Entry {
                event_id: EventId(Uuid::nil()),
                revision: case.entries().len() as u64,
                position: u64::MAX,
                effective_at,
                recorded_at: self.now,
                recorded_by: RecordedBy { username: None, client: String::new(), auth_source: None },
                command_id: CommandId(Uuid::nil()),
                event,
            });
        }
        Ok(case.state())
    }
}

fn place_in_words(state: &State) -> String {
    match (&state.prison, state.left_at) {
        (Some(prison), _) => {
            let pom = state.primary_pom.as_ref().map(|role| format!(", with {}", role.pom.name));
            format!("at {prison}{}", pom.unwrap_or_default())
        }
        (None, Some(left_at)) => format!("left on {}", london::date(left_at)),
        (None, None) => "at no prison".to_owned(),
    }
}

fn manager_in_words(manager: Option<&CommunityManager>) -> String {
    let Some(CommunityManager { name, email, team, ldu }) = manager else { return "none".to_owned() };
    let details = [email, team, ldu].into_iter().flatten();
    details.fold(name.clone(), |words, detail| format!("{words}, {detail}"))
}

/// A COM as the source has them, with the members that it does not tell as the ledger has them, of
/// the same person.
fn with_known_members(told: &CommunityManager, held: Option<&CommunityManager>) -> CommunityManager {
    let is_same = |held: &&CommunityManager| {
        same_text(Some(&held.name), Some(&told.name))
            && (told.email.is_none() || same_text(held.email.as_ref(), told.email.as_ref()))
    };
    let Some(held) = held.filter(is_same) else { return told.clone() };
    let or_held = |told: &Option<String>, held: &Option<String>| told.clone().or_else(|| held.clone());
    CommunityManager {
        name: told.name.clone(),
        email: or_held(&told.email, &held.email),
        team: or_held(&told.team, &held.team),
        ldu: or_held(&told.ldu, &held.ldu),
    }
}

fn looks_same(one: &CommunityManager, other: &CommunityManager) -> bool {
    same_text(Some(&one.name), Some(&other.name))
        && same_text(one.email.as_ref(), other.email.as_ref())
        && same_text(one.team.as_ref(), other.team.as_ref())
        && same_text(one.ldu.as_ref(), other.ldu.as_ref())
}

/// Whether two texts are the same in any case: NOMIS has names in capitals.
fn same_text(one: Option<&String>, other: Option<&String>) -> bool {
    one.map(|text| text.to_lowercase()) == other.map(|text| text.to_lowercase())
}
