//! Table `case_period`: which POM holds a case and which officer is responsible, period by period.

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    handover::HandoverReason,
    identifier::{Crn, PrisonCode, PrisonerNumber, StaffId},
    officer::PomKind,
    prisoner::{
        AllocationReference, Arrangements, History, OfficerRole, Period, Phase, PomRole, ResponsibilityOverridden,
        ResponsibilityOverrideReason, ResponsibleService, RoleAllocation, State, Waiting, WaitingReason, period_at,
        periods,
    },
    tier::{RoshLevel, Tier},
};

use crate::{
    columns::columns,
    postgres_time::{day, instant, within_microseconds},
    table::table,
    tables::prisoner_case::PrisonerCaseRow,
    values::{PeriodEnd, word_columns},
};

table! {
    /// Who holds a case and who is responsible, period by period, past and planned; the periods of
    /// a case adjoin. None after a merge into another number.
    CasePeriodRow in case_period, key (prisoner_number, valid_from),
    check case_period_order = "valid_from < valid_to" {
        /// NOMS number.
        prisoner_number: PrisonerNumber,
        /// First instant of the period.
        valid_from: DateTime<Utc>,
        /// First instant after the period; infinity while nothing known ends it.
        valid_to: PeriodEnd,
        /// Highest revision among the entries in effect in the period.
        revision: u64,
        /// Where the case is held; null when released, out of scope, or never said.
        prison: Option<PrisonCode>,
        /// Tier, e.g. A or B2.
        tier: Option<Tier>,
        /// Risk of serious harm: VERY_HIGH, HIGH, MEDIUM, LOW.
        rosh_level: Option<RoshLevel>,
        /// The primary POM.
        pom: Option<CasePom> {
            /// Primary POM: NOMIS staff id; null while nobody holds the case.
            pom_staff_id,
            /// Primary POM: "Surname, Forename" as known at the allocation.
            pom_name,
            /// Primary POM: PRISON or PROBATION.
            pom_kind,
            /// Primary POM: e-mail address as known at the allocation.
            pom_email,
            /// Primary POM: since when.
            pom_since,
        },
        /// Revision of the allocation or reallocation that made this POM primary (see view
        /// allocation); null where taken over in a merge.
        allocation_revision: Option<u64>,
        /// The allocation of a primary POM that was taken over in a merge.
        taken_over_allocation: Option<AllocationReference> {
            /// Primary POM taken over in a merge: the number under which the allocation was
            /// recorded.
            taken_over_number,
            /// Primary POM taken over in a merge: revision of that allocation under that number
            /// (see view allocation); null where the merge does not say.
            taken_over_revision,
        },
        /// The co-working POM.
        coworker: Option<CasePom> {
            /// Co-working POM: NOMIS staff id.
            coworker_staff_id,
            /// Co-working POM: name.
            coworker_name,
            /// Co-working POM: PRISON or PROBATION.
            coworker_kind,
            /// Co-working POM: e-mail address.
            coworker_email,
            /// Co-working POM: since when.
            coworker_since,
        },
        /// The COM.
        com: Option<CaseCom> {
            /// COM: name; null while none is named.
            com_name,
            /// COM: e-mail address.
            com_email,
            /// COM: probation team.
            com_team,
            /// COM: local delivery unit.
            com_ldu,
            /// COM: since when named.
            com_since,
        },
        /// CUSTODY_ONLY, CUSTODY_WITH_COM, COMMUNITY or NOT_IN_CUSTODY.
        phase: Phase,
        /// The responsible role: POM or COM, filled or not; null when not in custody.
        responsible: Option<OfficerRole>,
        /// Since when that officer (or that vacancy) has been responsible, or the case not in
        /// custody, without a break.
        responsible_since: DateTime<Utc>,
        /// The supporting role: POM, COM or null.
        supporting: Option<OfficerRole>,
        /// The handover plan in effect.
        plan: Option<CasePlan> {
            /// Reason of the handover plan in effect.
            plan_reason,
            /// Handover start date of that plan, London.
            plan_start_date,
            /// Handover date of that plan, London.
            plan_handover_date,
        },
        /// The override of responsibility in effect.
        responsibility_override: Option<ResponsibilityOverridden> {
            /// PRISON or PROBATION where responsibility is overridden.
            override_responsible,
            /// Why it is overridden.
            override_reason,
            /// Detail of that reason.
            override_detail,
        },
        /// The wait to be allocated.
        waiting: Option<Waiting> {
            /// Since when the case waits to be allocated; null while it does not.
            waiting_since,
            /// Why it waits: RECEIVED, TRANSFERRED, POM_INACTIVE, DEALLOCATED, MERGED.
            waiting_reason,
        },
        /// The case's revision, as in prisoner_case: repeated so that a look-up reads one table.
        case_revision: u64,
        /// The case's number in Delius, as in prisoner_case.
        crn: Option<Crn>,
        /// The surviving number, as in prisoner_case.
        merged_into: Option<PrisonerNumber>,
        /// Whether the case has ever had a primary POM, as in prisoner_case.
        ever_allocated: bool,
    }
}

