//! `import spreadsheet`: what a sheet was read for, from the command line to the events in the log.

use domain::{
    Stream,
    prisoner::{History, PrisonerEvent},
};
use event_log::history::push;
use serde_json::{Value, json};

use crate::support::{DataDir, TestDatabase, ToolOutput, database, run, whole_log::read_stored};

/// A ledger and a directory of spreadsheets.
struct Desk {
    database: TestDatabase,
    dir: DataDir,
}

impl Desk {
    async fn new() -> Self {
        Self { database: database().await, dir: DataDir::new() }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.dir.path().join(name), content).expect("write a file");
        self.path(name)
    }

    async fn import(&self, file: &str, more: &[&str]) -> ToolOutput {
        let stores = self.database.store.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        let import = ["import", "spreadsheet", file, "--prison", "LEI", "--go-live", "2019-01-01"];
        run(&[&import, more, &stores].concat()).await
    }

    /// Imports with `--json`. Answers the lines of the report.
    async fn report(&self, file: &str, more: &[&str]) -> Vec<Value> {
        let ran = self.import(file, &[more, &["--json"]].concat()).await;
        assert!(ran.status.success(), "{}", ran.stderr);
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    async fn case(&self, number: &str) -> History {
        let number = number.parse().expect("a number");
        let mut case = History::new(number);
        for stored in read_stored(&*self.database.log().await).await {
            if stored.stream == Stream::Prisoner(case.number().clone()) {
                push(&mut case, stored.entry).expect("the next event of the case");
            }
        }
        case
    }
}

/// The refused row is older than the first that was recorded, and so than its POM's registration.
#[tokio::test]
async fn a_corrected_row_has_its_pom_on_the_roster_from_its_own_day_on() {
    let desk = Desk::new().await;
    let headings = "NOMS no,Tier,POM,Staff id,Type,Date allocated\n";
    let row = |number, tier, date| format!("A000{number}BC,{tier},\"Okafor, Grace\",485926,PO,{date}\n");
    let [old, new] = [row(1, "", "07/01/2019"), row(2, "C", "01/07/2019")];
    let first = desk.report(&desk.write("cases.csv", &[headings, &old, &new].concat()), &[]).await;
    assert_eq!([&first[0]["outcome"], &first[1]["outcome"]], ["refused", "recorded"]);
    let corrected = desk.write("corrected.csv", &[headings, &row(1, "D", "07/01/2019")].concat());
    let report = desk.report(&corrected, &[]).await;
    assert_eq!(report[0]["outcome"], "recorded", "{report:?}");
    let case = desk.case("A0001BC").await.state();
    assert_eq!(case.primary_pom.expect("a POM").pom.name, "Okafor, Grace");
    assert_eq!(desk.report(&corrected, &[]).await[0]["outcome"], "already-recorded");
}

fn column(line: &Value, member: &str) -> Value {
    line[member].clone()
}

