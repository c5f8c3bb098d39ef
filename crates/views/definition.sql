-- Version 15 of the views; checksum of the tables: 381d273810b3f614.
-- `UPDATE_VIEWS=1 cargo test -p views` wrote it. A change of the tables is another version; their
-- declarations are in `src/tables/`. Where only a rule changes that fills them, raise the version
-- here by hand.

CREATE TABLE checkpoint (
    singleton boolean NOT NULL DEFAULT true,
    version integer NOT NULL,
    position bigint NOT NULL,
    event_id uuid,
    recorded_at timestamptz,
    epoch bigint NOT NULL,
    CONSTRAINT checkpoint_singleton CHECK (singleton)
);
COMMENT ON TABLE checkpoint IS 'How far the views have come; moved in the same transaction as their rows.';
COMMENT ON COLUMN checkpoint.singleton IS 'Always true: the table has one row.';
COMMENT ON COLUMN checkpoint.version IS 'Version of the views'' definition in the code that wrote them.';
COMMENT ON COLUMN checkpoint.position IS 'Position in the log of the last event that the views include.';
COMMENT ON COLUMN checkpoint.event_id IS 'That event''s id, by which the views are known to be of this log and of no other; null before the first.';
COMMENT ON COLUMN checkpoint.recorded_at IS 'When that event was recorded; null before the first.';
COMMENT ON COLUMN checkpoint.epoch IS 'Raised by each projector that takes over, so that one that lost its lock cannot write.';

CREATE TABLE stream_aside (
    stream text NOT NULL,
    prisoner_number text,
    prison_code text,
    position bigint NOT NULL,
    revision bigint NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    merged_into text,
    sql_state text NOT NULL,
    reason text NOT NULL,
    CONSTRAINT stream_aside_pkey PRIMARY KEY (stream)
);
COMMENT ON TABLE stream_aside IS 'Cases, prisons and contacts in NOMIS that the other tables leave out, as Postgres refuses their rows; empty in a sound ledger.';
COMMENT ON COLUMN stream_aside.stream IS 'Stream of the events, e.g. prisoner-A1234BC.';
COMMENT ON COLUMN stream_aside.prisoner_number IS 'Of a case: NOMS number.';
COMMENT ON COLUMN stream_aside.prison_code IS 'Of a prison: agency code.';
COMMENT ON COLUMN stream_aside.position IS 'Position in the log of the event from which on the rows are refused.';
COMMENT ON COLUMN stream_aside.revision IS 'Revision of that event in its stream.';
COMMENT ON COLUMN stream_aside.event_id IS 'That event''s id.';
COMMENT ON COLUMN stream_aside.event_type IS 'That event''s type.';
COMMENT ON COLUMN stream_aside.merged_into IS 'Of a case that was merged: the surviving number, whose questions are not answered either.';
COMMENT ON COLUMN stream_aside.sql_state IS 'SQLSTATE with which Postgres refuses the rows, of class 22 or 23.';
COMMENT ON COLUMN stream_aside.reason IS 'Postgres''s words for it.';

CREATE TABLE prisoner_case (
    prisoner_number text NOT NULL,
    revision bigint NOT NULL,
    position bigint NOT NULL,
    crn text,
    merged_into text,
    first_effective_at timestamptz NOT NULL,
    ever_allocated boolean NOT NULL
);
COMMENT ON TABLE prisoner_case IS 'One row a case that the ledger has heard of.';
COMMENT ON COLUMN prisoner_case.prisoner_number IS 'NOMS number, e.g. A1234BC.';
COMMENT ON COLUMN prisoner_case.revision IS 'Revision of the last event of the case that the views include.';
COMMENT ON COLUMN prisoner_case.position IS 'Position in the log of that event.';
COMMENT ON COLUMN prisoner_case.crn IS 'Number of the case in Delius, where known.';
COMMENT ON COLUMN prisoner_case.merged_into IS 'The surviving number, where this one was merged; follow it.';
COMMENT ON COLUMN prisoner_case.first_effective_at IS 'Effective time of the earliest entry that stands, or of the earliest at all where every one is voided.';
COMMENT ON COLUMN prisoner_case.ever_allocated IS 'Whether the case has ever had a primary POM, voided entries left out.';

