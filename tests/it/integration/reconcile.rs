//! `integration reconcile`: each kind of difference is found, and closed once where that is safe.
//!
//! The estate is in extracts, as files.

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};

use crate::support::{
    DataDir, ToolOutput,
    ledger::{Ledger, NOVAK, PRISON, SHAH},
    questions::{ask, record},
    run,
    workbook_file::archive,
};

/// The exit status where differences remain.
const DIFFERENT: i32 = 3;

/// A time to come.
const LATER: &str = "2199-01-01T00:00:00Z";

const MOVEMENTS: &str = "prisonerNumber,firstName,prisonId,lastMovementTypeCode,lastMovementTime,lastAdmissionDate,\
    receptionDate,restrictedPatient,removedNomsNumber";

const PROBATION: &str = "prisonerNumber,crn,tier,calculationDate,managerSurname,managerForename";

/// A ledger, and extracts to compare it with.
struct Prison {
    ledger: Ledger,
    extracts: DataDir,
}

impl Prison {
    async fn start() -> Self {
        Self { ledger: Ledger::start_all_roles().await, extracts: DataDir::new() }
    }

    /// Writes an extract, and answers its path.
    fn extract(&self, name: &str, heading: &str, rows: &[&str]) -> String {
        let path = self.extracts.path().join(name);
        let text = rows.iter().fold(format!("{heading}\n"), |mut text, row| {
            writeln!(text, "{row}").expect("memory");
            text
        });
        std::fs::write(&path, text).expect("write a file");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    fn movements(&self, rows: &[&str]) -> String {
        self.extract("prisoners.csv", MOVEMENTS, rows)
    }

    /// Reconciles once the views have everything.
    async fn reconcile(&self, arguments: &[&str]) -> ToolOutput {
        ask(&self.ledger, "/prisons/LEI/cases").await;
        self.reconcile_at_once(arguments).await
    }

    async fn reconcile_at_once(&self, arguments: &[&str]) -> ToolOutput {
        let stores = self.ledger.database.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        run(&[&["integration", "reconcile", "--prison", PRISON], arguments, &stores].concat()).await
    }

    /// The types of a case's events that a reconciliation recorded.
    async fn reconciled(&self, number: &str) -> Vec<String> {
        let events = self.ledger.case_events(number).await;
        let own = events.iter().filter(|event| event.entry.recorded_by.client == "hmpps-reconcile");
        own.map(|event| format!("{} {}", event.entry.event.type_name(), event.entry.effective_at.to_rfc3339()))
            .collect()
    }
}

/// The differences that a tool wrote as JSON, by number, in a few words.
#[track_caller]
fn differences(ran: &ToolOutput) -> Vec<String> {
    assert!(matches!(ran.status.code(), Some(0 | DIFFERENT)), "{}", ran.stderr);
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let word = |member: &str| line[member].as_str().unwrap_or("-").to_owned();
        [word("prisonerNumber"), word("difference"), word("outcome"), word("operation")].join(" ")
    };
    ran.stdout.lines().map(line).collect()
}

