//! Tests of whole files, and of plans. The files in `tests/data/spreadsheets` are those of three
//! prisons; beside each is a file with the true content of its rows.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Command,
    event::RecordedBy,
    prison::Estate,
    prisoner::{self, RecommendationPolicy},
};
use serde_json::{Value, json};

use super::{
    contacts,
    heading::Field,
    layout::{self, FieldSet, Layout, Mapping, UnreadSheet, mapping},
    plan::{HeldHistories, ImportPlan, ImportTerms, Verdict, plan},
    reader::{self, Cell, Marks, Row, Sheet},
    row::{CaseTable, DataRow, FIELDS, RowCase, TableTerms},
    staff::StaffDirectory,
    value::PomKindWords,
};

pub(super) fn today() -> NaiveDate {
    "2026-11-24".parse().expect("a date")
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/spreadsheets")).join(name)
}

pub(super) fn find(
    sheets: &[Sheet],
    sheet_name: Option<&str>,
    mappings: &[Mapping],
    field_set: FieldSet,
) -> anyhow::Result<Layout> {
    layout::find(sheets, sheet_name, mappings, field_set, &PomKindWords::default(), today())
}

pub(super) fn table(sheet: &Sheet, layout: &Layout) -> CaseTable {
    let (pom_kinds, staff) = (PomKindWords::default(), StaffDirectory::default());
    super::row::table(sheet, layout, TableTerms { today: today(), pom_kinds: &pom_kinds, staff: &staff })
}

pub(super) fn read(sheets: &[Sheet]) -> CaseTable {
    let layout = find(sheets, None, &[], FIELDS).expect("the cases are found");
    table(&sheets[layout.sheet], &layout)
}

/// The content of a row, in the form of the truth files.
fn truth(row: &DataRow) -> Value {
    match &row.case {
        Ok(RowCase::Waiting(case)) => json!({ "waits": case.prisoner_number }),
        Ok(RowCase::Allocated(case)) => json!({
            "dataRow": row.data_row, "ok": true, "prisonerNumber": case.prisoner_number, "tier": case.tier,
            "staffId": case.staff_id, "pomKind": case.pom_kind, "allocatedOn": case.allocated_on,
        }),
        Err(problem) => {
            let why = problem.reason.split(':').next();
            json!({ "dataRow": row.data_row, "ok": false, "why": why })
        }
    }
}

#[track_caller]
fn check_truth(file: &str, truth_file: &str) -> CaseTable {
    let file = reader::read(&data(file)).expect("the file is read");
    let table = read(&file.sheets);
    let text = std::fs::read_to_string(data(truth_file)).expect("the truth is read");
    let expected: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(table.rows.iter().map(truth).collect::<Vec<_>>(), expected);
    table
}

#[test]
fn the_excel_file_of_leeds_is_read_as_its_truth_file_says() {
    let table = check_truth("LEI-allocations.xlsx", "LEI-truth.jsonl");
    assert_eq!((table.sheet.as_str(), table.blank_rows, table.total_rows), ("OS allocations", 1, 1));
    assert_eq!(table.rows[0].number, 5);
}

#[test]
fn the_opendocument_file_of_hull_is_read_as_its_truth_file_says() {
    let table = check_truth("HDI-allocations.ods", "HDI-truth.jsonl");
    assert_eq!((table.sheet.as_str(), table.blank_rows, table.total_rows), ("POMs", 0, 0));
}

#[test]
fn the_csv_file_of_moorland_is_read_as_its_truth_file_says() {
    let table = check_truth("MDI-allocations.csv", "MDI-truth.jsonl");
    assert_eq!((table.sheet.as_str(), table.blank_rows, table.total_rows), ("MDI-allocations", 0, 0));
    let notes: Vec<_> =
        table.rows.iter().filter_map(|row| row.allocated().and_then(|case| case.note.as_deref())).collect();
    assert_eq!(notes[0], "see wing diary, do not share; \"high profile\", 2 x ACCT\nreview due");
}

