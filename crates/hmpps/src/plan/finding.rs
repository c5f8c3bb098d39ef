//! The plan for what was found out about a case by looking it up.
//!
//! A finding is the newest there is, whatever message led to it, so a message that comes late or
//! again finds what the ledger has already.

use chrono::{DateTime, Utc};
use domain::{
    handover::Facts,
    identifier::{Crn, PrisonerNumber},
    officer::CommunityManager,
    prisoner::{Command, CrnRecorded, Deallocate, DeallocationTrigger, History, PrisonerEvent, Release, TierAssigned},
    tier::{RoshLevel, Tier, TierSource},
};

use crate::lookup::PrisonerRecord;

/// The client under which messages are recorded.
pub(crate) const MESSAGES_CLIENT: &str = "hmpps-domain-events";

/// Something that was found out about a person's case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    /// The person.
    pub(crate) number: PrisonerNumber,
    /// The time from which it holds, where that was found, too.
    pub(crate) since: Option<DateTime<Utc>>,
    /// The time when it was asked for, and held.
    pub(crate) asked_at: DateTime<Utc>,
    /// The fact.
    pub(crate) fact: FoundFact,
}

/// The fact that was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FoundFact {
    /// The tier of the case with this CRN, with the risk of serious harm where that was asked for.
    Tier(Crn, Tier, Option<RoshLevel>),
    /// The COM, or that there is none.
    CommunityManager(Option<CommunityManager>),
    /// The risk of serious harm, or that there is none.
    RoshLevel(Option<RoshLevel>),
    /// The CRN.
    Crn(Crn),
    /// The CRN, of the second person of a message about two.
    OtherCrn(Crn),
    /// The person is in no prison, and on the way to none.
    Out,
    /// The person has a legal status with which there are no POMs.
    OutOfScope,
    /// The record in prisoner search, with the dates of the sentence.
    Sentence(Box<PrisonerRecord>),
}

impl FoundFact {
    /// The operation that records it, a part of its command's id: one message may make a command of
    /// each.
    pub(crate) const fn operation(&self) -> &'static str {
        match self {
            Self::Tier(..) => "assign-tier",
            Self::CommunityManager(_) => "name-community-manager",
            Self::RoshLevel(_) => "assign-rosh-level",
            Self::Crn(_) => "record-crn",
            Self::OtherCrn(_) => "record-other-crn",
            Self::Out => "release-person-who-is-out",
            Self::OutOfScope => "end-roles-by-legal-status",
            Self::Sentence(_) => "plan-handover",
        }
    }
}

impl Finding {
    /// Since when it is recorded of a case: not from before the case begins. A tier is often older
    /// than the time in custody, with which the case would else seem to begin.
    pub(crate) fn effective_at(&self, case: &History) -> DateTime<Utc> {
        let begins = case.in_effective_order().first().map(|entry| entry.effective_at);
        let since = self.since.filter(|since| !self.is_contradicted_after(*since, case)).unwrap_or(self.asked_at);
        begins.map_or(since, |begins| since.max(begins))
    }

    /// Whether the case begins later than this holds, and has at its beginning what says otherwise
    /// with better reason. Recorded there, too, this would count as the later of the two.
    fn is_overtaken(&self, case: &History) -> bool {
        let entries = case.in_effective_order();
        let begins = entries.first().map(|entry| entry.effective_at);
        let is_clamped =
            self.since.is_some_and(|since| Some(since) < begins) && begins == Some(self.effective_at(case));
        let mut at_beginning = entries.into_iter().take_while(|entry| Some(entry.effective_at) == begins);
        is_clamped
            && at_beginning.any(|entry| match (&self.fact, &entry.event) {
                (FoundFact::Tier(..), PrisonerEvent::TierAssigned(tier)) => tier.source == TierSource::Manual,
                // It was looked up, after this was told.
                (FoundFact::Crn(_) | FoundFact::OtherCrn(_), PrisonerEvent::TierAssigned(tier)) => tier.crn.is_some(),
                (FoundFact::Crn(_) | FoundFact::OtherCrn(_), PrisonerEvent::CrnRecorded(_)) => {
                    entry.recorded_by.client != MESSAGES_CLIENT
                }
                _ => false,
            })
    }

