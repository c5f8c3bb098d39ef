//! Table `case_period`: who holds a case and who is responsible, period by period.

use crate::{
    copy::{Copy, End},
    rows::CasePeriod,
    views::Row,
};

impl Row for CasePeriod {
    const COLUMNS: &'static str = "\
        prisoner_number, valid_from, valid_to, revision, prison, tier, rosh_level, pom_staff_id, pom_name, \
        pom_kind, pom_email, pom_since, allocation_revision, coworker_staff_id, coworker_name, coworker_kind, \
        coworker_email, coworker_since, com_name, com_email, com_team, com_ldu, com_since, phase, responsible, \
        responsible_since, supporting, plan_reason, plan_start_date, plan_handover_date, override_responsible, \
        override_reason, override_detail, waiting_since, case_revision, crn, merged_into, \
        ever_allocated";

    const DELETE: &'static str = "DELETE FROM case_period WHERE prisoner_number = ANY($1)";

    fn encode(&self, copy: &mut Copy) {
        let (pom, coworker, com) = (self.pom.as_ref(), self.coworker.as_ref(), self.com.as_ref());
        copy.row(&[
            &self.prisoner_number,
            &self.valid_from,
            &End(self.valid_to),
            &self.revision,
            &self.prison,
            &self.tier,
            &self.rosh_level,
            &pom.map(|pom| pom.staff_id),
            &pom.map(|pom| &pom.name),
            &pom.map(|pom| pom.kind),
            &pom.and_then(|pom| pom.email.as_ref()),
            &self.pom_since,
            &self.allocation_revision,
            &coworker.map(|pom| pom.staff_id),
            &coworker.map(|pom| &pom.name),
            &coworker.map(|pom| pom.kind),
            &coworker.and_then(|pom| pom.email.as_ref()),
            &self.coworker_since,
            &com.map(|com| &com.name),
            &com.and_then(|com| com.email.as_ref()),
            &com.and_then(|com| com.team.as_ref()),
            &com.and_then(|com| com.ldu.as_ref()),
            &self.com_since,
            &self.phase,
            &self.responsible,
            &self.responsible_since,
            &self.supporting,
            &self.plan_reason,
            &self.plan_start_date,
            &self.plan_handover_date,
            &self.override_responsible,
            &self.override_reason,
            &self.override_detail,
            &self.waiting_since,
            &self.case.revision,
            &self.case.crn,
            &self.case.merged_into,
            &self.case.ever_allocated,
        ]);
    }
}