CREATE TABLE case_period (
    prisoner_number text NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL,
    revision bigint NOT NULL,
    prison text,
    tier text,
    rosh_level text,
    pom_staff_id bigint,
    pom_name text,
    pom_kind text,
    pom_email text,
    pom_since timestamptz,
    allocation_revision bigint,
    taken_over_number text,
    taken_over_revision bigint,
    coworker_staff_id bigint,
    coworker_name text,
    coworker_kind text,
    coworker_email text,
    coworker_since timestamptz,
    com_name text,
    com_email text,
    com_team text,
    com_ldu text,
    com_since timestamptz,
    phase text NOT NULL,
    responsible text,
    responsible_since timestamptz NOT NULL,
    supporting text,
    plan_reason text,
    plan_start_date date,
    plan_handover_date date,
    override_responsible text,
    override_reason text,
    override_detail text,
    waiting_since timestamptz,
    waiting_reason text,
    case_revision bigint NOT NULL,
    crn text,
    merged_into text,
    ever_allocated boolean NOT NULL,
    CONSTRAINT case_period_order CHECK (valid_from < valid_to)
);
COMMENT ON TABLE case_period IS 'Who holds a case and who is responsible, period by period, past and planned; the periods of a case adjoin. None after a merge into another number.';
COMMENT ON COLUMN case_period.prisoner_number IS 'NOMS number.';
COMMENT ON COLUMN case_period.valid_from IS 'First instant of the period.';
COMMENT ON COLUMN case_period.valid_to IS 'First instant after the period; infinity while nothing known ends it.';
COMMENT ON COLUMN case_period.revision IS 'Highest revision among the entries in effect in the period.';
COMMENT ON COLUMN case_period.prison IS 'Where the case is held; null when released, out of scope, or never said.';
COMMENT ON COLUMN case_period.tier IS 'Tier, e.g. A or B2.';
COMMENT ON COLUMN case_period.rosh_level IS 'Risk of serious harm: VERY_HIGH, HIGH, MEDIUM, LOW.';
COMMENT ON COLUMN case_period.pom_staff_id IS 'Primary POM: NOMIS staff id; null while nobody holds the case.';
COMMENT ON COLUMN case_period.pom_name IS 'Primary POM: "Surname, Forename" as known at the allocation.';
COMMENT ON COLUMN case_period.pom_kind IS 'Primary POM: PRISON or PROBATION.';
COMMENT ON COLUMN case_period.pom_email IS 'Primary POM: e-mail address as known at the allocation.';
COMMENT ON COLUMN case_period.pom_since IS 'Primary POM: since when.';
COMMENT ON COLUMN case_period.allocation_revision IS 'Revision of the allocation or reallocation that made this POM primary (see view allocation); null where taken over in a merge.';
COMMENT ON COLUMN case_period.taken_over_number IS 'Primary POM taken over in a merge: the number under which the allocation was recorded.';
COMMENT ON COLUMN case_period.taken_over_revision IS 'Primary POM taken over in a merge: revision of that allocation under that number (see view allocation); null where the merge does not say.';
COMMENT ON COLUMN case_period.coworker_staff_id IS 'Co-working POM: NOMIS staff id.';
COMMENT ON COLUMN case_period.coworker_name IS 'Co-working POM: name.';
COMMENT ON COLUMN case_period.coworker_kind IS 'Co-working POM: PRISON or PROBATION.';
COMMENT ON COLUMN case_period.coworker_email IS 'Co-working POM: e-mail address.';
COMMENT ON COLUMN case_period.coworker_since IS 'Co-working POM: since when.';
COMMENT ON COLUMN case_period.com_name IS 'COM: name; null while none is named.';
COMMENT ON COLUMN case_period.com_email IS 'COM: e-mail address.';
COMMENT ON COLUMN case_period.com_team IS 'COM: probation team.';
COMMENT ON COLUMN case_period.com_ldu IS 'COM: local delivery unit.';
COMMENT ON COLUMN case_period.com_since IS 'COM: since when named.';
COMMENT ON COLUMN case_period.phase IS 'CUSTODY_ONLY, CUSTODY_WITH_COM, COMMUNITY or NOT_IN_CUSTODY.';
COMMENT ON COLUMN case_period.responsible IS 'The responsible role: POM or COM, filled or not; null when not in custody.';
COMMENT ON COLUMN case_period.responsible_since IS 'Since when that officer (or that vacancy) has been responsible, or the case not in custody, without a break.';
COMMENT ON COLUMN case_period.supporting IS 'The supporting role: POM, COM or null.';
COMMENT ON COLUMN case_period.plan_reason IS 'Reason of the handover plan in effect.';
COMMENT ON COLUMN case_period.plan_start_date IS 'Handover start date of that plan, London.';
COMMENT ON COLUMN case_period.plan_handover_date IS 'Handover date of that plan, London.';
COMMENT ON COLUMN case_period.override_responsible IS 'PRISON or PROBATION where responsibility is overridden.';
COMMENT ON COLUMN case_period.override_reason IS 'Why it is overridden.';
COMMENT ON COLUMN case_period.override_detail IS 'Detail of that reason.';
COMMENT ON COLUMN case_period.waiting_since IS 'Since when the case waits to be allocated; null while it does not.';
COMMENT ON COLUMN case_period.waiting_reason IS 'Why it waits: RECEIVED, TRANSFERRED, POM_INACTIVE, DEALLOCATED, MERGED.';
COMMENT ON COLUMN case_period.case_revision IS 'The case''s revision, as in prisoner_case: repeated so that a look-up reads one table.';
COMMENT ON COLUMN case_period.crn IS 'The case''s number in Delius, as in prisoner_case.';
COMMENT ON COLUMN case_period.merged_into IS 'The surviving number, as in prisoner_case.';
COMMENT ON COLUMN case_period.ever_allocated IS 'Whether the case has ever had a primary POM, as in prisoner_case.';

