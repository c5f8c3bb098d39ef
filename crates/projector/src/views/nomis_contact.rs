//! Table `nomis_contact`: POM contacts seen in NOMIS.

use crate::{copy::Copy, rows::NomisContact, views::Row};

impl Row for NomisContact {
    const COLUMNS: &'static str = "\
        prison_code, contact_id, prisoner_number, staff_id, name, contact_type, found_at, \
        removed_at";

    const DELETE: &'static str = "DELETE FROM nomis_contact WHERE prison_code = ANY($1)";

    fn encode(&self, copy: &mut Copy) {
        copy.row(&[
            &self.prison_code,
            &self.contact_id,
            &self.prisoner_number,
            &self.staff_id,
            &self.name,
            &self.contact_type,
            &self.found_at,
            &self.removed_at,
        ]);
    }
}