columns! {
    /// A POM in a role on a case.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CasePom {
        /// NOMIS staff id.
        pub staff_id: StaffId,
        /// "Surname, Forename" as known at the allocation.
        pub name: String,
        /// Prison or probation officer.
        pub kind: PomKind,
        /// Work e-mail address as known at the allocation.
        pub email: Option<String>,
        /// Since when the POM has the role.
        pub since: DateTime<Utc>,
    }
}

columns! {
    /// The COM of a case.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CaseCom {
        /// "Surname, Forename".
        pub name: String,
        /// Work e-mail address.
        pub email: Option<String>,
        /// Probation team.
        pub team: Option<String>,
        /// Local delivery unit.
        pub ldu: Option<String>,
        /// Since when the COM is named.
        pub since: DateTime<Utc>,
    }
}

columns! {
    /// The handover plan of a case.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct CasePlan {
        /// Why the handover is as planned.
        pub reason: HandoverReason,
        /// London day from which the COM supports.
        pub start_date: Option<NaiveDate>,
        /// London day from which the COM is responsible.
        pub handover_date: Option<NaiveDate>,
    }
}

columns!(ResponsibilityOverridden {
    responsible: ResponsibleService,
    reason: ResponsibilityOverrideReason,
    detail: Option<String>,
});

columns!(AllocationReference { prisoner_number: PrisonerNumber, revision: u64 });

columns!(Waiting {
    since: DateTime<Utc>,
    reason: WaitingReason,
});

word_columns!(HandoverReason, OfficerRole, Phase, ResponsibilityOverrideReason, ResponsibleService, WaitingReason);

impl CasePeriodRow {
    /// The row of one of a case's periods; `None` for a period that Postgres cannot tell from its
    /// neighbour.
    #[must_use]
    pub fn of(case: &PrisonerCaseRow, period: Period) -> Option<Self> {
        let (valid_from, valid_to) = within_microseconds(period.from, period.to)?;
        let State {
            prison,
            tier,
            primary_pom,
            coworking_pom,
            community_manager,
            arrangements: Arrangements { handover_plan, responsibility_override },
            waiting,
            ..
        } = period.state;
        Some(Self {
            prisoner_number: case.prisoner_number.clone(),
            valid_from,
            valid_to,
            revision: period.revision,
            prison,
            tier: tier.as_ref().map(|tier| tier.tier),
            rosh_level: tier.as_ref().and_then(|tier| tier.rosh_level),
            allocation_revision: primary_pom.as_ref().and_then(|role| role.allocation.own_revision()),
            taken_over_allocation: primary_pom.as_ref().and_then(|role| match &role.allocation {
                RoleAllocation::TakenOver(reference) => Some(reference.clone()),
                RoleAllocation::Own(_) | RoleAllocation::Unknown => None,
            }),
            pom: primary_pom.map(CasePom::from),
            coworker: coworking_pom.map(CasePom::from),
            com: community_manager.map(|role| CaseCom {
                name: role.manager.name,
                email: role.manager.email,
                team: role.manager.team,
                ldu: role.manager.ldu,
                since: instant(role.since),
            }),
            phase: period.responsibility.phase,
            responsible: period.responsibility.responsible,
            responsible_since: instant(period.responsible_since),
            supporting: period.responsibility.supporting,
            plan: handover_plan.map(|plan| CasePlan {
                reason: plan.reason,
                start_date: plan.start_date.map(day),
                handover_date: plan.handover_date.map(day),
            }),
            responsibility_override,
            waiting: waiting.map(|waiting| Waiting { since: instant(waiting.since), ..waiting }),
            case_revision: case.revision,
            crn: case.crn.clone(),
            merged_into: case.merged_into.clone(),
            ever_allocated: case.ever_allocated,
        })
    }

    /// The rows of all periods of a case, in order.
    #[must_use]
    pub fn all_of(history: &History) -> Vec<Self> {
        let case = PrisonerCaseRow::of(history, history.state());
        let row = |case| periods(history).into_iter().filter_map(move |period| Self::of(case, period));
        case.as_ref().into_iter().flat_map(row).collect()
    }

    /// Whether the period holds at an instant.
    #[must_use]
    pub fn holds_at(&self, instant: DateTime<Utc>) -> bool {
        self.valid_from <= instant && self.valid_to.is_after(instant)
    }

    /// The row of the period that holds at an instant.
    #[must_use]
    pub fn find_at(history: &History, at: DateTime<Utc>) -> Option<Self> {
        let periods = periods(history);
        let period = period_at(&periods, at)?;
        Self::of(&PrisonerCaseRow::of(history, history.state())?, period.clone())
    }
}

impl From<PomRole> for CasePom {
    fn from(role: PomRole) -> Self {
        let pom = role.pom;
        Self { staff_id: pom.staff_id, name: pom.name, kind: pom.kind, email: pom.email, since: instant(role.since) }
    }
}