CREATE TABLE case_prison (
    prisoner_number text NOT NULL,
    prison text NOT NULL,
    first_position bigint NOT NULL,
    left_position bigint,
    left_at timestamptz
);
COMMENT ON TABLE case_prison IS 'Every prison that a case was ever known to be held at, by entries voided since included. It finds the cases that a prison''s list may have had at some instant as known at some position: those seen there by then that had not left, or left after that instant.';
COMMENT ON COLUMN case_prison.prisoner_number IS 'NOMS number.';
COMMENT ON COLUMN case_prison.prison IS 'Agency code of the prison.';
COMMENT ON COLUMN case_prison.first_position IS 'Position in the log of the entry by which the case was first known to be held there.';
COMMENT ON COLUMN case_prison.left_position IS 'Position of the entry by which it was last known to be there no longer; null while it is there.';
COMMENT ON COLUMN case_prison.left_at IS 'The latest instant at which it was ever known to leave; null where it never was.';

CREATE TABLE allocation (
    prisoner_number text NOT NULL,
    revision bigint NOT NULL,
    kind text NOT NULL,
    effective_at timestamptz NOT NULL,
    month date NOT NULL,
    recorded_at timestamptz NOT NULL,
    recorded_by text,
    prison text NOT NULL,
    staff_id bigint NOT NULL,
    pom_kind text NOT NULL,
    staff_id_before bigint,
    tier text NOT NULL,
    rosh_level text,
    recommended_pom_kind text,
    is_override boolean NOT NULL,
    override_reasons text[] NOT NULL,
    suitability_detail text,
    override_detail text,
    reason text,
    note text,
    nomis_booking_id bigint,
    days_waited integer,
    waiting_since timestamptz,
    waited_because text,
    received_at timestamptz,
    days_from_reception integer,
    is_first_since_reception boolean NOT NULL
);
COMMENT ON TABLE allocation IS 'One row an allocation or reallocation of a primary POM, voided ones left out.';
COMMENT ON COLUMN allocation.prisoner_number IS 'NOMS number.';
COMMENT ON COLUMN allocation.revision IS 'Revision of the event in the case''s stream.';
COMMENT ON COLUMN allocation.kind IS 'ALLOCATION or REALLOCATION.';
COMMENT ON COLUMN allocation.effective_at IS 'When it holds from.';
COMMENT ON COLUMN allocation.month IS 'First day of its London month.';
COMMENT ON COLUMN allocation.recorded_at IS 'When the ledger learnt of it.';
COMMENT ON COLUMN allocation.recorded_by IS 'Username of the recorder; null where the request named no user.';
COMMENT ON COLUMN allocation.prison IS 'Where.';
COMMENT ON COLUMN allocation.staff_id IS 'The primary POM.';
COMMENT ON COLUMN allocation.pom_kind IS 'PRISON or PROBATION.';
COMMENT ON COLUMN allocation.staff_id_before IS 'For a reallocation: the primary POM before.';
COMMENT ON COLUMN allocation.tier IS 'The case''s tier at that moment.';
COMMENT ON COLUMN allocation.rosh_level IS 'The case''s RoSH level at that moment.';
COMMENT ON COLUMN allocation.recommended_pom_kind IS 'The recommended kind; null where there was no recommendation.';
COMMENT ON COLUMN allocation.is_override IS 'Whether the choice went against the recommendation.';
COMMENT ON COLUMN allocation.override_reasons IS 'Why it did: SUITABILITY, NO_STAFF, CONTINUITY, OTHER.';
COMMENT ON COLUMN allocation.suitability_detail IS 'Detail for SUITABILITY.';
COMMENT ON COLUMN allocation.override_detail IS 'Detail for OTHER.';
COMMENT ON COLUMN allocation.reason IS 'For a reallocation: why the case moved.';
COMMENT ON COLUMN allocation.note IS 'Note to the POM.';
COMMENT ON COLUMN allocation.nomis_booking_id IS 'NOMIS booking, where a client of the first allocation API gave one.';
COMMENT ON COLUMN allocation.days_waited IS 'For an allocation: calendar days in London that the case had been waiting.';
COMMENT ON COLUMN allocation.waiting_since IS 'For an allocation: since when it had been waiting.';
COMMENT ON COLUMN allocation.waited_because IS 'What began that wait: RECEIVED, TRANSFERRED, POM_INACTIVE, DEALLOCATED, MERGED.';
COMMENT ON COLUMN allocation.received_at IS 'For an allocation: when the person was received at the prison, if the ledger was told.';
COMMENT ON COLUMN allocation.days_from_reception IS 'For an allocation: calendar days in London from that reception.';
COMMENT ON COLUMN allocation.is_first_since_reception IS 'Whether it is the first allocation since that reception; false without one, and after one as TRANSFERRED.';

