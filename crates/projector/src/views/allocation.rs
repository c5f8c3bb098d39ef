//! Table `allocation`: one row an allocation or reallocation that stands.

use crate::{copy::Copy, rows::Allocation, views::Row};

impl Row for Allocation {
    const COLUMNS: &'static str = "\
        prisoner_number, revision, kind, effective_at, month, recorded_at, recorded_by, prison, staff_id, \
        pom_kind, staff_id_before, tier, rosh_level, recommended_pom_kind, is_override, override_reasons, \
        suitability_detail, override_detail, reason, note, nomis_booking_id, \
        days_waited";

    const DELETE: &'static str = "DELETE FROM allocation WHERE prisoner_number = ANY($1)";

    fn encode(&self, copy: &mut Copy) {
        copy.row(&[
            &self.prisoner_number,
            &self.revision,
            &self.kind,
            &self.effective_at,
            &self.month,
            &self.recorded_at,
            &self.recorded_by,
            &self.prison,
            &self.staff_id,
            &self.pom_kind,
            &self.staff_id_before,
            &self.tier,
            &self.rosh_level,
            &self.recommended_pom_kind,
            &self.is_override,
            &self.override_reasons,
            &self.suitability_detail,
            &self.override_detail,
            &self.reason,
            &self.note,
            &self.nomis_booking_id,
            &self.days_waited,
        ]);
    }
}