/// A sheet drawn as text: one line for a row, with `|` between cells.
pub(super) fn sheet(name: &str, drawn: &str) -> Sheet {
    let rows = (1..)
        .zip(drawn.lines())
        .map(|(number, line)| Row { number, cells: line.split('|').map(Cell::text).collect() })
        .collect();
    Sheet { name: name.to_owned(), rows, ..Sheet::default() }
}

/// The heading of the column that was found for each field.
fn columns(sheet: &Sheet, layout: &Layout) -> String {
    let column = |(field, _): (&Field, &usize)| format!("{}={}", field.name(), layout.heading(sheet, *field));
    layout.columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check_columns(drawn: &str, header_row: u32, expected: &str) {
    let sheets = [sheet("cases", drawn)];
    let layout = find(&sheets, None, &[], FIELDS).expect("the cases are found");
    assert_eq!(sheets[0].rows[layout.header].number, header_row);
    assert_eq!(columns(&sheets[0], &layout), expected);
}

#[test]
fn the_cells_tell_a_prisoners_nomis_id_from_a_poms() {
    check_columns(
        "NOMIS ID|Tier|POM|POM ID|Date allocated\nA1234BC|B|Okafor, Grace|485926|01/02/2019",
        1,
        "prisonerNumber=NOMIS ID, tier=Tier, staffId=POM ID, pomName=POM, allocatedOn=Date allocated",
    );
    check_columns(
        "Prison no|Tier|POM|NOMIS ID|Date allocated\nA1234BC|B|Okafor, Grace|485926|01/02/2019",
        1,
        "prisonerNumber=Prison no, tier=Tier, staffId=NOMIS ID, pomName=POM, allocatedOn=Date allocated",
    );
    check_columns(
        "NOMIS No|Name|Tier|POM|NOMIS No|Start\nA1234BC|Smith|B|Okafor, Grace|485926|01/02/2019",
        1,
        "prisonerNumber=NOMIS No, tier=Tier, staffId=NOMIS No, pomName=POM, allocatedOn=Start",
    );
}

#[test]
fn a_heading_for_another_field_is_not_taken() {
    check_columns(
        "Offender caseload at 1 December 2019 (tier and POM)\n\n\
         Number|Cat|RoSH|Tier|Tier review date|Previous POM|POM|Staff no|Type|DOB|CRD|Sentence date|Allocated|Keyworker|Comments\n\
         A1234BC|B|H|C|01/01/2020|Hussain, Nadia|Okafor, Grace|485926|PRO|01/02/1980|01/02/2030|01/02/2018|01/02/2019|Patel|x\n\
         A1234BD|C|M|B|01/01/2020|Hussain, Nadia|Okafor, Grace|485926|PRO|01/02/1980|01/02/2030|01/02/2018|01/02/2019|Patel|y",
        3,
        "prisonerNumber=Number, tier=Tier, staffId=Staff no, pomName=POM, pomKind=Type, allocatedOn=Allocated, note=Comments",
    );
}

#[test]
fn headings_may_span_two_rows() {
    check_columns(
        "Prisoner|||Offender manager||\nNumber|Name|Tier|Name|ID|Type|Start\nA1234BC|Smith, Al|B|Okafor, Grace|485926|PO|01/02/2019",
        2,
        "prisonerNumber=Number, tier=Tier, staffId=ID, pomName=Name, pomKind=Type, allocatedOn=Start",
    );
}

#[test]
fn a_heading_may_be_in_either_of_two_rows() {
    // As merged cells are, and without merges.
    for above in ["NOMS number|Tier|POM|||Date allocated", "NOMS number|Tier||||Date allocated"] {
        check_columns(
            &format!("{above}\n||POM name|Staff ID|Type|\nA1234BC|B|Okafor, Grace|485926|PO|01/02/2019"),
            2,
            "prisonerNumber=NOMS number, tier=Tier, staffId=Staff ID, pomName=POM name, pomKind=Type, \
             allocatedOn=Date allocated",
        );
    }
    // A first case with little in it is no second row of headings.
    check_columns(
        "NOMS number|Tier|POM|Staff ID|Type|Date allocated\nA1234BC|||||\nA1234BD|B|Okafor, Grace|485926|PO|01/02/2019",
        1,
        "prisonerNumber=NOMS number, tier=Tier, staffId=Staff ID, pomName=POM, pomKind=Type, allocatedOn=Date allocated",
    );
}

#[test]
fn the_sheet_with_current_cases_is_read() {
    let row = "|B|485926|01/02/2019\n";
    let drawn = |count: u32| {
        let rows: String = (0..count).map(|index| format!("A{:04}BC{row}", index + 1)).collect();
        format!("Prison number|Tier|Staff id|Date allocated\n{rows}")
    };
    let guidance = sheet("Guidance", "How to fill in the sheet\nEvery POM fills in a tier");
    let sheets = [guidance, sheet("Leavers", &drawn(9)), sheet("Current", &drawn(3)), sheet("Sheet4", &drawn(1))];
    let layout = find(&sheets, None, &[], FIELDS).expect("the cases are found");
    assert_eq!(layout.sheet, 2);
    let unread = |name: &str, cases, is_over| UnreadSheet { name: name.to_owned(), cases, is_over };
    assert_eq!(layout.passed_over, [unread("Leavers", 9, true), unread("Sheet4", 1, false)]);
    assert_eq!(find(&sheets, Some("leavers "), &[], FIELDS).expect("asked for").sheet, 1);
    let hidden = [Sheet { hidden: true, ..sheets[2].clone() }, sheets[3].clone()];
    assert_eq!(find(&hidden, None, &[], FIELDS).expect("the cases are found").sheet, 1);
    let error = find(&sheets, Some("Cases"), &[], FIELDS).expect_err("no such sheet").to_string();
    assert_eq!(error, "there is no sheet `Cases`. The sheets are: `Guidance`, `Leavers`, `Current`, `Sheet4`");
}

#[test]
fn missing_columns_are_named() {
    let sheets = [sheet("cases", "Prison number|Band|Worker|When\nA1234BC|B|485926|01/02/2019")];
    let error = find(&sheets, None, &[], FIELDS).expect_err("columns are missing").to_string();
    assert_eq!(
        error,
        "no column was found for: tier (tier), staff id (staffId), date of allocation (allocatedOn). \
         Columns seen: `Prison number`, `Band`, `Worker`, `When` (sheet `cases`, row 1). \
         Say which they are with --map, e.g. --map \"Band=tier\""
    );
    let mappings =
        |texts: &[&str]| texts.iter().map(|text| mapping(text, FIELDS).expect("a mapping")).collect::<Vec<_>>();
    let all = mappings(&["band=tier", "Worker=staff-id", "D=allocatedOn"]);
    let layout = find(&sheets, None, &all, FIELDS).expect("all are mapped");
    assert_eq!(
        columns(&sheets[0], &layout),
        "prisonerNumber=Prison number, tier=Band, staffId=Worker, allocatedOn=When"
    );
    layout::check_mappings(&sheets[0], &layout, &all).expect("all are there");
    let wrong = mappings(&["Bend=tier", "Worker=staffId", "When=allocatedOn"]);
    let error = find(&sheets, None, &wrong, FIELDS).expect_err("no such column").to_string();
    assert_eq!(
        error,
        "--map names the column `Bend`, which is not there. Columns seen: `Prison number`, `Band`, `Worker`, `When` (sheet `cases`, row 1)"
    );
    let error = mapping("Band=tire", FIELDS).expect_err("no such field").to_string();
    assert_eq!(
        error,
        "there is no field `tire`. Fields: prisonerNumber, tier, staffId, allocatedOn, pomName, pomForename, pomKind, \
         note, leftOn, releasedOn, transferredOn, transferredTo, arrivedOn"
    );
    mapping("Band", FIELDS).expect_err("no `=`");
    let letter = [sheet("letter", "Dear head of offender management,\nplease find the list enclosed.")];
    let error = find(&letter, None, &[], FIELDS).expect_err("no columns").to_string();
    assert!(
        error.starts_with("no row was found that heads the columns prisoner number (prisonerNumber), tier"),
        "{error}"
    );
}

#[test]
fn rows_that_are_no_cases_are_passed_over() {
    let table = read(&[sheet(
        "cases",
        "Prison number|Tier|Staff id|Date allocated|Remarks\n\
         A wing\n\
         A0001BC|B|485926|01/02/2019|\n\
         \n\
         Prison number|Tier|Staff id|Date allocated|Remarks\n\
         A0002BC|B|485926|01/02/2019|\n\
         Sub-total|2\n\
         |||01/02/2019|no number\n\
         A0003BC\n\
         A003BC\n\
         |||\n\
         Grand total||3\n\
         Last updated by OMU||01/12/2019\n\
         \n",
    )]);
    let rows: Vec<_> = table
        .rows
        .iter()
        .map(|row| {
            format!(
                "{} {} {}",
                row.number,
                row.data_row,
                row.case.as_ref().map_or_else(|problem| problem.code.as_str(), |_| "ok")
            )
        })
        .collect();
    assert_eq!(rows, ["3 1 ok", "6 2 ok", "9 3 tier", "10 4 prisoner-number"]);
    assert_eq!((table.blank_rows, table.total_rows), (2, 2));
    assert_eq!(table.note_rows, [2, 5, 8, 13]);
}

#[test]
fn the_problem_of_a_row_is_named() {
    let table = read(&[sheet(
        "cases",
        "NOMS no|Tier|POM|Staff id|POM type|Date allocated\n\
         A0001BC|B|Okafor, Grace|485926|PO|24/11/2026\n\
         A0002BC|B|Okafor, Grace|485926|PO|25/11/2026\n\
         A0003BC|B|Okafor, Grace|485926|PO|31/12/2019 at noon\n\
         A0004BC|B|Okafor, Grace|485926|PO|\n\
         A0005BC|B|Okafor, Grace|485926|POM|01/02/2019\n\
         A0006BC|B|Okafor, Grace|TBC|PO|01/02/2019\n\
         A0007BC|X|Okafor, Grace|485926|PO|01/02/2019\n\
         |B|Okafor, Grace|485926|PO|01/02/2019\n\
         A0001BC|B|Okafor, Grace|485926|PO|01/02/2019\n\
         A0002BC|B|Okafor, Grace|485926|PO|01/02/2019\n\
         A0010BC|B|Okafor, Grace|485926|PO|01/02/1919",
    )]);
    let found: Vec<_> = table
        .rows
        .iter()
        .filter_map(|row| row.case.as_ref().err())
        .map(|problem| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            format!("{} | {} | {} | {}", problem.code, text(&problem.column), text(&problem.value), problem.reason)
        })
        .collect();
    assert_eq!(
        found,
        [
            "date-in-future | Date allocated | 25/11/2026 | date in the future: 25 November 2026 has not come yet",
            "allocated-on | Date allocated | 31/12/2019 at noon | date of allocation: a date is needed, day first, such as 31/12/2019 or 31-Dec-19",
            "allocated-on | Date allocated |  | date of allocation: it is empty",
            "pom-kind | POM type | POM | POM kind: prison (PRO) or probation (PO) is needed",
            "staff-id | Staff id | TBC | staff id: a whole number is needed, such as 485926",
            "tier | Tier | X | tier: a letter A to G is needed, with or without a change level 0 to 3 and an S, such as A, B2 or B2S",
            "prisoner-number | NOMS no |  | prisoner number: it is empty",
            "duplicate | NOMS no | A0001BC | duplicate: A0001BC is in row 2 already, and that row counts",
            "date-too-early | Date allocated | 01/02/1919 | date of allocation: 1 February 1919 is too long ago; nobody was allocated to a POM then",
        ]
    );
}