CREATE TABLE reception (
    prisoner_number text NOT NULL,
    revision bigint NOT NULL,
    prison text NOT NULL,
    received_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    reason text NOT NULL
);
COMMENT ON TABLE reception IS 'One row a reception of a person at a prison, voided ones left out.';
COMMENT ON COLUMN reception.prisoner_number IS 'NOMS number.';
COMMENT ON COLUMN reception.revision IS 'Revision of the event in the case''s stream.';
COMMENT ON COLUMN reception.prison IS 'Where.';
COMMENT ON COLUMN reception.received_at IS 'When the person came in.';
COMMENT ON COLUMN reception.recorded_at IS 'When the ledger learnt of it.';
COMMENT ON COLUMN reception.reason IS 'NEW_ADMISSION, READMISSION, READMISSION_SWITCH_BOOKING or TRANSFERRED.';

CREATE TABLE control_entry (
    prisoner_number text NOT NULL,
    revision bigint NOT NULL,
    position bigint NOT NULL,
    event_type text NOT NULL,
    prison text,
    effective_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    recorded_by text,
    client text NOT NULL,
    days_late integer NOT NULL,
    voided_by bigint,
    voided_revision bigint,
    voided_type text,
    voided_recorded_at timestamptz,
    voided_recorded_by text,
    is_override boolean NOT NULL,
    staff_id bigint,
    pom_kind text,
    recommended_pom_kind text,
    override_reasons text[] NOT NULL,
    suitability_detail text,
    override_detail text,
    reason text
);
COMMENT ON TABLE control_entry IS 'One row an entry of a case that controls look at: a void, one that was recorded on a later day than it holds from, a choice of a primary POM against the recommendation. Those voided since are there too.';
COMMENT ON COLUMN control_entry.prisoner_number IS 'NOMS number that it was recorded under.';
COMMENT ON COLUMN control_entry.revision IS 'Revision of the event in that number''s stream.';
COMMENT ON COLUMN control_entry.position IS 'Position of the event in the log.';
COMMENT ON COLUMN control_entry.event_type IS 'Type of the event, e.g. TierAssigned.';
COMMENT ON COLUMN control_entry.prison IS 'The prison that the event names, or else the one that held the case when it was recorded; null where none did.';
COMMENT ON COLUMN control_entry.effective_at IS 'When it holds from.';
COMMENT ON COLUMN control_entry.recorded_at IS 'When the ledger learnt of it.';
COMMENT ON COLUMN control_entry.recorded_by IS 'Username of the recorder; null where the request named no user.';
COMMENT ON COLUMN control_entry.client IS 'The client that recorded it.';
COMMENT ON COLUMN control_entry.days_late IS 'Calendar days in London from when it holds to when it was recorded; 0 where it was not recorded later.';
COMMENT ON COLUMN control_entry.voided_by IS 'Revision of the entry that voided this one; null where none did.';
COMMENT ON COLUMN control_entry.voided_revision IS 'For a void: revision of the entry that it takes back.';
COMMENT ON COLUMN control_entry.voided_type IS 'For a void: type of that entry.';
COMMENT ON COLUMN control_entry.voided_recorded_at IS 'For a void: when that entry was recorded.';
COMMENT ON COLUMN control_entry.voided_recorded_by IS 'For a void: username of the recorder of that entry.';
COMMENT ON COLUMN control_entry.is_override IS 'Whether it is a choice against the recommendation.';
COMMENT ON COLUMN control_entry.staff_id IS 'For a choice of a primary POM: the POM.';
COMMENT ON COLUMN control_entry.pom_kind IS 'For a choice of a primary POM: PRISON or PROBATION.';
COMMENT ON COLUMN control_entry.recommended_pom_kind IS 'For a choice of a primary POM: the recommended kind, where there was one.';
COMMENT ON COLUMN control_entry.override_reasons IS 'Reasons for an override: SUITABILITY, NO_STAFF, CONTINUITY, OTHER.';
COMMENT ON COLUMN control_entry.suitability_detail IS 'Detail for SUITABILITY.';
COMMENT ON COLUMN control_entry.override_detail IS 'Detail for OTHER.';
COMMENT ON COLUMN control_entry.reason IS 'For a void or a reallocation: its reason.';

CREATE TABLE prison (
    prison_code text NOT NULL,
    revision bigint NOT NULL,
    position bigint NOT NULL,
    go_live_date date,
    estate text
);
COMMENT ON TABLE prison IS 'One row a prison that the ledger has heard of.';
COMMENT ON COLUMN prison.prison_code IS 'Agency code, e.g. LEI.';
COMMENT ON COLUMN prison.revision IS 'Revision of the last event of the prison that the views include.';
COMMENT ON COLUMN prison.position IS 'Position in the log of that event.';
COMMENT ON COLUMN prison.go_live_date IS 'First London day on OMiC; null where the prison has not joined.';
COMMENT ON COLUMN prison.estate IS 'MENS_CLOSED, MENS_OPEN or WOMENS.';