#[tokio::test]
async fn each_kind_of_difference_is_found_and_closed_once_where_it_is_safe() {
    let prison = Prison::start().await;
    let ledger = &prison.ledger;
    for number in ["A1111AA", "A1112AA", "A1113AA", "A1114AA", "A1115AA", "A1116AA", "A1117AA"] {
        ledger.case(number, SHAH).await;
    }
    record(
        ledger,
        "POST /prisoners/A1114AA/transfers",
        json!({"toPrison": "MDI", "effectiveAt": "2026-02-10T09:00:00Z"}),
    )
    .await;
    record(ledger, "POST /prisoners/A1115AA/releases", json!({"effectiveAt": "2026-02-10T09:00:00Z"})).await;
    let com = json!({"name": "Bell, Jo", "team": "North", "effectiveAt": "2026-02-10T09:00:00Z"});
    record(ledger, "PUT /prisoners/A1116AA/community-manager", com).await;
    let prisoners = prison.movements(&[
        "A1111AA,Sam,OUT,REL,2026-03-01T10:00:00,,,false,",
        "A1112AA,Kim,MDI,TRN,2026-03-02T11:00:00Z,2026-03-02,,,",
        "A1114AA,Lou,LEI,TRN,,2026-03-03,,,",
        "A1115AA,Max,LEI,ADM,,2026-03-04,2026-03-04,,",
        "A1116AA,Bo,LEI,CRT,2026-03-05T08:00:00,,,,",
        "A1118AA,New,LEI,ADM,2026-03-06T15:30:00,2026-03-06,2026-03-06,,",
        "B1111BB,Merged,LEI,,,,,,A1117AA",
        "A1119AA,Other,MDI,,,,,,",
    ]);
    let probation = prison.extract(
        "probation.csv",
        PROBATION,
        &["A1116AA,,A,2026-03-05T00:00:00,Lee,Sam", "A1118AA,X123456,B2,,Unallocated,", "A1119AA,,A,,,"],
    );
    let sources = ["--prisoners", &prisoners, "--probation", &probation, "--json"];
    let before = ledger.event_count().await;
    let compared = prison.reconcile(&sources).await;
    let expected = [
        ("A1111AA RELEASED", "release"),
        ("A1112AA HELD_ELSEWHERE", "transfer"),
        ("A1113AA ABSENT", ""),
        ("A1114AA HELD_HERE", "transfer"),
        ("A1115AA HELD_HERE", "receive"),
        ("A1116AA TIER", "assign-tier"),
        ("A1116AA COM", "assign-community-manager"),
        // It may be the one who is absent, under another number.
        ("A1118AA UNKNOWN", ""),
        ("B1111BB MERGED", ""),
    ];
    let lines = |outcome: &str| -> Vec<String> {
        let line = |(difference, operation): &(&str, &str)| match *operation {
            "" => format!("{difference} LEFT -"),
            operation => format!("{difference} {outcome} {operation}"),
        };
        expected.iter().map(line).collect()
    };
    assert_eq!(differences(&compared), lines("WOULD_RECORD"));
    assert_eq!(compared.status.code(), Some(DIFFERENT));
    assert!(
        compared.stderr.contains("9 differences: 6 that --apply records, 3 left to a person."),
        "{}",
        compared.stderr
    );
    assert_eq!(ledger.event_count().await, before, "nothing is recorded unless that is asked for");

    let apply = [&sources[..], &["--apply", "--taken-at", LATER]].concat();
    let refused = prison.reconcile(&apply).await;
    assert!(refused.stderr.contains("--taken-at lies in the future"), "{}", refused.stderr);
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let apply = [&sources[..], &["--apply", "--taken-at", &now]].concat();
    let applied = prison.reconcile(&apply).await;
    assert_eq!(applied.status.code(), Some(DIFFERENT), "{}", applied.stderr);
    assert_eq!(differences(&applied), lines("RECORDED"));
    for (number, events) in [
        ("A1111AA", &["Deallocated 2026-03-01T10:00:00+00:00"][..]),
        ("A1112AA", &["Deallocated 2026-03-02T11:00:00+00:00"]),
        ("A1113AA", &[]),
        ("A1114AA", &["Deallocated 2026-03-03T00:00:00+00:00"]),
        ("A1115AA", &["Received 2026-03-04T00:00:00+00:00"]),
    ] {
        assert_eq!(prison.reconciled(number).await, events, "{number}");
    }
    let state = ledger.state("A1116AA").await;
    let (tier, com) = (state.tier.expect("a tier").tier, state.community_manager.expect("a COM").manager.name);
    assert_eq!((tier.to_string(), com), ("A".to_owned(), "Lee, Sam".to_owned()));
    let first = ledger.case_events("A1111AA").await.pop().expect("an event");
    assert_eq!(first.entry.recorded_by.username.as_ref().map(|name| name.as_str()), Some("HMPPS_RECONCILE"));
    assert!(first.entry.command_id.is_of_the_ledger(), "no caller can send its id");

    let recorded = ledger.event_count().await;
    let again = prison.reconcile(&apply).await;
    let left = ["A1113AA ABSENT LEFT -", "A1118AA UNKNOWN LEFT -", "B1111BB MERGED LEFT -"];
    assert_eq!(differences(&again), left);
    assert_eq!(ledger.event_count().await, recorded, "nothing is recorded twice");
    let sql =
        "SELECT count(*) FROM access.entry WHERE operation = 'integration reconcile' AND prisoners @> '{A1117AA}'";
    let shown: i64 = sqlx::query_scalar(sql).fetch_one(&ledger.database.pool).await.expect("count entries");
    assert!(shown >= 3, "the number that was merged is in the access log");
    let mut rows = vec!["A1113AA,Bo,MDI,,,,,,", "A1118AA,New,LEI,ADM,2026-03-06T15:30:00,2026-03-06,2026-03-06,,"];
    rows.extend(["A1114AA,Lou,LEI,,,,,,", "A1115AA,Max,LEI,,,,,,", "A1116AA,Bo,LEI,,,,,,", "A1117AA,Kit,LEI,,,,,,"]);
    let prisoners = prison.movements(&rows);
    let found = ["--prisoners", &prisoners, "--apply", "--taken-at", &now];
    prison.reconcile(&found).await;
    assert_eq!(prison.reconciled("A1118AA").await, ["Received 2026-03-06T15:30:00+00:00"]);
}