/// Workbooks hold characters that a terminal obeys, and texts of any length; the ledger takes from
/// a file what it takes from a request.
#[test]
fn text_that_the_ledger_does_not_take_is_refused_with_its_row() {
    let table = read(&[sheet(
        "cases",
        &format!(
            "NOMS no|Tier|POM|Staff id|POM type|Date allocated|Notes\n\
             A0001BC|B|Okafor\u{1b}[2J|485926|PO|24/07/2019|\n\
             A0002BC|B|Okafor, Gra\0ce|485926|PO|24/07/2019|\n\
             A0003BC|B|{}|485926|PO|24/07/2019|\n\
             A0004BC|B|Okafor, Grace|485926|PO|24/07/2019|bell\u{7}here\n\
             A0005BC|B|Okafor, Grace|485926|PO|24/07/2019|a\tb\n\
             A0006BC|B|Shah, Priya b1234bc|485927|PO|24/07/2019|",
            "x".repeat(501)
        ),
    )]);
    let found: Vec<_> = table
        .rows
        .iter()
        .map(|row| match &row.case {
            Ok(_) => format!("{:?}", row.allocated().and_then(|case| case.note.as_deref())),
            Err(problem) => format!("{} {}", problem.code, problem.reason),
        })
        .collect();
    assert_eq!(
        found,
        [
            "pom-name POM's name: the control character U+001B is not allowed in text",
            "pom-name POM's name: the control character U+0000 is not allowed in text",
            "pom-name POM's name: 501 characters; at most 500 are allowed",
            "note note: the control character U+0007 is not allowed in text",
            "Some(\"a\\tb\")",
            "pom-name POM's name: it names the prisoner number B1234BC: leave that out",
        ]
    );
}