CREATE TABLE pom_period (
    prison_code text NOT NULL,
    staff_id bigint NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    email text,
    working_pattern numeric(2,1) NOT NULL,
    status text NOT NULL,
    returns_on date,
    reason text,
    CONSTRAINT pom_period_order CHECK (valid_from < valid_to)
);
COMMENT ON TABLE pom_period IS 'The roster: each POM of a prison, period by period.';
COMMENT ON COLUMN pom_period.prison_code IS 'Agency code.';
COMMENT ON COLUMN pom_period.staff_id IS 'NOMIS staff id.';
COMMENT ON COLUMN pom_period.valid_from IS 'First instant of the period.';
COMMENT ON COLUMN pom_period.valid_to IS 'First instant after the period; infinity while nothing ends it.';
COMMENT ON COLUMN pom_period.name IS '"Surname, Forename".';
COMMENT ON COLUMN pom_period.kind IS 'PRISON or PROBATION.';
COMMENT ON COLUMN pom_period.email IS 'Work e-mail address.';
COMMENT ON COLUMN pom_period.working_pattern IS 'Share of full time, 0.1 to 1.0.';
COMMENT ON COLUMN pom_period.status IS 'ACTIVE, UNAVAILABLE or INACTIVE.';
COMMENT ON COLUMN pom_period.returns_on IS 'For UNAVAILABLE: expected back on this London day.';
COMMENT ON COLUMN pom_period.reason IS 'Why the status is as it is.';

CREATE TABLE nomis_contact (
    prisoner_number text NOT NULL,
    contact_id uuid NOT NULL,
    prison_code text NOT NULL,
    staff_id bigint,
    name text,
    contact_type text NOT NULL,
    found_at timestamptz NOT NULL,
    removed_at timestamptz,
    position bigint NOT NULL
);
COMMENT ON TABLE nomis_contact IS 'POM contacts seen in NOMIS, which must be removed when a prison goes onto OMiC.';
COMMENT ON COLUMN nomis_contact.prisoner_number IS 'Whose contact it is.';
COMMENT ON COLUMN nomis_contact.contact_id IS 'Identifies the contact.';
COMMENT ON COLUMN nomis_contact.prison_code IS 'Agency code.';
COMMENT ON COLUMN nomis_contact.staff_id IS 'The contact''s staff id, where NOMIS gives one.';
COMMENT ON COLUMN nomis_contact.name IS 'The contact''s name, where NOMIS gives one.';
COMMENT ON COLUMN nomis_contact.contact_type IS 'Contact type as NOMIS has it.';
COMMENT ON COLUMN nomis_contact.found_at IS 'When it was last found (effective time).';
COMMENT ON COLUMN nomis_contact.removed_at IS 'When its removal was confirmed (effective time); null while it is still in NOMIS.';
COMMENT ON COLUMN nomis_contact.position IS 'Position in the log of the last event of the prisoner''s contacts that the views include.';

