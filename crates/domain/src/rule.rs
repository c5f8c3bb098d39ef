//! The rules that a command can break, each with the stable code that programs compare. The
//! numbers of rules are those of `docs/domain.md`.
//!
//! To add a refusal: one variant here, its sentence where it is made, its row in `docs/api.md`.

use serde::{Serialize, Serializer};

/// The kind of a rule. An HTTP side answers each kind with a status of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleKind {
    /// The ledger does not know the case that the command is addressed to.
    SubjectUnknown,
    /// The case or the prison is not one of the caller's.
    NotYours,
    /// The command is understood, and the past or the roster does not permit it.
    NotPermitted,
}

/// Makes [`Rule`] from one list: each kind with its rules, each rule with its meaning, its code and
/// the remedy.
macro_rules! rules {
    ($($kind:ident { $($(#[doc = $doc:literal])* $rule:ident => $code:literal, $remedy:literal;)* })*) => {
        /// A rule that a command can break.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule {
            $($($(#[doc = $doc])* $rule,)*)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$($(Self::$rule,)*)*];

            /// The stable code, in kebab case; part of the published API and listed in
            /// `docs/api.md`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $($(Self::$rule => $code,)*)*
                }
            }

            /// Why the rule says no, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $($(Self::$rule => concat!($($doc),*).trim_ascii(),)*)*
                }
            }

            /// The remedy, in a sentence or two. A name in it is that of a field of the API.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $($(Self::$rule => $remedy,)*)*
                }
            }

            /// The rule's kind.
            #[must_use]
            pub const fn kind(self) -> RuleKind {
                match self {
                    $($(Self::$rule)|* => RuleKind::$kind,)*
                }
            }
        }
    };
}

