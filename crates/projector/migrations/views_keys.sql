-- Primary keys and indexes of the views, see views.sql. The last part of making a schema: after its rows, if it has any.

ALTER TABLE checkpoint    ADD CONSTRAINT checkpoint_pkey    PRIMARY KEY (singleton);
ALTER TABLE prisoner_case ADD CONSTRAINT prisoner_case_pkey PRIMARY KEY (prisoner_number);
ALTER TABLE case_period   ADD CONSTRAINT case_period_pkey   PRIMARY KEY (prisoner_number, valid_from);
ALTER TABLE case_prison   ADD CONSTRAINT case_prison_pkey   PRIMARY KEY (prisoner_number, prison);
ALTER TABLE allocation    ADD CONSTRAINT allocation_pkey    PRIMARY KEY (prisoner_number, revision);
ALTER TABLE prison        ADD CONSTRAINT prison_pkey        PRIMARY KEY (prison_code);
ALTER TABLE pom_period    ADD CONSTRAINT pom_period_pkey    PRIMARY KEY (prison_code, staff_id, valid_from);
ALTER TABLE nomis_contact ADD CONSTRAINT nomis_contact_pkey PRIMARY KEY (prison_code, contact_id);

CREATE INDEX case_period_prison ON case_period (prison, valid_to, prisoner_number);
CREATE INDEX case_period_pom ON case_period (pom_staff_id, valid_to) WHERE pom_staff_id IS NOT NULL;
CREATE INDEX case_period_coworker ON case_period (coworker_staff_id, valid_to) WHERE coworker_staff_id IS NOT NULL;
CREATE INDEX case_prison_prison ON case_prison (prison, first_position);
CREATE INDEX allocation_prison_month ON allocation (prison, month);
CREATE INDEX pom_period_staff ON pom_period (staff_id, valid_to);
CREATE INDEX nomis_contact_outstanding ON nomis_contact (prison_code) WHERE removed_at IS NULL;
