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

/// Makes [`Rule`] from one list: each kind with its rules, each rule with its code.
macro_rules! rules {
    ($($kind:ident { $($(#[doc = $doc:literal])* $rule:ident => $code:literal,)* })*) => {
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
    }
    NotYours {
        /// The caller is confined to other prisons (rule 12).
        PrisonNotYours => "prison-not-yours",
    }
    NotPermitted {
        /// The effective time is later than the recorder's clock.
        EffectiveTimeInFuture => "effective-time-in-future",
        /// The effective time is so long ago that it is a slip of the pen.
        EffectiveTimeTooEarly => "effective-time-too-early",
        /// An entry that is already recorded for later would no longer be possible (rule 8).
        LaterEntryConflict => "later-entry-conflict",
        /// The case goes on under another number (rule 10).
        PrisonerNumberRetired => "prisoner-number-retired",
        /// Numbers would be merged in a circle (rule 10).
        MergeCircle => "merge-circle",
        /// A number is retired only after the POM roles on it have ended (rule 10).
        RolesRemain => "roles-remain",
        /// Nothing would change.
        NothingChanged => "nothing-changed",
        /// A text is longer than its bound.
        DetailTooLong => "detail-too-long",

        /// The prison had not joined OMiC (rule 1).
        PrisonNotOnOmic => "prison-not-on-omic",
        /// The POM is not on the prison's roster (rule 1).
        PomNotRegistered => "pom-not-registered",
        /// The POM takes no new cases (rule 1).
        PomNotActive => "pom-not-active",
        /// The case has no tier (rule 2).
        TierUnknown => "tier-unknown",
        /// The case has a holder in that role (rule 3).
        AlreadyAllocated => "already-allocated",
        /// The case has no primary POM (rule 3).
        NotAllocated => "not-allocated",
        /// The POM holds the role already (rule 3).
        SamePom => "same-pom",
        /// Another POM holds the role than the one that the command names.
        PomNotHolder => "pom-not-holder",
        /// The case is held at another prison than the one that the command names.
        CaseAtAnotherPrison => "case-at-another-prison",
        /// The primary POM would be the co-working POM (rule 4).
        PomIsCoworker => "pom-is-coworker",
        /// The co-working POM would be the primary POM (rule 4).
        PomIsPrimary => "pom-is-primary",
        /// The case has no co-working POM.
        NoCoworker => "no-coworker",
        /// The co-working POM's role ends before the primary POM's does (rule 6).
        CoworkerRemains => "coworker-remains",
        /// A choice against the recommendation needs reasons (rule 5).
        OverrideReasonsNeeded => "override-reasons-needed",
        /// The override reason `SUITABILITY` needs a detail (rule 5).
        SuitabilityDetailNeeded => "suitability-detail-needed",
        /// The override reason `OTHER` needs a detail (rule 5).
        OverrideDetailNeeded => "override-detail-needed",
        /// The case has no such COM.
        NoCommunityManager => "no-community-manager",
        /// Responsibility is not overridden.
        NoResponsibilityOverride => "no-responsibility-override",
        /// A determinate sentence needs its start for handover dates.
        SentenceStartUnknown => "sentence-start-unknown",
        /// The case has no entry with that revision.
        EntryUnknown => "entry-unknown",
        /// The entry was voided before.
        EntryAlreadyVoided => "entry-already-voided",
        /// An entry of this type cannot be voided.
        EntryNotVoidable => "entry-not-voidable",

        /// The prison has joined OMiC before.
        AlreadyOnOmic => "already-on-omic",
        /// The program's list of prisons lacks the prison.
        PrisonUnlisted => "prison-unlisted",
        /// Allocations that hold are earlier than the corrected go-live date.
        AllocationsBeforeGoLive => "allocations-before-go-live",
        /// The POM is on the roster already.
        PomAlreadyRegistered => "pom-already-registered",
        /// A date of return goes with the status `UNAVAILABLE` alone.
        ReturnDateNeedsUnavailable => "return-date-needs-unavailable",
        /// The POM contact is recorded as being in NOMIS already.
        NomisContactKnown => "nomis-contact-known",
        /// No such POM contact is recorded as being in NOMIS.
        NomisContactUnknown => "nomis-contact-unknown",
        /// The POM contact names neither a staff id nor a name.
        ContactWithoutPerson => "contact-without-person",
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