#[tokio::test]
async fn a_ledger_that_agrees_says_so() {
    let prison = Prison::start().await;
    prison.ledger.case("A1111AA", SHAH).await;
    let prisoners = prison.movements(&["A1111AA,Sam,LEI,ADM,,,,,", "A1112AA,Kim,MDI,,,,,,"]);
    // What it says of places is not read.
    let probation = prison.extract("probation.csv", "prisonerNumber,tier,prisonId", &["A1111AA,C,MDI"]);
    let alone = prison.reconcile(&["--probation", &probation]).await;
    assert_eq!(alone.status.code(), Some(0), "{}{}", alone.stdout, alone.stderr);
    let sources = ["--prisoners", prisoners.as_str(), "--probation", &probation];
    let agreed = prison.reconcile(&sources).await;
    assert_eq!(agreed.status.code(), Some(0), "{}", agreed.stderr);
    assert_eq!(agreed.stdout, "The ledger and the estate agree. 1 case at LEI on either side.\n");
    let left = prison.movements(&["A1111AA,Sam,OUT,REL,2026-03-01T10:00:00,,,false,"]);
    let differing = prison.reconcile(&["--prisoners", &left]).await;
    for words in [
        "A1111AA",
        "released",
        "at LEI, with Shah, Priya",
        "would record",
        "since 2026-03-01 10:00 GMT, by lastMovementTime",
    ] {
        assert!(differing.stdout.contains(words), "{words}: {}", differing.stdout);
    }
    let sql =
        "SELECT count(*) FROM access.entry WHERE operation = 'integration reconcile' AND 'A1111AA' = ANY (prisoners)";
    let shown: i64 = sqlx::query_scalar(sql).fetch_one(&prison.ledger.database.pool).await.expect("count entries");
    assert_eq!(shown, 1, "the report that names a person is in the access log");
    assert_eq!(differing.status.code(), Some(DIFFERENT));
}

/// A picture is of a time. The ledger may know more by now.
#[tokio::test]
async fn a_case_of_which_the_ledger_has_learnt_more_is_left_as_it_is() {
    let prison = Prison::start().await;
    prison.ledger.case("A1111AA", SHAH).await;
    let prisoners = prison.movements(&["A1111AA,Sam,OUT,REL,,,,false,"]);
    let before = prison.ledger.event_count().await;
    let sources = ["--prisoners", &prisoners, "--json", "--apply"];
    let refused = prison.reconcile(&sources).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("--apply needs --taken-at"), "{}", refused.stderr);
    let old = prison.reconcile(&[&sources[..], &["--taken-at", "2026-01-01"]].concat()).await;
    assert_eq!(differences(&old), ["A1111AA RELEASED LEFT -"]);
    assert!(old.stdout.contains("the ledger learnt more at"), "{}", old.stdout);
    assert_eq!((old.status.code(), prison.ledger.event_count().await), (Some(DIFFERENT), before));
}

