//! What the log says of who may hold which case, as far as it has been followed.
//!
//! A POM may be listed for a case that has gone to somebody else, and is never missing for one that is held: an end
//! takes a POM off a case only if it is not earlier in effect than what gave the role, so that backdated entries lose
//! nobody; for voided entries everybody who ever held the case is listed again.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use chrono::{DateTime, Utc};
use domain::{
    Event, Stream,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    officer::PomStatus,
    prison::PrisonEvent,
    prisoner::PrisonerEvent,
};
use event_log::{StoredEvent, lock};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::Error;

/// How long a question waits for the index to have read up to the log's end of that moment.
const CATCH_UP_WAIT_MAX: Duration = Duration::from_secs(5);

/// What a policy has to see to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Owed {
    /// A POM who is inactive at a prison may hold a case there.
    EndOfRole { prison: PrisonCode, staff_id: StaffId, number: PrisonerNumber },
    /// A number was retired and its survivor may not have taken it over.
    Merge { removed: PrisonerNumber },
}

/// For the log, where no prisoner is named.
impl fmt::Display for Owed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfRole { prison, staff_id, number: _ } => {
                write!(f, "the end of a role of inactive POM {staff_id} at {prison}")
            }
            Self::Merge { removed: _ } => write!(f, "a merge"),
        }
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Index {
    kept: Mutex<Kept>,
    progress: watch::Sender<Progress>,
    owed_changed: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    position: u64,
    caught_up: bool,
    followed: bool,
}

#[derive(Default)]
struct Kept {
    poms: HashMap<(PrisonCode, StaffId), Pom>,
    owed: HashSet<Owed>,
}

/// That somebody follows the log. Ends however the follower does, in a panic too.
pub(super) struct Following<'a>(&'a Index);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.progress.send_modify(|progress| {
            progress.followed = false;
            progress.caught_up = false;
        });
    }
}

/// A POM at a prison.
#[derive(Default)]
struct Pom {
    /// The status that is latest in effect, since when, and whether it is `INACTIVE`.
    status: Option<(DateTime<Utc>, bool)>,
    /// The cases that may be held, each with the latest effective time at which the POM was given a role on it.
    holding: HashMap<Packed, DateTime<Utc>>,
    /// Every case on which the POM was ever given a role.
    ever: BTreeSet<Packed>,
}

impl Pom {
    fn is_inactive(&self) -> bool {
        self.status.is_some_and(|(_, inactive)| inactive)
    }
}

/// A prisoner number in its seven bytes: over the years there are millions here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Packed([u8; 7]);

impl From<&PrisonerNumber> for Packed {
    fn from(number: &PrisonerNumber) -> Self {
        Self(number.as_str().as_bytes().try_into().expect("a prisoner number has seven characters"))
    }
}

impl From<Packed> for PrisonerNumber {
    fn from(packed: Packed) -> Self {
        std::str::from_utf8(&packed.0)
            .ok()
            .and_then(|number| number.parse().ok())
            .expect("what was packed is a prisoner number")
    }
}

/// A role that an event gives or ends.
enum Change<'a> {
    Given(&'a PrisonCode, StaffId),
    Ended(&'a PrisonCode, StaffId),
}

/// The roles that an event gives and ends.
fn changes(event: &PrisonerEvent) -> Vec<Change<'_>> {
    use Change::{Ended, Given};
    match event {
        PrisonerEvent::AllocationMade(made) => vec![Given(&made.prison, made.pom.staff_id)],
        PrisonerEvent::Reallocated(moved) => {
            vec![Ended(&moved.prison, moved.pom_before.staff_id), Given(&moved.prison, moved.pom_after.staff_id)]
        }
        PrisonerEvent::Deallocated(ended) => match (&ended.prison, &ended.pom) {
            (Some(prison), Some(pom)) => vec![Ended(prison, pom.staff_id)],
            _ => Vec::new(),
        },
        PrisonerEvent::CoworkerAllocated(joined) => vec![Given(&joined.prison, joined.pom.staff_id)],
        PrisonerEvent::CoworkerReallocated(moved) => {
            vec![Ended(&moved.prison, moved.pom_before.staff_id), Given(&moved.prison, moved.pom_after.staff_id)]
        }
        PrisonerEvent::CoworkerDeallocated(ended) => vec![Ended(&ended.prison, ended.pom.staff_id)],
        PrisonerEvent::PrisonerNumberMerged(merged) => {
            let held = &merged.held;
            let poms = [&held.primary_pom, &held.coworking_pom].into_iter().flatten();
            held.prison.iter().flat_map(|prison| poms.clone().map(move |pom| Given(prison, pom.staff_id))).collect()
        }
        PrisonerEvent::TierAssigned(_)
        | PrisonerEvent::CommunityManagerAssigned(_)
        | PrisonerEvent::CommunityManagerRemoved(_)
        | PrisonerEvent::HandoverPlanned(_)
        | PrisonerEvent::ResponsibilityOverridden(_)
        | PrisonerEvent::ResponsibilityOverrideRemoved(_)
        | PrisonerEvent::EntryVoided(_)
        | PrisonerEvent::PrisonerNumberRetired(_) => Vec::new(),
    }
}