#[test]
fn contacts_with_text_that_the_ledger_does_not_take_are_refused() {
    let sheets = [sheet(
        "contacts",
        "Prisoner number|Name|Contact type\nA0001BC|Okafor\u{1b}, Grace|POM\nA0002BC|Okafor, Grace|P\0OM\n\
         A0003BC|Okafor, Grace|POM",
    )];
    let layout = find(&sheets, None, &[], contacts::FIELDS).expect("contacts");
    let prison = "LEI".parse().expect("a prison");
    let shown = |contact: Result<contacts::PersonContact, Box<contacts::ContactLine>>| {
        contact.map_or_else(|line| line.reason.unwrap_or_default(), |contact| contact.seen.contact_type)
    };
    let found: Vec<_> =
        contacts::contacts(&sheets[0], &layout, &prison).into_iter().map(|(_, contact)| shown(contact)).collect();
    assert!(found[0].starts_with("POM's name: the control character U+001B is not allowed"), "{found:?}");
    assert!(found[1].starts_with("contact type: the control character U+0000 is not allowed"), "{found:?}");
    assert_eq!(found[2], "POM");
}

#[test]
fn contacts_in_another_sheet_are_not_taken_for_gone() {
    let sheets = [
        sheet("A wing", "Prisoner number|Name\nA0001BC|Okafor, Grace\nA0002BC|Okafor, Grace"),
        sheet("Leavers", "Prisoner number|Name\nA0003BC|Okafor, Grace"),
        sheet("Notes", "Prisoner number|Name"),
    ];
    let found = |name| find(&sheets, name, &[], contacts::FIELDS).expect("contacts");
    let check = |sheets: &[Sheet], name| contacts::check_whole_list(sheets, &found(name), name);
    let error = check(&sheets, None).expect_err("not all of the list").to_string();
    assert!(error.starts_with("there are contacts in more than one sheet (`A wing`, `Leavers`): "), "{error}");
    check(&sheets, Some("a wing")).expect("said to be the whole list");

    let mut unread = sheets[..1].to_vec();
    unread.push(Sheet {
        name: "B wing".to_owned(),
        marks: Marks { unread: Some("it is damaged".to_owned()), ..Marks::default() },
        ..Sheet::default()
    });
    let error = check(&unread, None).expect_err("not all of the list").to_string();
    assert!(error.starts_with("the sheet `B wing` cannot be read, and may hold contacts: it is damaged. "), "{error}");
    check(&unread, Some("a wing")).expect("said to be the whole list");
}