CREATE TABLE establishment (
    prison_code text NOT NULL,
    name text NOT NULL,
    country text NOT NULL,
    CONSTRAINT establishment_pkey PRIMARY KEY (prison_code)
);
COMMENT ON TABLE establishment IS 'One row a prison of the program''s list, whether the ledger has heard of it or not. It follows from no event, and `projections verify` does not compare it.';
COMMENT ON COLUMN establishment.prison_code IS 'Agency code, e.g. LEI.';
COMMENT ON COLUMN establishment.name IS 'Name without HMP, e.g. Leeds.';
COMMENT ON COLUMN establishment.country IS 'ENGLAND or WALES.';
INSERT INTO establishment (prison_code, name, country) VALUES
    ('ACI', 'Altcourse', 'ENGLAND'),
    ('AGI', 'Askham Grange', 'ENGLAND'),
    ('ASI', 'Ashfield', 'ENGLAND'),
    ('AYI', 'Aylesbury', 'ENGLAND'),
    ('BAI', 'Belmarsh', 'ENGLAND'),
    ('BCI', 'Buckley Hall', 'ENGLAND'),
    ('BFI', 'Bedford', 'ENGLAND'),
    ('BLI', 'Bristol', 'ENGLAND'),
    ('BMI', 'Birmingham', 'ENGLAND'),
    ('BNI', 'Bullingdon', 'ENGLAND'),
    ('BRI', 'Bure', 'ENGLAND'),
    ('BSI', 'Brinsford', 'ENGLAND'),
    ('BWI', 'Berwyn', 'WALES'),
    ('BXI', 'Brixton', 'ENGLAND'),
    ('BZI', 'Bronzefield', 'ENGLAND'),
    ('CDI', 'Chelmsford', 'ENGLAND'),
    ('CFI', 'Cardiff', 'WALES'),
    ('CKI', 'Cookham Wood', 'ENGLAND'),
    ('CLI', 'Coldingley', 'ENGLAND'),
    ('CWI', 'Channings Wood', 'ENGLAND'),
    ('DAI', 'Dartmoor', 'ENGLAND'),
    ('DGI', 'Dovegate', 'ENGLAND'),
    ('DHI', 'Drake Hall', 'ENGLAND'),
    ('DMI', 'Durham', 'ENGLAND'),
    ('DNI', 'Doncaster', 'ENGLAND'),
    ('DTI', 'Deerbolt', 'ENGLAND'),
    ('DWI', 'Downview', 'ENGLAND'),
    ('EEI', 'Erlestoke', 'ENGLAND'),
    ('EHI', 'Standford Hill', 'ENGLAND'),
    ('ESI', 'East Sutton Park', 'ENGLAND'),
    ('EWI', 'Eastwood Park', 'ENGLAND'),
    ('EXI', 'Exeter', 'ENGLAND'),
    ('EYI', 'Elmley', 'ENGLAND'),
    ('FBI', 'Forest Bank', 'ENGLAND'),
    ('FDI', 'Ford', 'ENGLAND'),
    ('FEI', 'Fosse Way', 'ENGLAND'),
    ('FHI', 'Foston Hall', 'ENGLAND'),
    ('FKI', 'Frankland', 'ENGLAND'),
    ('FMI', 'Feltham', 'ENGLAND'),
    ('FNI', 'Full Sutton', 'ENGLAND'),
    ('FSI', 'Featherstone', 'ENGLAND'),
    ('FWI', 'Five Wells', 'ENGLAND'),
    ('GHI', 'Garth', 'ENGLAND'),
    ('GMI', 'Guys Marsh', 'ENGLAND'),
    ('GNI', 'Grendon', 'ENGLAND'),
    ('GTI', 'Gartree', 'ENGLAND'),
    ('HBI', 'Hollesley Bay', 'ENGLAND'),
    ('HCI', 'Huntercombe', 'ENGLAND'),
    ('HDI', 'Hatfield', 'ENGLAND'),
    ('HEI', 'Hewell', 'ENGLAND'),
    ('HHI', 'Holme House', 'ENGLAND'),
    ('HII', 'Hindley', 'ENGLAND'),
    ('HLI', 'Hull', 'ENGLAND'),
    ('HMI', 'Humber', 'ENGLAND'),
    ('HOI', 'High Down', 'ENGLAND'),
    ('HPI', 'Highpoint', 'ENGLAND'),
    ('HVI', 'Haverigg', 'ENGLAND'),
    ('ISI', 'Isis', 'ENGLAND'),
    ('IWI', 'Isle of Wight', 'ENGLAND'),
    ('KMI', 'Kirkham', 'ENGLAND'),
    ('KTI', 'Kennet', 'ENGLAND'),
    ('KVI', 'Kirklevington Grange', 'ENGLAND'),
    ('LCI', 'Leicester', 'ENGLAND'),
    ('LEI', 'Leeds', 'ENGLAND'),
    ('LFI', 'Lancaster Farms', 'ENGLAND'),
    ('LGI', 'Lowdham Grange', 'ENGLAND'),
    ('LHI', 'Lindholme', 'ENGLAND'),
    ('LII', 'Lincoln', 'ENGLAND'),
    ('LLI', 'Long Lartin', 'ENGLAND'),
    ('LNI', 'Low Newton', 'ENGLAND'),
    ('LPI', 'Liverpool', 'ENGLAND'),
    ('LTI', 'Littlehey', 'ENGLAND'),
    ('LWI', 'Lewes', 'ENGLAND'),
    ('LYI', 'Leyhill', 'ENGLAND'),
    ('MDI', 'Moorland', 'ENGLAND'),
    ('MHI', 'Morton Hall', 'ENGLAND'),
    ('MKI', 'Millsike', 'ENGLAND'),
    ('MRI', 'Manchester', 'ENGLAND'),
    ('MSI', 'Maidstone', 'ENGLAND'),
    ('MTI', 'The Mount', 'ENGLAND'),
    ('MWI', 'Medway', 'ENGLAND'),
    ('NHI', 'New Hall', 'ENGLAND'),
    ('NLI', 'Northumberland', 'ENGLAND'),
    ('NMI', 'Nottingham', 'ENGLAND'),
    ('NSI', 'North Sea Camp', 'ENGLAND'),
    ('NWI', 'Norwich', 'ENGLAND'),
    ('ONI', 'Onley', 'ENGLAND'),
    ('OWI', 'Oakwood', 'ENGLAND'),
    ('PBI', 'Peterborough', 'ENGLAND'),
    ('PDI', 'Portland', 'ENGLAND'),
    ('PFI', 'Peterborough Female', 'ENGLAND'),
    ('PNI', 'Preston', 'ENGLAND'),
    ('PRI', 'Parc', 'WALES'),
    ('PVI', 'Pentonville', 'ENGLAND'),
    ('RCI', 'Rochester', 'ENGLAND'),
    ('RHI', 'Rye Hill', 'ENGLAND'),
    ('RNI', 'Ranby', 'ENGLAND'),
    ('RSI', 'Risley', 'ENGLAND'),
    ('SDI', 'Send', 'ENGLAND'),
    ('SFI', 'Stafford', 'ENGLAND'),
    ('SHI', 'Stoke Heath', 'ENGLAND'),
    ('SKI', 'Stocken', 'ENGLAND'),
    ('SLI', 'Swaleside', 'ENGLAND'),
    ('SNI', 'Swinfen Hall', 'ENGLAND'),
    ('SPI', 'Spring Hill', 'ENGLAND'),
    ('STI', 'Styal', 'ENGLAND'),
    ('SUI', 'Sudbury', 'ENGLAND'),
    ('SWI', 'Swansea', 'WALES'),
    ('TCI', 'Thorn Cross', 'ENGLAND'),
    ('TSI', 'Thameside', 'ENGLAND'),
    ('UKI', 'Usk', 'WALES'),
    ('UPI', 'Prescoed', 'WALES'),
    ('VEI', 'The Verne', 'ENGLAND'),
    ('WCI', 'Winchester', 'ENGLAND'),
    ('WDI', 'Wakefield', 'ENGLAND'),
    ('WEI', 'Wealstun', 'ENGLAND'),
    ('WHI', 'Woodhill', 'ENGLAND'),
    ('WII', 'Warren Hill', 'ENGLAND'),
    ('WLI', 'Wayland', 'ENGLAND'),
    ('WMI', 'Wymott', 'ENGLAND'),
    ('WNI', 'Werrington', 'ENGLAND'),
    ('WRI', 'Whitemoor', 'ENGLAND'),
    ('WSI', 'Wormwood Scrubs', 'ENGLAND'),
    ('WTI', 'Whatton', 'ENGLAND'),
    ('WWI', 'Wandsworth', 'ENGLAND'),
    ('WYI', 'Wetherby', 'ENGLAND');