rules! {
    SubjectUnknown {
        /// The ledger knows nothing of the case.
        PrisonerUnknown => "prisoner-unknown",
            "Check the prisoner number. A case begins with its first tier.";
    }
    NotYours {
        /// The caller is confined to other prisons (rule 12).
        PrisonNotYours => "prison-not-yours",
            "Check the number or the code. Ask whoever gives you your caseloads for the prison, or a caller of \
             that prison to record it.";
    }
    NotPermitted {
        /// The effective time is later than the recorder's clock.
        EffectiveTimeInFuture => "effective-time-in-future",
            "Correct `effectiveAt`, or leave it out for now. An entry can be backdated, and not postdated.";
        /// The effective time is so long ago that it is a slip of the pen.
        EffectiveTimeTooEarly => "effective-time-too-early",
            "Correct `effectiveAt`, or leave it out for now. An entry can be backdated, and not postdated.";
        /// An entry that is already recorded for later would no longer be possible (rule 8).
        LaterEntryConflict => "later-entry-conflict",
            "Void the later entry first, whose revision is in `laterEntry`, or use a later `effectiveAt`.";
        /// The case goes on under another number (rule 10).
        PrisonerNumberRetired => "prisoner-number-retired",
            "Send the command to the number in `survivor`.";
        /// Numbers would be merged in a circle (rule 10).
        MergeCircle => "merge-circle",
            "Check both numbers: one of them was merged into the other before.";
        /// A number is retired only after the POM roles on it have ended (rule 10).
        RolesRemain => "roles-remain",
            "End the POM roles on the removed number first, with a deallocation.";
        /// Nothing would change.
        NothingChanged => "nothing-changed",
            "Nothing is left to do, or the request names the wrong value: read the case again.";
        /// A text is longer than its bound.
        DetailTooLong => "detail-too-long",
            "Shorten the text. `detail` says how many characters are allowed.";
        /// A text names another person in prison (rule 13).
        TextNamesPrisoner => "text-names-prisoner",
            "Leave the prisoner number out of the text that `detail` names.";

        /// The prison had not joined OMiC (rule 1).
        PrisonNotOnOmic => "prison-not-on-omic",
            "Record the prison's onboarding first, or correct its go-live date, or use a later `effectiveAt`.";
        /// The POM is not on the prison's roster (rule 1).
        PomNotRegistered => "pom-not-registered",
            "Check the staff id, or put the POM on the prison's roster first.";
        /// The POM takes no new cases (rule 1).
        PomNotActive => "pom-not-active",
            "Choose another POM, or set the POM's status to `ACTIVE` first.";
        /// The case has no tier (rule 2).
        TierUnknown => "tier-unknown",
            "Give the case a tier first.";
        /// The case has a holder in that role (rule 3).
        AlreadyAllocated => "already-allocated",
            "Reallocate the case instead, or deallocate it first.";
        /// The case has no primary POM (rule 3).
        NotAllocated => "not-allocated",
            "Allocate the case first.";
        /// The POM holds the role already (rule 3).
        SamePom => "same-pom",
            "Nothing is left to do, or the staff id is not the one that you mean.";
        /// Another POM holds the role than the one that the command names.
        PomNotHolder => "pom-not-holder",
            "Read the case again, then decide again.";
        /// The case is held at another prison than the one that the command names.
        CaseAtAnotherPrison => "case-at-another-prison",
            "Read the case again, then decide again.";
        /// The primary POM would be the co-working POM (rule 4).
        PomIsCoworker => "pom-is-coworker",
            "Choose another primary POM, or end the co-working role first.";
        /// The co-working POM would be the primary POM (rule 4).
        PomIsPrimary => "pom-is-primary",
            "Choose another co-working POM.";
        /// The case has no co-working POM.
        NoCoworker => "no-coworker",
            "Nothing is left to take back: read the case again.";
        /// The co-working POM's role ends before the primary POM's does (rule 6).
        CoworkerRemains => "coworker-remains",
            "Void or end the co-working role first.";
        /// A choice against the recommendation needs reasons (rule 5).
        OverrideReasonsNeeded => "override-reasons-needed",
            "Choose a POM of the recommended kind, or send `overrideReasons`.";
        /// The override reason `SUITABILITY` needs a detail (rule 5).
        SuitabilityDetailNeeded => "suitability-detail-needed",
            "Send `suitabilityDetail`: why the prisoner is suitable.";
        /// The override reason `OTHER` needs a detail (rule 5).
        OverrideDetailNeeded => "override-detail-needed",
            "Send the detail that goes with `OTHER`.";
        /// The case has no such COM.
        NoCommunityManager => "no-community-manager",
            "Nothing is left to take back: read the case again.";
        /// Responsibility is not overridden.
        NoResponsibilityOverride => "no-responsibility-override",
            "Nothing is left to take back: read the case again.";
        /// A determinate sentence needs its start for handover dates.
        SentenceStartUnknown => "sentence-start-unknown",
            "Send `sentenceStartDate`.";
        /// The case has no entry with that revision.
        EntryUnknown => "entry-unknown",
            "Take the revision from the history of this very number. A question for such an entry is answered 404.";
        /// The entry was voided before.
        EntryAlreadyVoided => "entry-already-voided",
            "Nothing is left to do.";
        /// An entry of this type cannot be voided.
        EntryNotVoidable => "entry-not-voidable",
            "Record a further entry that puts it right.";

        /// The prison has joined OMiC before.
        AlreadyOnOmic => "already-on-omic",
            "Nothing is left to do. A wrong go-live date is corrected by `PUT …/go-live-date`.";
        /// The program's list of prisons lacks the prison.
        PrisonUnlisted => "prison-unlisted",
            "Check the code of the prison, or send `unlistedPrison`.";
        /// Allocations that hold are earlier than the corrected go-live date.
        AllocationsBeforeGoLive => "allocations-before-go-live",
            "Void the allocations that `detail` names, or use an earlier date.";
        /// The POM is on the roster already.
        PomAlreadyRegistered => "pom-already-registered",
            "Nothing is left to do. Details of a POM are changed by `PATCH …/poms/{staffId}`.";
        /// A date of return goes with the status `UNAVAILABLE` alone.
        ReturnDateNeedsUnavailable => "return-date-needs-unavailable",
            "Leave `returnsOn` out, or send the status `UNAVAILABLE`.";
        /// The POM contact is recorded as being in NOMIS already.
        NomisContactKnown => "nomis-contact-known",
            "Nothing is left to do.";
        /// No such POM contact is recorded as being in NOMIS.
        NomisContactUnknown => "nomis-contact-unknown",
            "Take the id from the prison's list of contacts.";
        /// The POM contact names neither a staff id nor a name.
        ContactWithoutPerson => "contact-without-person",
            "Send `staffId` or `name`.";
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
