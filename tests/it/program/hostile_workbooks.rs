//! Files that would take a machine's memory or time: each ends with a sentence within a limit of
//! 256 MiB, and a ledger serves beside it as if nothing were.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use crate::support::{
    DataDir, Program, ToolOutput, database, run_within,
    workbook_file::{archive, ods},
};

/// The memory of the import, in KiB, and so of the process that reads for it.
const MEMORY_MAX_KIB: u64 = 256 << 10;

const WORKSHEET: &str = "<worksheet><sheetData>";
const HEADINGS: &str = "<row r='1'><c t='str'><v>Prison number</v></c><c t='str'><v>Tier</v></c><c t='str'><v>POM</v></c>\
    <c t='str'><v>Staff id</v></c><c t='str'><v>POM type</v></c><c t='str'><v>Date allocated</v></c></row>";
const CASE: &str = "<row r='2'><c t='str'><v>A0001BC</v></c><c t='str'><v>C</v></c><c t='str'><v>Okafor, Grace</v></c>\
    <c><v>485926</v></c><c t='str'><v>PRO</v></c><c t='str'><v>01/07/2019</v></c></row>";
const END: &str = "</sheetData></worksheet>";

/// Writes an `.xlsx` workbook of one sheet, which repeats a piece.
fn workbook(path: &Path, pieces: [&str; 3], times: usize) {
    let list = "<workbook><sheets><sheet name='Cases' r:id='a'/></sheets></workbook>";
    let related = "<Relationships><Relationship Id='a' Type='x/worksheet' Target='sheet.xml'/></Relationships>";
    let others = [("xl/workbook.xml", list.to_owned()), ("xl/_rels/workbook.xml.rels", related.to_owned())];
    archive(path, &others, "xl/sheet.xml", pieces, times);
}

async fn import(path: &Path, stores: &[String]) -> ToolOutput {
    let file = path.to_str().expect("a path in UTF-8");
    let stores = stores.iter().map(String::as_str);
    let arguments = ["import", "spreadsheet", file, "--prison", "LEI", "--dry-run"].into_iter().chain(stores);
    run_within(MEMORY_MAX_KIB, &arguments.collect::<Vec<_>>()).await
}

/// A file in a directory, and a part of the sentence with which its import ends.
type Bomb = (PathBuf, &'static str);

fn bombs(dir: &Path) -> Vec<Bomb> {
    let mut bombs = Vec::new();
    let mut add = |name: &str, sentence: &'static str, write: &dyn Fn(&Path)| {
        let path = dir.join(name);
        write(&path);
        bombs.push((path, sentence));
    };
    let start = format!("{WORKSHEET}{HEADINGS}{CASE}");
    let mebibyte = |letter: &str| letter.repeat(1 << 20);
    let text = mebibyte("x");
    let blanks = mebibyte(" ");
    let long = "has more than 1 MiB";
    let in_text = format!("{start}<row><c t='str'><v>");
    add("text.xlsx", long, &|path| workbook(path, [&in_text, &text, "</v></c></row></sheetData></worksheet>"], 300));
    add("blanks.xlsx", long, &|path| workbook(path, [&start, &blanks, END], 2));
    add("rows.xlsx", "has more than 50000 rows", &|path| {
        workbook(path, [&start, "<row><c><v>1</v></c></row>", END], 100_000)
    });
    let wide = format!("<row>{}</row>", "<c><v>1</v></c>".repeat(512));
    add("cells.xlsx", "has more than 1000000 cells", &|path| workbook(path, [&start, &wide, END], 2_000));

    let row = |repeats: u32| {
        format!(
            "<table:table-row table:number-rows-repeated='{repeats}'><table:table-cell office:value-type='string'>\
             <text:p>A0001BC</text:p></table:table-cell></table:table-row>"
        )
    };
    add("rows.ods", "has more than 50000 rows", &|path| ods(path, &row(1_048_576)));

    let write = |path: &Path, content: Vec<u8>| std::fs::write(path, content).expect("write a file");
    add("newlines.csv", "is empty", &|path| write(path, vec![b'\n'; 60 << 20]));
    add("commas.csv", "is empty", &|path| write(path, vec![b','; 60 << 20]));
    add("line.csv", long, &|path| write(path, vec![b'x'; 60 << 20]));
    let columns: String = (0..16_384).fold(String::new(), |mut row, column| {
        write!(row, "Heading {column},").expect("write");
        row
    });
    add("columns.csv", "no row was found that heads the columns", &|path| {
        write(path, format!("{columns}\n{columns}\n").into_bytes());
    });
    bombs
}

/// Files with cells far outside of the table, which are no reason to refuse the case.
fn far_cells(dir: &Path) -> Vec<PathBuf> {
    ["XFD1048576", "GR1048576", "A4294967295", "AAAAAAAAAA1"]
        .map(|place| {
            let path = dir.join(format!("{place}.xlsx"));
            let far = format!("<row><c r='{place}'><v>1</v></c></row>");
            workbook(&path, [&format!("{WORKSHEET}{HEADINGS}{CASE}"), &far, END], 1);
            path
        })
        .into()
}

#[tokio::test]
async fn a_file_that_would_take_the_memory_ends_with_a_sentence_while_a_ledger_serves() {
    let database = database().await;
    let ledger = Program::serve_all(&database).await;
    let dir = DataDir::new();
    let stores = database.store.arguments();
    for (path, sentence) in bombs(dir.path()) {
        let ran = import(&path, &stores).await;
        let shown = path.display();
        assert_eq!(ran.status.code(), Some(1), "{shown}: {}\n{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(sentence) && ran.stderr.len() < 8_000, "{shown}: {:.2000}", ran.stderr);
        let answered = ledger.client().get("/prisons/LEI/cases").await;
        assert_eq!(answered.status, 200, "{shown}");
        std::fs::remove_file(&path).expect("remove the file");
    }
    for path in far_cells(dir.path()) {
        let ran = import(&path, &stores).await;
        assert!(ran.status.success(), "{}: {}", path.display(), ran.stderr);
        assert!(ran.stdout.contains("1 would be recorded, 0 refused"), "{}", ran.stdout);
    }
}
