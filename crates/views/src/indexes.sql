CREATE INDEX case_period_prison ON case_period (prison, valid_to, prisoner_number);
CREATE INDEX case_period_pom ON case_period (pom_staff_id, valid_to) WHERE pom_staff_id IS NOT NULL;
CREATE INDEX case_period_coworker ON case_period (coworker_staff_id, valid_to) WHERE coworker_staff_id IS NOT NULL;
CREATE INDEX case_prison_prison ON case_prison (prison, first_position);
CREATE INDEX allocation_prison_month ON allocation (prison, month);
CREATE INDEX reception_prison ON reception (prison, received_at);
CREATE INDEX pom_period_staff ON pom_period (staff_id, valid_to);
CREATE INDEX nomis_contact_outstanding ON nomis_contact (prison_code) WHERE removed_at IS NULL;
CREATE INDEX nomis_contact_prison ON nomis_contact (prison_code, position);