impl Index {
    /// Whether events of this type on a case can change the index, so that the others need not be read.
    pub(super) fn concerns(type_name: &str) -> bool {
        !matches!(
            type_name,
            "TierAssigned"
                | "CommunityManagerAssigned"
                | "CommunityManagerRemoved"
                | "HandoverPlanned"
                | "ResponsibilityOverridden"
                | "ResponsibilityOverrideRemoved"
        )
    }

    /// Takes in the next event of the log.
    pub(super) fn take_in(&self, stored: &StoredEvent) {
        let at = stored.entry.effective_at;
        match (&stored.stream, &stored.entry.event) {
            (Stream::Prison(code), Event::Prison(event)) => self.take_in_prison(code, event, at),
            (Stream::Prisoner(number), Event::Prisoner(event)) => self.take_in_case(number, event, at),
            // A decoded event is of its stream's kind.
            _ => {}
        }
    }

    fn take_in_prison(&self, code: &PrisonCode, event: &PrisonEvent, at: DateTime<Utc>) {
        let (staff_id, inactive) = match event {
            PrisonEvent::PomRegistered(registered) => (registered.staff_id, false),
            PrisonEvent::PomStatusChanged(changed) => (changed.staff_id, changed.status == PomStatus::Inactive),
            PrisonEvent::PrisonJoinedOmic(_)
            | PrisonEvent::PomDetailsChanged(_)
            | PrisonEvent::NomisContactFound(_)
            | PrisonEvent::NomisContactRemovalConfirmed(_) => return,
        };
        let mut kept = self.kept();
        let Kept { poms, owed } = &mut *kept;
        let pom = poms.entry((code.clone(), staff_id)).or_default();
        if pom.status.is_some_and(|(since, _)| at < since) {
            return;
        }
        pom.status = Some((at, inactive));
        for &number in pom.holding.keys() {
            let debt = Owed::EndOfRole { prison: code.clone(), staff_id, number: number.into() };
            if inactive {
                owed.insert(debt);
            } else {
                owed.remove(&debt);
            }
        }
        drop(kept);
        self.owed_changed.notify_one();
    }

    fn take_in_case(&self, number: &PrisonerNumber, event: &PrisonerEvent, at: DateTime<Utc>) {
        match event {
            PrisonerEvent::PrisonerNumberRetired(_) => {
                self.kept().owed.insert(Owed::Merge { removed: number.clone() });
                self.owed_changed.notify_one();
            }
            PrisonerEvent::PrisonerNumberMerged(merged) => {
                self.kept().owed.remove(&Owed::Merge { removed: merged.removed_number.clone() });
            }
            _ => {}
        }
        for change in changes(event) {
            if let Change::Ended(prison, staff_id) = change {
                let mut kept = self.kept();
                let Kept { poms, owed } = &mut *kept;
                let Some(pom) = poms.get_mut(&(prison.clone(), staff_id)) else { continue };
                let packed = Packed::from(number);
                if pom.holding.get(&packed).is_some_and(|&since| since <= at) {
                    pom.holding.remove(&packed);
                    owed.remove(&Owed::EndOfRole { prison: prison.clone(), staff_id, number: number.clone() });
                }
            }
        }
        self.may_hold(number, event, at);
    }

    /// Lists whomever an event gives a role, whether or not it ended since.
    pub(super) fn may_hold(&self, number: &PrisonerNumber, event: &PrisonerEvent, at: DateTime<Utc>) {
        for change in changes(event) {
            if let Change::Given(prison, staff_id) = change {
                let mut kept = self.kept();
                let Kept { poms, owed } = &mut *kept;
                let pom = poms.entry((prison.clone(), staff_id)).or_default();
                let packed = Packed::from(number);
                pom.ever.insert(packed);
                pom.holding.entry(packed).and_modify(|since| *since = at.max(*since)).or_insert(at);
                if pom.is_inactive() {
                    owed.insert(Owed::EndOfRole { prison: prison.clone(), staff_id, number: number.clone() });
                    self.owed_changed.notify_one();
                }
            }
        }
    }

