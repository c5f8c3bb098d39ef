//! Table `prisoner_case`: one row a case.

use crate::{copy::Copy, rows::PrisonerCase, views::Row};

impl Row for PrisonerCase {
    const COLUMNS: &'static str = "\
        prisoner_number, revision, position, crn, merged_into, first_effective_at, \
        ever_allocated";

    const DELETE: &'static str = "DELETE FROM prisoner_case WHERE prisoner_number = ANY($1)";

    fn encode(&self, copy: &mut Copy) {
        copy.row(&[
            &self.prisoner_number,
            &self.revision,
            &self.position,
            &self.crn,
            &self.merged_into,
            &self.first_effective_at,
            &self.ever_allocated,
        ]);
    }
}
