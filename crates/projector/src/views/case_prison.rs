//! Table `case_prison`: at which prisons a case was ever known to be held.

use crate::{copy::Copy, rows::CasePrison, views::Row};

impl Row for CasePrison {
    const COLUMNS: &'static str = "prisoner_number, prison, first_position, left_position, left_at";

    const DELETE: &'static str = "DELETE FROM case_prison WHERE prisoner_number = ANY($1)";

    fn encode(&self, copy: &mut Copy) {
        copy.row(&[&self.prisoner_number, &self.prison, &self.first_position, &self.left_position, &self.left_at]);
    }
}