    /// Every case on which a POM ever had a role at a prison, up to `head`, for which it waits.
    ///
    /// # Errors
    /// [`Error::NotCaughtUp`] where the log is not read that far in a bearable time.
    pub(crate) async fn cases_ever(
        &self,
        prison: &PrisonCode,
        staff_id: StaffId,
        head: u64,
    ) -> Result<Vec<PrisonerNumber>, Error> {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as this index, so what can go wrong is the wait alone.
        timeout(CATCH_UP_WAIT_MAX, progress.wait_for(|progress| progress.position >= head))
            .await
            .map_err(|_| Error::NotCaughtUp)?
            .map_err(|_| Error::NotCaughtUp)?;
        let kept = self.kept();
        let pom = kept.poms.get(&(prison.clone(), staff_id));
        Ok(pom.map(|pom| pom.ever.iter().map(|&number| number.into()).collect()).unwrap_or_default())
    }

    /// Takes what is owed and not `under_way`; nothing before the log has been read to its end once.
    pub(super) fn take_owed(&self, under_way: &HashSet<Owed>) -> Vec<Owed> {
        if !self.is_caught_up() {
            return Vec::new();
        }
        self.kept().owed.extract_if(|owed| !under_way.contains(owed)).collect()
    }

    /// Waits for more to be owed.
    pub(super) async fn owed_changed(&self) {
        self.owed_changed.notified().await;
    }

    pub(super) fn position(&self) -> u64 {
        self.progress.borrow().position
    }

    pub(crate) fn is_caught_up(&self) -> bool {
        self.progress.borrow().caught_up
    }

    pub(super) fn has_read(&self, position: u64) {
        self.progress.send_modify(|progress| progress.position = position);
    }

    pub(super) fn caught_up(&self, position: u64) {
        self.progress.send_modify(|progress| {
            progress.position = progress.position.max(position);
            progress.caught_up = true;
        });
        self.owed_changed.notify_one();
    }

    pub(super) fn fell_behind(&self) {
        self.progress.send_modify(|progress| progress.caught_up = false);
    }

    pub(crate) fn is_followed(&self) -> bool {
        self.progress.borrow().followed
    }