pub(super) fn terms() -> ImportTerms {
    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().expect("an instant");
    ImportTerms {
        prison: "LEI".parse().expect("a prison"),
        estate: Estate::MensClosed,
        unlisted_prison: false,
        changes_on: None,
        go_live: None,
        recommendation_policy: RecommendationPolicy::Tier,
        now,
        recorded_by: RecordedBy {
            username: Some("TESTER".parse().expect("a username")),
            client: "test".to_owned(),
            auth_source: None,
        },
    }
}

fn planned(drawn: &str) -> ImportPlan {
    plan(read(&[sheet("cases", drawn)]).rows, HeldHistories::of_empty_ledger(&terms().prison), &terms())
}

#[test]
fn the_prison_and_its_poms_come_first_on_the_earliest_day() {
    let plan = planned(
        "NOMS no|Tier|POM|Staff id|POM type|Date allocated\n\
         A0001BC|B|Okafor, Grace|485926|PO|24/07/2019\n\
         A0002BC|C|Okafor, Grace|485926||01/06/2019\n\
         A0003BC|C|OKAFOR, Grace|485926|PRO|02/06/2019\n\
         A0004BC|C|Hussain, Nadia|485927||02/06/2019\n\
         A0005BC|C|Patel, Usha|485928|PRO|01/01/2010x",
    );
    let joined = plan.joined.expect("the prison is new");
    assert_eq!(joined.go_live_date.to_string(), "2019-06-01");
    let registered: Vec<_> = plan.registered.iter().map(|pom| (pom.staff_id.get(), pom.name.as_str())).collect();
    assert_eq!(registered, [(485_926, "Okafor, Grace")]);
    assert!(plan.prison_steps.iter().all(|step| step.effective_at.to_rfc3339() == "2019-05-31T23:00:00+00:00"));
    let verdicts: Vec<_> = plan
        .rows
        .iter()
        .map(|row| match &row.verdict {
            Verdict::Record(step) => step.command.kind_name().to_owned(),
            Verdict::AlreadyRecorded => "already".to_owned(),
            Verdict::Refused(problem) => problem.code.clone(),
        })
        .collect();
    let both = "AllocateWithTier";
    assert_eq!(verdicts, [both, both, both, "pom-kind", "allocated-on"]);
    assert_eq!(plan.rows[2].warnings, ["this row calls Okafor, Grace a prison POM, the roster says probation"]);
}