CREATE VIEW case_now AS
SELECT case_period.prisoner_number, case_period.valid_from, case_period.valid_to, case_period.revision, case_period.prison, establishment.name AS prison_name, case_period.tier, case_period.rosh_level, case_period.pom_staff_id, case_period.pom_name, case_period.pom_kind, case_period.pom_email, case_period.pom_since, case_period.allocation_revision, case_period.taken_over_number, case_period.taken_over_revision, case_period.coworker_staff_id, case_period.coworker_name, case_period.coworker_kind, case_period.coworker_email, case_period.coworker_since, case_period.com_name, case_period.com_email, case_period.com_team, case_period.com_ldu, case_period.com_since, case_period.phase, case_period.responsible, case_period.responsible_since, case_period.supporting, case_period.plan_reason, case_period.plan_start_date, case_period.plan_handover_date, case_period.override_responsible, case_period.override_reason, case_period.override_detail, case_period.waiting_since, case_period.waiting_reason, case_period.case_revision, case_period.crn, case_period.merged_into, case_period.ever_allocated
  FROM case_period
  LEFT JOIN establishment ON establishment.prison_code = case_period.prison
 WHERE case_period.valid_from <= now() AND now() < case_period.valid_to;
COMMENT ON VIEW case_now IS 'The cases as they are now, one row a case: the period of `case_period` that holds at this moment. A number that was merged into another has none.';
COMMENT ON COLUMN case_now.prisoner_number IS 'NOMS number.';
COMMENT ON COLUMN case_now.valid_from IS 'First instant of the period.';
COMMENT ON COLUMN case_now.valid_to IS 'First instant after the period; infinity while nothing known ends it.';
COMMENT ON COLUMN case_now.revision IS 'Highest revision among the entries in effect in the period.';
COMMENT ON COLUMN case_now.prison IS 'Where the case is held; null when released, out of scope, or never said.';
COMMENT ON COLUMN case_now.prison_name IS 'Name of that prison; null where the list of prisons lacks it.';
COMMENT ON COLUMN case_now.tier IS 'Tier, e.g. A or B2.';
COMMENT ON COLUMN case_now.rosh_level IS 'Risk of serious harm: VERY_HIGH, HIGH, MEDIUM, LOW.';
COMMENT ON COLUMN case_now.pom_staff_id IS 'Primary POM: NOMIS staff id; null while nobody holds the case.';
COMMENT ON COLUMN case_now.pom_name IS 'Primary POM: "Surname, Forename" as known at the allocation.';
COMMENT ON COLUMN case_now.pom_kind IS 'Primary POM: PRISON or PROBATION.';
COMMENT ON COLUMN case_now.pom_email IS 'Primary POM: e-mail address as known at the allocation.';
COMMENT ON COLUMN case_now.pom_since IS 'Primary POM: since when.';
COMMENT ON COLUMN case_now.allocation_revision IS 'Revision of the allocation or reallocation that made this POM primary (see view allocation); null where taken over in a merge.';
COMMENT ON COLUMN case_now.taken_over_number IS 'Primary POM taken over in a merge: the number under which the allocation was recorded.';
COMMENT ON COLUMN case_now.taken_over_revision IS 'Primary POM taken over in a merge: revision of that allocation under that number (see view allocation); null where the merge does not say.';
COMMENT ON COLUMN case_now.coworker_staff_id IS 'Co-working POM: NOMIS staff id.';
COMMENT ON COLUMN case_now.coworker_name IS 'Co-working POM: name.';
COMMENT ON COLUMN case_now.coworker_kind IS 'Co-working POM: PRISON or PROBATION.';
COMMENT ON COLUMN case_now.coworker_email IS 'Co-working POM: e-mail address.';
COMMENT ON COLUMN case_now.coworker_since IS 'Co-working POM: since when.';
COMMENT ON COLUMN case_now.com_name IS 'COM: name; null while none is named.';
COMMENT ON COLUMN case_now.com_email IS 'COM: e-mail address.';
COMMENT ON COLUMN case_now.com_team IS 'COM: probation team.';
COMMENT ON COLUMN case_now.com_ldu IS 'COM: local delivery unit.';
COMMENT ON COLUMN case_now.com_since IS 'COM: since when named.';
COMMENT ON COLUMN case_now.phase IS 'CUSTODY_ONLY, CUSTODY_WITH_COM, COMMUNITY or NOT_IN_CUSTODY.';
COMMENT ON COLUMN case_now.responsible IS 'The responsible role: POM or COM, filled or not; null when not in custody.';
COMMENT ON COLUMN case_now.responsible_since IS 'Since when that officer (or that vacancy) has been responsible, or the case not in custody, without a break.';
COMMENT ON COLUMN case_now.supporting IS 'The supporting role: POM, COM or null.';
COMMENT ON COLUMN case_now.plan_reason IS 'Reason of the handover plan in effect.';
COMMENT ON COLUMN case_now.plan_start_date IS 'Handover start date of that plan, London.';
COMMENT ON COLUMN case_now.plan_handover_date IS 'Handover date of that plan, London.';
COMMENT ON COLUMN case_now.override_responsible IS 'PRISON or PROBATION where responsibility is overridden.';
COMMENT ON COLUMN case_now.override_reason IS 'Why it is overridden.';
COMMENT ON COLUMN case_now.override_detail IS 'Detail of that reason.';
COMMENT ON COLUMN case_now.waiting_since IS 'Since when the case waits to be allocated; null while it does not.';
COMMENT ON COLUMN case_now.waiting_reason IS 'Why it waits: RECEIVED, TRANSFERRED, POM_INACTIVE, DEALLOCATED, MERGED.';
COMMENT ON COLUMN case_now.case_revision IS 'The case''s revision, as in prisoner_case: repeated so that a look-up reads one table.';
COMMENT ON COLUMN case_now.crn IS 'The case''s number in Delius, as in prisoner_case.';
COMMENT ON COLUMN case_now.merged_into IS 'The surviving number, as in prisoner_case.';
COMMENT ON COLUMN case_now.ever_allocated IS 'Whether the case has ever had a primary POM, as in prisoner_case.';