    /// Says that the log is being followed, until what this answers is dropped.
    pub(super) fn follow(&self) -> Following<'_> {
        self.progress.send_modify(|progress| progress.followed = true);
        Following(self)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // What a panicking writer left lists nobody too few: see the module's documentation.
        lock(&self.kept)
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        Entry,
        event::RecordedBy,
        identifier::CommandId,
        officer::{Pom, PomKind},
        prison::PomStatusChanged,
        prisoner::{
            AllocationMade, Choice, Deallocated, DeallocationTrigger, PrisonerNumberMerged, PrisonerNumberRetired,
        },
    };
    use event_log::Metadata;
    use uuid::Uuid;

    use super::*;

    const NUMBER: &str = "A1234BC";

    /// What the index holds after lines such as `d02 given`, `d05 ended`, `d03 inactive`, `d04 active`: what happens,
    /// in the order recorded, and the day from which it holds.
    fn after(lines: &str) -> Index {
        let index = Index::default();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (day, what) = line.split_once(' ').expect("a day and what happens");
            let at = format!("2026-01-{}T09:00:00Z", day.trim_start_matches('d')).parse().expect("an instant");
            index.take_in(&stored(what, at));
        }
        index.caught_up(1);
        index
    }

    fn stored(what: &str, effective_at: DateTime<Utc>) -> StoredEvent {
        let status = |status| {
            Event::Prison(PrisonEvent::PomStatusChanged(PomStatusChanged {
                staff_id: staff_id(),
                status,
                returns_on: None,
                reason: None,
            }))
        };
        let event = match what {
            "given" => Event::Prisoner(PrisonerEvent::AllocationMade(AllocationMade {
                prison: prison(),
                pom: pom(),
                choice: Choice {
                    tier: "C".parse().expect("a tier"),
                    rosh_level: None,
                    recommendation_policy: domain::prisoner::RecommendationPolicy::Tier,
                    recommended_pom_kind: None,
                    override_reasons: Vec::new(),
                    suitability_detail: None,
                    override_detail: None,
                    note: None,
                    nomis_booking_id: None,
                },
            })),
            "ended" => Event::Prisoner(PrisonerEvent::Deallocated(Deallocated {
                prison: Some(prison()),
                pom: Some(pom()),
                trigger: DeallocationTrigger::Manual,
                to_prison: None,
            })),
            "retired" => Event::Prisoner(PrisonerEvent::PrisonerNumberRetired(PrisonerNumberRetired {
                survivor: "A9999ZZ".parse().expect("a number"),
            })),
            "taken over" => Event::Prisoner(PrisonerEvent::PrisonerNumberMerged(Box::new(PrisonerNumberMerged {
                removed_number: number(),
                history_ends_at: 0,
                held: domain::prisoner::Held::default(),
            }))),
            "inactive" => status(PomStatus::Inactive),
            "active" => status(PomStatus::Active),
            other => panic!("nothing is called {other}"),
        };
        let stream = match (&event, what) {
            (Event::Prison(_), _) => Stream::Prison(prison()),
            (_, "taken over") => Stream::Prisoner("A9999ZZ".parse().expect("a number")),
            _ => Stream::Prisoner(number()),
        };
        let recorded_by = RecordedBy { username: "SPO".parse().expect("a username"), client: "test".to_owned() };
        let command_id = CommandId(Uuid::nil());
        StoredEvent {
            stream,
            metadata: Metadata::new(effective_at, recorded_by.clone(), command_id, String::new(), Uuid::nil(), None),
            entry: Entry {
                event_id: command_id.event_id(0),
                revision: 0,
                position: 1,
                effective_at,
                recorded_at: effective_at,
                recorded_by,
                command_id,
                event,
            },
        }
    }

    fn number() -> PrisonerNumber {
        NUMBER.parse().expect("a number")
    }

    fn prison() -> PrisonCode {
        "LEI".parse().expect("a prison code")
    }

    fn staff_id() -> StaffId {
        StaffId::try_from(1).expect("a staff id")
    }

    fn pom() -> Pom {
        Pom { staff_id: staff_id(), name: "Okafor, Grace".to_owned(), kind: PomKind::Prison, email: None }
    }

    #[track_caller]
    fn check(lines: &str, owed: &[&str]) {
        let in_words = |owed: &Owed| match owed {
            Owed::EndOfRole { prison, staff_id, number } => {
                format!("the end of POM {staff_id}'s role at {prison} on {number}")
            }
            Owed::Merge { removed } => format!("the merge of {removed}"),
        };
        let mut found: Vec<_> = after(lines).take_owed(&HashSet::new()).iter().map(in_words).collect();
        found.sort();
        assert_eq!(found, owed, "after {lines}");
    }

    const END: &str = "the end of POM 1's role at LEI on A1234BC";

    #[test]
    fn an_inactive_pom_owes_the_end_of_each_role() {
        check("d02 given", &[]);
        check("d02 given\n d03 inactive", &[END]);
        check("d03 inactive\n d04 given", &[END]);
        check("d02 given\n d03 ended\n d04 inactive", &[]);
        check("d02 given\n d03 inactive\n d03 ended", &[]);
        check("d02 given\n d03 inactive\n d04 active", &[]);
    }

    #[test]
    fn what_is_recorded_later_and_holds_earlier_loses_nobody() {
        // A status of the past does not make a POM inactive who is active since.
        check("d02 given\n d05 active\n d03 inactive", &[]);
        check("d02 given\n d05 inactive\n d03 active", &[END]);
        // A role of the past that ended in the past leaves the present one.
        check("d06 given\n d02 given\n d03 ended\n d07 inactive", &[END]);
        check("d06 given\n d02 given\n d08 ended\n d07 inactive", &[]);
    }

    #[test]
    fn a_retired_number_owes_its_merge() {
        check("d02 retired", &["the merge of A1234BC"]);
        check("d02 retired\n d02 taken over", &[]);
    }

    #[test]
    fn nothing_is_discharged_before_the_log_has_been_read_to_its_end() {
        let index = after("d02 given\n d03 inactive");
        index.fell_behind();
        assert!(index.take_owed(&HashSet::new()).is_empty());
        index.caught_up(2);
        assert_eq!(index.take_owed(&HashSet::new()).len(), 1);
        assert!(index.take_owed(&HashSet::new()).is_empty(), "taken is taken");
    }

    #[tokio::test]
    async fn every_case_ever_held_is_listed() {
        let index = after("d02 given\n d03 ended");
        let cases = index.cases_ever(&prison(), staff_id(), 1).await.expect("read so far");
        assert_eq!(cases, [number()]);
    }
}