#[test]
fn a_choice_against_the_recommendation_names_the_spreadsheet_as_its_reason() {
    let plan = planned(
        "NOMS no|Tier|POM|Staff id|POM type|Date allocated|Notes\n\
         A0001BC|A|Okafor, Grace|485926|PRO|24/07/2019|watch\n\
         A0002BC|C|Okafor, Grace|485926|PRO|24/07/2019|",
    );
    let reasons: Vec<_> = plan
        .rows
        .iter()
        .map(|row| {
            let Verdict::Record(step) = &row.verdict else { panic!("{:?}", row.verdict) };
            let Command::Prisoner(_, prisoner::Command::AllocateWithTier(both)) = &step.command else {
                panic!("{step:?}")
            };
            let reasons = &both.allocate.reasons;
            (reasons.override_reasons.len(), reasons.override_detail.clone(), reasons.note.clone())
        })
        .collect();
    assert_eq!(
        reasons,
        [(1, Some("as it stood in the prison's spreadsheet".to_owned()), Some("watch".to_owned())), (0, None, None),]
    );
}

#[test]
fn ids_come_from_the_content_of_a_row_and_not_from_its_place() {
    let header = "NOMS no|Tier|POM|Staff id|POM type|Date allocated\n";
    let ids = |rows: &str| -> Vec<_> {
        let plan = planned(&format!("{header}{rows}"));
        let id = |row: &super::plan::PlannedRow| match &row.verdict {
            Verdict::Record(step) => step.command_id,
            other => panic!("{other:?}"),
        };
        plan.rows.iter().map(id).collect()
    };
    let one = "A0001BC|A|Okafor, Grace|485926|PO|24/07/2019\n";
    let same = "\n a0001bc |tier a|OKAFOR, Grace|485926|Probation|24-Jul-19\n";
    assert_eq!(ids(one), ids(same));
    assert_ne!(ids(one), ids("A0001BC|B|Okafor, Grace|485926|PO|24/07/2019\n"));
}