#[tokio::test]
async fn a_report_begins_with_what_was_read_for_what() {
    let desk = Desk::new().await;
    let file = desk.write(
        "cases.csv",
        "No,Prison number,Tier,POM,Staff id,Type,Date allocated,Tier,COM\n\
         1,A0001BC,B2S,\"Okafor, Grace\",485926,PO,01/07/2019,C,x\n\
         2,A0002BC,C,Okafor Grace,485926,PO,01/07/2019,C,x\n",
    );
    let ran = desk.import(&file, &["--dry-run"]).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("Read from the sheet `cases`, with its headings in row 1:\n"), "{}", ran.stdout);
    for expected in [
        "  prisoner number    <- B  \"Prison number\"\n",
        "  staff id           <- E  \"Staff id\"\n",
        "Not read: A \"No\" (it counts the rows, and is no staff id), H \"Tier\" (column C was taken for the tier), I \"COM\".\n",
        "`PO` was read as a probation POM.",
    ] {
        assert!(ran.stdout.contains(expected), "{expected}\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("Grace, Okafor"), "one name for a POM: {}", ran.stdout);
    let report = desk.report(&file, &[]).await;
    assert_eq!(report.len(), 2, "a line a row");
    assert_eq!(report[0]["reading"]["columns"][1]["field"], "prisonerNumber");
    assert_eq!(report[0]["reading"]["columns"][1]["column"], "B");
    assert_eq!(report[1]["reading"], Value::Null, "said once");
    assert_eq!((&report[0]["outcome"], &report[0]["tier"]), (&json!("recorded"), &json!("B2S")));
    let case = desk.case("A0001BC").await;
    assert_eq!(case.state().tier.expect("a tier").tier.to_string(), "B2S");
}

#[tokio::test]
async fn a_reason_is_said_once_and_the_refused_rows_can_be_corrected_and_imported() {
    let desk = Desk::new().await;
    let row = |number: u32, tier: &str| format!("A{number:04}BC,{tier},\"Okafor, Grace\",485926,PO,01/07/2019\n");
    let rows: String = (1..=20).map(|number| row(number, if number > 15 { "" } else { "C" })).collect();
    let file = desk.write("cases.csv", &format!("NOMS no,Tier,POM,Staff id,Type,Date allocated\n{rows}"));
    let refused = desk.path("refused.csv");
    let ran = desk.import(&file, &["--refused", &refused]).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    assert_eq!(ran.stdout.matches("tier: it is empty").count(), 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("5 rows: 17-21"), "{}", ran.stdout);
    let text = std::fs::read_to_string(&refused).expect("the refused rows");
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(text.lines().nth(1).is_some_and(|line| line.contains("\"tier: it is empty\"")), "{text}");
    let corrected = desk.write("corrected.csv", &text.replace("BC\",\"\"", "BC\",\"D\""));
    let report = desk.report(&corrected, &[]).await;
    assert!(report.iter().all(|line| line["outcome"] == "recorded" && line["tier"] == "D"), "{report:?}");
    assert_eq!(report.len(), 5);
    let ran = desk.import(&file, &["--refused", &file]).await;
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("which is the file to import: name another file"), "{}", ran.stderr);
}

#[tokio::test]
async fn cases_that_no_pom_has_wait_and_are_recorded_once() {
    let desk = Desk::new().await;
    let headings = "NOMS no,Tier,POM,Staff id,Type,Date allocated,Received\n";
    let file = desk.write(
        "cases.csv",
        &format!(
            "{headings}A0001BC,B,,,,,02/03/2020\nA0002BC,C,Unallocated,,,,\n\
             A0003BC,C,\"Okafor, Grace\",485926,PO,01/07/2019,\n"
        ),
    );
    let report = desk.report(&file, &[]).await;
    assert!(report.iter().all(|line| line["outcome"] == "recorded"), "{report:?}");
    assert_eq!(column(&report[0], "waitingSince"), "2020-03-02");
    assert_eq!((column(&report[0], "staffId"), column(&report[1], "waitingSince")), (Value::Null, Value::Null));
    assert_eq!(report[1]["warnings"].as_array().map(Vec::len), Some(1));
    let case = desk.case("A0001BC").await;
    let waiting = case.state().waiting.expect("it waits");
    assert_eq!(waiting.since.to_rfc3339(), "2020-03-02T00:00:00+00:00");
    assert_eq!(case.state().prison.as_ref().map(ToString::to_string).as_deref(), Some("LEI"));
    let [entry] = case.entries() else { panic!("{:?}", case.entries()) };
    assert!(matches!(entry.event, PrisonerEvent::TierAssigned(_)));

    let again = desk.report(&file, &[]).await;
    assert!(again.iter().all(|line| line["outcome"] == "already-recorded"), "{again:?}");
    let other = desk.write("other.csv", &format!("{headings}A0003BC,C,,,,,\n"));
    let report = desk.report(&other, &[]).await;
    assert_eq!((&report[0]["outcome"], &report[0]["code"]), (&json!("refused"), &json!("already-allocated")));
}

