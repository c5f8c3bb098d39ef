//! Table `pom_period`: the roster, period by period.

use crate::{
    copy::{Copy, End},
    rows::PomPeriod,
    views::Row,
};

impl Row for PomPeriod {
    const COLUMNS: &'static str = "\
        prison_code, staff_id, valid_from, valid_to, name, kind, email, working_pattern, status, returns_on, \
        reason";

    const DELETE: &'static str = "DELETE FROM pom_period WHERE prison_code = ANY($1)";

    fn encode(&self, copy: &mut Copy) {
        copy.row(&[
            &self.prison_code,
            &self.staff_id,
            &self.valid_from,
            &End(self.valid_to),
            &self.name,
            &self.kind,
            &self.email,
            &self.working_pattern,
            &self.status,
            &self.returns_on,
            &self.reason,
        ]);
    }
}