    /// Whether the case has, from a later time on, another tier from Delius, and had it when this
    /// one was asked for. Such an entry repeats an earlier tier, as with another risk of serious
    /// harm; before it, the newest tier would be recorded as an older one.
    fn is_contradicted_after(&self, since: DateTime<Utc>, case: &History) -> bool {
        let FoundFact::Tier(_, found, _) = &self.fact else { return false };
        let later = case.in_effective_order().into_iter().filter(|entry| entry.effective_at > since);
        let last = later.rev().find_map(|entry| match &entry.event {
            PrisonerEvent::TierAssigned(tier) => Some((entry.recorded_at, tier)),
            _ => None,
        });
        last.is_some_and(|(recorded_at, held)| {
            held.source == TierSource::Delius && held.tier != *found && recorded_at <= self.asked_at
        })
    }
}

/// The command by which a finding is recorded, given the history of its person, who is known;
/// `None` where the ledger has it already.
pub(crate) fn plan_finding(finding: &Finding, case: &History) -> Option<Command> {
    let then = case.state_at(finding.effective_at(case));
    let held = then.tier;
    match &finding.fact {
        FoundFact::Tier(crn, ..) if finding.is_overtaken(case) => {
            then.crn.is_none().then(|| Command::RecordCrn(CrnRecorded { crn: crn.clone() }))
        }
        FoundFact::Crn(_) | FoundFact::OtherCrn(_) if finding.is_overtaken(case) => None,
        FoundFact::Tier(crn, tier, rosh_level) => {
            let rosh_level = rosh_level.or_else(|| held.as_ref()?.rosh_level);
            let has_it = |held: &TierAssigned| held.tier == *tier && held.rosh_level == rosh_level;
            (then.crn.as_ref() != Some(crn) || !held.as_ref().is_some_and(has_it)).then(|| {
                let crn = Some(crn.clone());
                Command::AssignTier(TierAssigned {
                    tier: *tier,
                    rosh_level,
                    source: TierSource::Delius,
                    crn,
                    prison: None,
                })
            })
        }
        FoundFact::CommunityManager(manager) => {
            let held = then.community_manager.map(|role| role.manager);
            match manager {
                Some(manager) => {
                    (held.as_ref() != Some(manager)).then(|| Command::AssignCommunityManager(manager.clone()))
                }
                None => held.is_some().then_some(Command::RemoveCommunityManager),
            }
        }
        // A case without a tier has no place for it; it is asked for again with the first tier.
        FoundFact::RoshLevel(level) => held
            .filter(|held| held.rosh_level != *level)
            .map(|held| Command::AssignTier(TierAssigned { rosh_level: *level, prison: None, ..held })),
        FoundFact::Crn(crn) | FoundFact::OtherCrn(crn) => {
            (then.crn.as_ref() != Some(crn)).then(|| Command::RecordCrn(CrnRecorded { crn: crn.clone() }))
        }
        FoundFact::Out => then.left_at.is_none().then_some(Command::Release(Release { prison: then.prison })),
        // A case that no POM has may yet be sentenced, and must not count as gone by then.
        FoundFact::OutOfScope => (then.primary_pom.is_some() || then.coworking_pom.is_some())
            .then_some(Command::Deallocate(Deallocate { trigger: DeallocationTrigger::LegalStatusChanged })),
        FoundFact::Sentence(record) => {
            let held = Facts { calculated_on: None, ..then.arrangements.handover_plan?.facts };
            let facts = record.facts_over(&held);
            (facts != held).then_some(Command::PlanHandover(facts))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::tests::{at, case, received},
        *,
    };

    fn crn(text: &str) -> Crn {
        text.parse().expect("a CRN")
    }

    fn tier(text: &str, rosh: Option<RoshLevel>) -> FoundFact {
        FoundFact::Tier(crn("X111111"), text.parse().expect("a tier"), rosh)
    }

    fn com(name: &str) -> FoundFact {
        let manager = CommunityManager { name: name.to_owned(), email: None, team: None, ldu: None };
        FoundFact::CommunityManager(Some(manager))
    }

    fn found(case: &History, day: i64, fact: FoundFact) -> Finding {
        Finding { number: case.number().clone(), since: Some(at(day)), asked_at: at(200), fact }
    }

    fn planned(case: &History, day: i64, fact: FoundFact) -> Option<Command> {
        plan_finding(&found(case, day, fact), case)
    }

    #[test]
    fn a_finding_that_the_ledger_has_is_held_already() {
        let case = case(&[
            received("LEI"),
            ("TierAssigned", json!({"tier": "B2", "source": "DELIUS", "crn": "X111111", "roshLevel": "HIGH"})),
            ("CommunityManagerAssigned", json!({"name": "Lee, Sam"})),
        ]);
        for (what, day, fact, expected) in [
            ("the same tier", 5, tier("B2", None), "-"),
            ("another tier", 5, tier("B2S", None), "AssignTier"),
            ("a tier from before the one that is held", 0, tier("B2", None), "AssignTier"),
            ("a tier with another risk", 5, tier("B2", Some(RoshLevel::Low)), "AssignTier"),
            ("the same COM", 5, com("Lee, Sam"), "-"),
            ("another COM", 5, com("Shah, Mo"), "AssignCommunityManager"),
            ("no COM", 5, FoundFact::CommunityManager(None), "RemoveCommunityManager"),
            ("no COM, before there was one", 1, FoundFact::CommunityManager(None), "-"),
            ("the same risk", 5, FoundFact::RoshLevel(Some(RoshLevel::High)), "-"),
            ("another risk", 5, FoundFact::RoshLevel(Some(RoshLevel::Low)), "AssignTier"),
            ("no risk any more", 5, FoundFact::RoshLevel(None), "AssignTier"),
            ("a risk before there was a tier", 0, FoundFact::RoshLevel(Some(RoshLevel::Low)), "-"),
            ("the same CRN", 5, FoundFact::Crn(crn("X111111")), "-"),
            ("another CRN", 5, FoundFact::Crn(crn("X222222")), "RecordCrn"),
        ] {
            let command = planned(&case, day, fact);
            assert_eq!(command.map_or("-", |command| command.kind().name()), expected, "{what}");
        }
    }

    fn record(release: &str) -> FoundFact {
        let record = json!({
            "prisonerNumber": "A1234BC", "prisonId": "LEI", "legalStatus": "SENTENCED", "recall": false,
            "indeterminateSentence": false, "sentenceStartDate": "2020-01-01", "conditionalReleaseDate": release,
        });
        FoundFact::Sentence(Box::new(serde_json::from_value(record).expect("a record")))
    }

    #[test]
    fn an_update_changes_only_what_the_ledger_holds() {
        let plan = json!({
            "indeterminate": false, "sentenceStartDate": "2020-01-01", "conditionalReleaseDate": "2028-01-01",
            "earlyAllocation": true, "calculatedOn": "2026-03-01", "startDate": "2026-10-01",
            "handoverDate": "2026-10-01", "reason": "early_allocation",
            "earliestRelease": {"name": "CRD", "date": "2028-01-01"},
        });
        let pom = json!({"staffId": 7, "name": "Lee, Sam", "kind": "PRISON"});
        let allocated = json!({"prison": "LEI", "pom": pom, "tier": "C", "recommendationPolicy": "TIER"});
        let held = case(&[received("LEI"), ("AllocationMade", allocated), ("HandoverPlanned", plan)]);
        let waiting = case(&[received("LEI")]);
        let left = case(&[received("LEI"), ("Deallocated", json!({"prison": "LEI", "trigger": "RELEASED"}))]);
        for (what, case, fact, expected) in [
            ("out", &held, FoundFact::Out, "Release"),
            ("out, and nobody has the case", &waiting, FoundFact::Out, "Release"),
            ("out, as it is known", &left, FoundFact::Out, "-"),
            ("on remand, with a POM", &held, FoundFact::OutOfScope, "Deallocate"),
            ("on remand, and nobody has the case", &waiting, FoundFact::OutOfScope, "-"),
            ("other dates", &held, record("2029-01-01"), "PlanHandover"),
            ("the same dates", &held, record("2028-01-01"), "-"),
            ("dates of a case without a plan", &waiting, record("2029-01-01"), "-"),
        ] {
            let command = planned(case, 5, fact);
            assert_eq!(command.as_ref().map_or("-", |command| command.kind().name()), expected, "{what}");
            if let Some(Command::PlanHandover(facts)) = command {
                assert!(facts.early_allocation, "facts that prisoner search does not tell are kept: {facts:?}");
            }
        }
    }

    #[test]
    fn a_tier_keeps_the_risk_that_the_case_has_and_a_risk_keeps_the_tier() {
        let held = json!({"tier": "B2", "source": "MANUAL", "crn": "X111111", "roshLevel": "HIGH", "prison": "LEI"});
        let case = case(&[("TierAssigned", held)]);
        let recorded = |fact| match planned(&case, 3, fact) {
            Some(Command::AssignTier(tier)) => tier,
            other => panic!("{other:?}"),
        };
        let found = recorded(tier("C1", None));
        assert_eq!((found.rosh_level, found.source, found.prison), (Some(RoshLevel::High), TierSource::Delius, None));
        let found = recorded(FoundFact::RoshLevel(Some(RoshLevel::Low)));
        assert_eq!((found.tier.to_string().as_str(), found.source, found.prison), ("B2", TierSource::Manual, None));
    }

    #[test]
    fn a_finding_is_recorded_from_the_beginning_of_the_case_on() {
        let case = case(&[received("LEI")]);
        let from = |day| found(&case, day, tier("C", None)).effective_at(&case);
        assert_eq!((from(-700), from(3)), (at(0), at(3)));
        let finding = Finding { since: None, ..found(&case, 0, com("Lee, Sam")) };
        assert_eq!(finding.effective_at(&case), at(200), "from when it was asked for");
    }

    #[test]
    fn what_is_older_than_the_case_does_not_replace_what_it_begins_with() {
        let tier_of = |source: &str| json!({"tier": "B2", "source": source});
        let by_hand = case(&[("TierAssigned", tier_of("MANUAL"))]);
        let of_delius = case(&[("TierAssigned", tier_of("DELIUS"))]);
        let with_crn = case(&[("TierAssigned", json!({"tier": "B2", "source": "DELIUS", "crn": "X999999"}))]);
        let matched = case(&[("CrnRecorded", json!({"crn": "X999999"}))]);
        for (what, case, day, fact, expected) in [
            ("an older tier, after one by hand: its CRN", &by_hand, -7, tier("C1", None), "RecordCrn"),
            ("a newer tier, after one by hand", &by_hand, 3, tier("C1", None), "AssignTier"),
            ("the newest tier, after one of Delius", &of_delius, -7, tier("C1", None), "AssignTier"),
            ("an older match, after a look-up", &with_crn, -7, FoundFact::Crn(crn("X111111")), "-"),
            ("a newer match, after a look-up", &with_crn, 3, FoundFact::Crn(crn("X111111")), "RecordCrn"),
            ("an older match, after one that a person recorded", &matched, -7, FoundFact::Crn(crn("X111111")), "-"),
        ] {
            let command = planned(case, day, fact);
            assert_eq!(command.map_or("-", |command| command.kind().name()), expected, "{what}");
        }
    }

    /// The events of [`case`] are recorded on day 100.
    #[test]
    fn the_newest_tier_counts_though_a_later_entry_repeats_an_older_one() {
        let repeated = |source: &str| {
            let tier = |rosh: &str| json!({"tier": "B2", "source": source, "roshLevel": rosh});
            case(&[("TierAssigned", tier("LOW")), received("LEI"), ("TierAssigned", tier("HIGH"))])
        };
        let (of_delius, by_hand) = (repeated("DELIUS"), repeated("MANUAL"));
        let newest = |case: &History| found(case, 1, tier("C1", None));
        assert_eq!(newest(&of_delius).effective_at(&of_delius), at(200));
        assert_eq!(newest(&by_hand).effective_at(&by_hand), at(1), "a person decided so afterwards");
        let asked_before = Finding { asked_at: at(99), ..newest(&of_delius) };
        assert_eq!(asked_before.effective_at(&of_delius), at(1), "the other one may be newer");
        let same = found(&of_delius, 1, tier("B2", None));
        assert_eq!(same.effective_at(&of_delius), at(1));
    }
}