/// Writes a workbook with one row, in which the last movement is a date with a time of day.
fn write_moved(path: &Path) {
    let related = "<Relationships><Relationship Id='a' Type='x/worksheet' Target='sheet.xml'/>\
        <Relationship Id='b' Type='x/styles' Target='styles.xml'/></Relationships>";
    let others = [
        ("xl/workbook.xml", "<workbook><sheets><sheet name='People' r:id='a'/></sheets></workbook>"),
        ("xl/_rels/workbook.xml.rels", related),
        ("xl/styles.xml", "<styleSheet><cellXfs><xf numFmtId='0'/><xf numFmtId='22'/></cellXfs></styleSheet>"),
    ];
    let cell = |text: &str| format!("<c t='str'><v>{text}</v></c>");
    let headings = ["prisonerNumber", "prisonId", "lastMovementTime"].map(cell).concat();
    let moved = format!("{}{}<c s='1'><v>46082.645</v></c>", cell("A1111AA"), cell("OUT"));
    let rows = format!("<row r='1'>{headings}</row><row r='2'>{moved}</row>");
    let sheet = format!("<worksheet><sheetData>{rows}</sheetData></worksheet>");
    archive(path, &others.map(|(name, part)| (name, part.to_owned())), "xl/sheet.xml", [&sheet, "", ""], 0);
}

