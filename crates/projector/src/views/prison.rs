//! Table `prison`: one row a prison.

use crate::{copy::Copy, rows::Prison, views::Row};

impl Row for Prison {
    const COLUMNS: &'static str = "\
        prison_code, revision, position, go_live_date, estate";

    const DELETE: &'static str = "DELETE FROM prison WHERE prison_code = ANY($1)";

    fn encode(&self, copy: &mut Copy) {
        copy.row(&[&self.prison_code, &self.revision, &self.position, &self.go_live_date, &self.estate]);
    }
}