ALTER TABLE checkpoint ADD CONSTRAINT checkpoint_pkey PRIMARY KEY (singleton);
ALTER TABLE prisoner_case ADD CONSTRAINT prisoner_case_pkey PRIMARY KEY (prisoner_number);
ALTER TABLE case_period ADD CONSTRAINT case_period_pkey PRIMARY KEY (prisoner_number, valid_from);
ALTER TABLE case_prison ADD CONSTRAINT case_prison_pkey PRIMARY KEY (prisoner_number, prison);
ALTER TABLE allocation ADD CONSTRAINT allocation_pkey PRIMARY KEY (prisoner_number, revision);
ALTER TABLE reception ADD CONSTRAINT reception_pkey PRIMARY KEY (prisoner_number, revision);
ALTER TABLE control_entry ADD CONSTRAINT control_entry_pkey PRIMARY KEY (prisoner_number, revision);
ALTER TABLE prison ADD CONSTRAINT prison_pkey PRIMARY KEY (prison_code);
ALTER TABLE pom_period ADD CONSTRAINT pom_period_pkey PRIMARY KEY (prison_code, staff_id, valid_from);
ALTER TABLE nomis_contact ADD CONSTRAINT nomis_contact_pkey PRIMARY KEY (prisoner_number, contact_id);

CREATE INDEX case_period_prison ON case_period (prison, valid_to, prisoner_number);
CREATE INDEX case_period_pom ON case_period (pom_staff_id, valid_to) WHERE pom_staff_id IS NOT NULL;
CREATE INDEX case_period_coworker ON case_period (coworker_staff_id, valid_to) WHERE coworker_staff_id IS NOT NULL;
CREATE INDEX case_period_valid_from ON case_period (valid_from);
CREATE INDEX prisoner_case_crn ON prisoner_case (crn) WHERE crn IS NOT NULL;
CREATE INDEX case_prison_prison ON case_prison (prison, first_position);
CREATE INDEX allocation_prison_month ON allocation (prison, month);
CREATE INDEX reception_prison ON reception (prison, received_at);
CREATE INDEX pom_period_staff ON pom_period (staff_id, valid_to);
CREATE INDEX nomis_contact_outstanding ON nomis_contact (prison_code) WHERE removed_at IS NULL;
CREATE INDEX nomis_contact_prison ON nomis_contact (prison_code, position);
CREATE INDEX control_entry_void ON control_entry (position) WHERE voided_revision IS NOT NULL;
CREATE INDEX control_entry_override ON control_entry (position) WHERE is_override;
CREATE INDEX control_entry_late ON control_entry (position, days_late) WHERE days_late > 0;
CREATE INDEX control_entry_prison ON control_entry (prison, position);
CREATE INDEX control_entry_recorder ON control_entry (recorded_by, position);