#[tokio::test]
async fn a_wrong_row_is_told_with_its_place_and_nothing_is_recorded() {
    let prison = Prison::start().await;
    prison.ledger.case("A1111AA", SHAH).await;
    let before = prison.ledger.event_count().await;
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let refused = async |flag: &str, file: &str| {
        let ran = prison.reconcile(&[flag, file, "--apply", "--taken-at", &now]).await;
        assert_eq!((ran.status.code(), ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
        ran.stderr
    };
    let wrong = prison.movements(&[
        "A1111AA,Sam,OUT,REL,yesterday,,,,",
        "A1112A,Kim,LEI,,,,,,",
        "A1113AA,Lou,,,,,,,",
        "A1114AA,Max,OUT,,,,,maybe,",
        "A1115AA,Bo,LEI,,,,,,",
        "A1115AA,Bo,LEI,,,,,,",
    ]);
    let told = refused("--prisoners", &wrong).await;
    for place in [
        "row 2, column `lastMovementTime` (E): `yesterday` is not a time",
        "row 3, column `prisonerNumber` (A): `A1112A` is not a prisoner number",
        "row 4, column `prisonId` (C): it is empty",
        "row 5, column `restrictedPatient` (H): `MAYBE` is neither true nor false",
        "row 7, column `prisonerNumber` (A): an earlier row has the same number",
    ] {
        assert!(told.contains(place) && told.contains("prisoners.csv"), "{place}: {told}");
    }
    let headless = prison.extract("prisoners.csv", "number,prisonId", &["A1111AA,OUT"]);
    assert!(refused("--prisoners", &headless).await.contains("has no column `prisonerNumber`"));
    let twice = prison.extract("prisoners.csv", "prisonerNumber,prisonId,PRISON ID", &["A1111AA,OUT,OUT"]);
    assert!(refused("--prisoners", &twice).await.contains("two columns have the name `PRISON ID`"));
    // Its time of day would be lost.
    let workbook = prison.extracts.path().join("prisoners.xlsx");
    write_moved(&workbook);
    let told = refused("--prisoners", workbook.to_str().expect("UTF-8")).await;
    assert!(told.contains("row 2, column `lastMovementTime` (C): the cell is a date"), "{told}");
    let nothing = prison.extract("probation.csv", "prisonerNumber,crn", &["A1111AA,X123456"]);
    assert!(refused("--probation", &nothing).await.contains("none of the columns tier, managerSurname"));
    let contacts = prison.extract("contacts.csv", "Prisoner number,Staff ID", &["A1111AA,485926", "A1112A,485926"]);
    let told = refused("--contacts", &contacts).await;
    assert!(told.contains("contacts.csv, row 3: "), "{told}");
    assert_eq!(prison.ledger.event_count().await, before);
    let sourceless = prison.reconcile(&[]).await;
    assert_eq!(sourceless.status.code(), Some(1));
    assert!(sourceless.stderr.contains("there is nothing to compare with"), "{}", sourceless.stderr);
}

#[tokio::test]
async fn contacts_that_are_still_in_nomis_are_told_once_the_prison_has_joined() {
    let prison = Prison::start().await;
    for (number, staff_id) in [("A1111AA", 7), ("A1112AA", 8)] {
        let contact = json!({"prisonerNumber": number, "staffId": staff_id, "contactType": "POM"});
        record(&prison.ledger, "POST /prisons/LEI/nomis-contacts", contact).await;
    }
    let heading = "Prisoner number,Staff ID,Name,Contact type";
    let contacts = prison.extract("contacts.csv", heading, &["A1111AA,7,,POM", "A1113AA,9,\"Okafor, Grace\",POM"]);
    let compared = prison.reconcile(&["--contacts", &contacts, "--json"]).await;
    let expected = ["A1111AA CONTACT_REMAINS LEFT -", "A1113AA CONTACT_REMAINS LEFT -", "A1112AA CONTACT_GONE LEFT -"];
    assert_eq!(differences(&compared), expected);
    let other = prison.extract("contacts.csv", heading, &["A1111AA,7,,POM"]);
    let stores = prison.ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let arguments = ["integration", "reconcile", "--prison", "MDI", "--contacts", &other];
    let not_joined = run(&[&arguments[..], &stores].concat()).await;
    assert_eq!(not_joined.status.code(), Some(0), "{}", not_joined.stderr);
    assert!(not_joined.stderr.contains("MDI has not joined OMiC"), "{}", not_joined.stderr);
}

mod log_in_postgres {
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::support::{bare_database, eventually, topology::require_log_in_postgres};

    /// The event store takes the transfer of a person, and not the tier after it.
    #[tokio::test]
    async fn a_run_that_breaks_off_reports_what_it_recorded() {
        require_log_in_postgres();
        let prison = Prison::start().await;
        let ledger = &prison.ledger;
        ledger.case("A1111AA", SHAH).await;
        let transfer = json!({"toPrison": "MDI", "effectiveAt": "2026-02-10T09:00:00Z"});
        record(ledger, "POST /prisoners/A1111AA/transfers", transfer).await;
        let refusing = "CREATE FUNCTION refuse_tiers() RETURNS trigger LANGUAGE plpgsql AS
                $$BEGIN RAISE EXCEPTION 'no tiers'; END$$;
            CREATE TRIGGER refuse_tiers BEFORE INSERT ON log.event FOR EACH ROW WHEN (NEW.type = 'TierAssigned')
                EXECUTE FUNCTION refuse_tiers()";
        sqlx::raw_sql(refusing).execute(&ledger.database.pool).await.expect("a store that refuses");
        let prisoners = prison.extract("prisoners.csv", "prisonerNumber,prisonId,tier", &["A1111AA,LEI,A"]);
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let ran = prison.reconcile(&["--prisoners", &prisoners, "--apply", "--taken-at", &now, "--json"]).await;
        assert_eq!(ran.status.code(), Some(1), "{}", ran.stderr);
        assert!(ran.stdout.contains("HELD_HERE") && ran.stdout.contains("RECORDED"), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("the reconciliation was interrupted: run it again"), "{}", ran.stderr);
        assert_eq!(prison.reconciled("A1111AA").await.len(), 1);
    }

    #[tokio::test]
    async fn the_rights_to_append_and_to_read_are_enough() {
        require_log_in_postgres();
        let database = bare_database().await;
        let ran = run(&["prepare", "--event-store", &database.url, "--views", &database.url]).await;
        assert!(ran.status.success(), "{}", ran.stderr);
        let login = format!("{}_reconciling", database.name);
        let role = format!("CREATE ROLE {login} LOGIN IN ROLE ledger_append, ledger_read");
        sqlx::raw_sql(AssertSqlSafe(role)).execute(&database.pool).await.expect("make a login");
        let url = database.url_for(&login);
        let ledger = Ledger::start_all_roles_on(database, &[], &[]).await;
        let reception = json!({"prison": PRISON, "reason": "NEW_ADMISSION", "effectiveAt": "2026-02-10T09:00:00Z"});
        record(&ledger, "POST /prisoners/A1111AA/receptions", reception).await;
        let prison = Prison { ledger, extracts: DataDir::new() };
        let prisoners = prison.movements(&["A1111AA,Sam,OUT,REL,,,,false,"]);
        let contacts = prison.extract("contacts.csv", "Prisoner number,Staff ID", &["A1111AA,7"]);
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        ask(&prison.ledger, "/prisons/LEI/cases").await;
        let arguments = ["integration", "reconcile", "--prison", PRISON, "--json", "--apply", "--taken-at", &now];
        let sources = ["--prisoners", &prisoners, "--contacts", &contacts, "--event-store", &url, "--views", &url];
        let ran = run(&[&arguments[..], &sources].concat()).await;
        assert_eq!(differences(&ran), ["A1111AA RELEASED RECORDED release"], "{}", ran.stderr);
        assert!(!ran.stderr.contains("access log"), "{}", ran.stderr);
    }

    /// Both have compared before either appends.
    #[tokio::test]
    async fn two_runs_at_once_record_each_difference_once() {
        require_log_in_postgres();
        let prison = Prison::start().await;
        let numbers: Vec<String> = (0..30).map(|index| format!("A{index:04}BC")).collect();
        for number in &numbers[..15] {
            prison.ledger.case(number, NOVAK).await;
        }
        let row = |(index, number): (usize, &String)| match index {
            0..15 => format!("{number},Sam,OUT,REL,,,,false,"),
            _ => format!("{number},Sam,LEI,ADM,,2026-03-01,,,"),
        };
        let rows: Vec<String> = numbers.iter().enumerate().map(row).collect();
        let prisoners = prison.movements(&rows.iter().map(String::as_str).collect::<Vec<_>>());
        ask(&prison.ledger, "/prisons/LEI/cases").await;
        let before = prison.ledger.event_count().await;
        let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let arguments = ["--prisoners", &prisoners, "--apply", "--taken-at", &now, "--json"];

        let pool = &prison.ledger.database.pool;
        let mut lock = pool.begin().await.expect("a transaction");
        sqlx::query("SELECT FROM log.head FOR UPDATE").execute(&mut *lock).await.expect("hold the log");
        let let_go = async {
            let sql = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
                WHERE NOT granted AND datname = current_database()";
            eventually("both append", async || {
                let waiting: i64 = sqlx::query_scalar(sql).fetch_one(pool).await.expect("count waits");
                (waiting >= 2).then_some(())
            })
            .await;
            lock.rollback().await.expect("let the log go");
        };
        let (one, other, ()) =
            tokio::join!(prison.reconcile_at_once(&arguments), prison.reconcile_at_once(&arguments), let_go);
        for ran in [&one, &other] {
            assert_eq!(ran.status.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
        }
        let lines = [differences(&one), differences(&other)].concat();
        // A run that reads a case after the other has recorded it finds no difference any more.
        let before_or_now = |line: &&String| line.contains(" RECORDED ") || line.contains(" RECORDED_BEFORE ");
        assert_eq!(lines.iter().filter(|line| line.contains(" RECORDED ")).count(), 30, "{lines:?}");
        assert!(lines.iter().all(|line| before_or_now(&line)), "{lines:?}");
        assert_eq!(prison.ledger.event_count().await, before + 30);
    }
}