#[tokio::test]
async fn a_sheet_without_staff_ids_takes_them_from_the_roster_by_name() {
    let desk = Desk::new().await;
    let counted = "No,NOMIS no,Tier,POM,Grade,Date allocated\n1,A0001BC,C,\"Okafor, Grace\",PO,01/07/2019\n\
                   2,A0002BC,C,Grace Okafor,PO,01/07/2019\n3,A0003BC,C,\"Lee, Sam\",PRO,01/07/2019\n";
    let file = desk.write("counted.csv", counted);
    let ran = desk.import(&file, &[]).await;
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stdout);
    let counter = "`No` counts the rows, and is no staff id.";
    for expected in
        ["no column was found for: staff id (staffId)", counter, "no POM on the roster has one of these names"]
    {
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    assert!(read_stored(&*desk.database.log().await).await.is_empty(), "no row counter is a POM");

    let known = desk.write(
        "known.csv",
        "NOMIS no,Tier,POM,Staff id,Grade,Date allocated\nA0009BC,C,\"Okafor, Grace\",485926,PO,01/06/2019\n",
    );
    desk.report(&known, &[]).await;
    let report = desk.report(&file, &[]).await;
    let outcomes: Vec<_> = report.iter().map(|line| json!([line["outcome"], line["staffId"], line["code"]])).collect();
    assert_eq!(
        outcomes,
        [json!(["recorded", 485_926, null]), json!(["recorded", 485_926, null]), json!(["refused", null, "staff-id"])]
    );
}

#[tokio::test]
async fn people_who_have_left_are_refused_in_one_line() {
    let desk = Desk::new().await;
    let row = |number: u32, left: &str| format!("A{number:04}BC,C,\"Okafor, Grace\",485926,PO,01/07/2019,{left}\n");
    let headings = "NOMS no,Tier,POM,Staff id,Type,Date allocated,Left on\n";
    let here = row(1, "");
    let file = desk.write("cases.csv", &format!("{headings}{here}{}", row(2, "03/03/2024")));
    let ran = desk.import(&file, &["--dry-run"]).await;
    assert!(ran.stdout.contains("has left on 3 March 2024; only current cases are recorded"), "{}", ran.stdout);
    let more = [row(2, "03/03/2024"), row(3, "04/03/2024"), row(4, "Yes")].concat();
    let file = desk.write("cases.csv", &format!("{headings}{here}{more}"));
    let ran = desk.import(&file, &["--dry-run"]).await;
    assert_eq!(ran.stdout.matches("only current cases are recorded").count(), 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("3 rows: 3-5"), "{}", ran.stdout);
    let report = desk.report(&file, &[]).await;
    let outcomes: Vec<_> = report.iter().map(|line| json!([line["outcome"], line["code"]])).collect();
    let left = json!(["refused", "has-left"]);
    assert_eq!(outcomes, [json!(["recorded", null]), left.clone(), left.clone(), left]);
}

/// The id of a contact is made of its name. A name that is read otherwise than before must not make
/// a contact seem gone.
#[tokio::test]
async fn a_contact_is_the_same_in_another_spelling_of_its_name() {
    let desk = Desk::new().await;
    let contacts = async |rows: &str| {
        let file = desk.write("contacts.csv", &format!("Prisoner number,Name,Contact type\n{rows}"));
        let stores = desk.database.store.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        let import = ["import", "nomis-contacts", &file, "--prison", "LEI", "--complete", "--json"];
        let ran = run(&[&import[..], &stores].concat()).await;
        let lines = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
        lines.map(|line: Value| column(&line, "outcome")).collect::<Vec<_>>()
    };
    assert_eq!(contacts("A0001BC,\"Berg, Jan van der\",POM\nA0002BC,\"Okafor, Grace\",POM\n").await, ["recorded"; 2]);
    assert_eq!(contacts("A0001BC,Jan van der Berg,POM\nA0002BC,Mrs OKAFOR Grace,POM\n").await, ["already-recorded"; 2]);
    let outcomes = contacts("A0001BC,Jan van den Berg,POM\nA0002BC,Grace Okafor,POM\n").await;
    assert_eq!(outcomes, ["recorded", "already-recorded", "removal-confirmed"]);
}

#[tokio::test]
async fn the_command_line_says_which_kind_of_pom_a_word_means() {
    let desk = Desk::new().await;
    let file = desk.write(
        "cases.csv",
        "NOMS no,Tier,POM,Staff id,Type,Date allocated\nA0001BC,C,\"Okafor, Grace\",485926,Band 6,01/07/2019\n",
    );
    let report = desk.report(&file, &["--pom-kind", "Band 6=PROBATION"]).await;
    assert_eq!((&report[0]["outcome"], &report[0]["pomKind"]), (&json!("recorded"), &json!("PROBATION")));
    let ran = desk.import(&file, &["--pom-kind", "Band 6"]).await;
    assert_eq!(ran.status.code(), Some(2));
    assert!(ran.stderr.contains("--pom-kind \"B4=PRISON\""), "{}", ran.stderr);
}
