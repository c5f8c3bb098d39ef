//! The arrows between crates, and between the modules of a crate.
//!
//! A new arrow between crates is the most serious kind of change: it needs a line in [`ARROWS`]
//! and a reason in its commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::sources;

/// Which crates of the workspace each crate may depend on, tests aside.
const ARROWS: &[(&str, &[&str])] = &[
    ("access-log", &["domain", "postgres-schema"]),
    (
        "allocation-ledger",
        &[
            "access-log",
            "command",
            "domain",
            "embedded-postgres",
            "event-log",
            "event-log-kurrentdb",
            "event-log-postgres",
            "hmpps",
            "http-api",
            "import",
            "pages",
            "postgres-schema",
            "projector",
            "query",
            "sign-on",
            "simulation",
            "spreadsheets",
        ],
    ),
    ("aws-stand-in", &[]),
    (
        "bench",
        &[
            "allocation-ledger",
            "aws-stand-in",
            "command",
            "domain",
            "embedded-postgres",
            "event-log",
            "event-log-kurrentdb",
            "event-log-postgres",
            "kurrentdb-protocol",
            "projector",
            "query",
        ],
    ),
    ("command", &["domain", "event-log", "http-api"]),
    ("domain", &[]),
    ("embedded-postgres", &[]),
    ("event-log", &["domain"]),
    ("event-log-kurrentdb", &["domain", "event-log", "kurrentdb-protocol"]),
    ("event-log-postgres", &["domain", "event-log", "postgres-schema"]),
    ("hmpps", &["access-log", "command", "domain", "event-log", "http-api", "postgres-schema", "sign-on", "views"]),
    ("http-api", &["domain", "event-log", "sign-on"]),
    ("import", &["access-log", "command", "domain", "event-log", "http-api", "spreadsheets"]),
    ("kurrentdb-protocol", &[]),
    ("kurrentdb-stand-in", &["kurrentdb-protocol"]),
    ("pages", &["domain", "http-api", "sign-on"]),
    ("postgres-schema", &[]),
    ("projector", &["domain", "event-log", "views"]),
    ("query", &["access-log", "domain", "event-log", "http-api", "views"]),
    ("sign-on", &["domain"]),
    ("simulation", &["domain", "event-log"]),
    ("spreadsheets", &["domain", "event-log"]),
    ("views", &["domain"]),
];

/// Modules of one crate that depend on one another in a circle, and why that is right. The module
/// document of the first says so too.
const CIRCLES: &[(&str, &[&str], &str)] = &[
    (
        "domain",
        &["command", "event", "nomis_contacts", "prison", "prisoner"],
        "an event or a command is one of a case or of a prison",
    ),
    (
        "event-log-kurrentdb",
        &["head", "log_reads", "store"],
        "the store holds the search for the head, which reads the store's log",
    ),
    ("http-api", &["headers", "problem"], "a problem carries a header, and a malformed header is a problem"),
    (
        "simulation",
        &["cases", "choice", "contacts", "roster", "world"],
        "the world's agenda holds the steps of cases and POMs, and each step changes the world",
    ),
];

#[test]
fn crates_depend_on_one_another_as_the_table_says() {
    let allowed: BTreeMap<_, BTreeSet<_>> =
        ARROWS.iter().map(|(name, crates)| (*name, crates.iter().copied().collect())).collect();
    for entry in fs::read_dir(sources::root().join("crates")).expect("the crates") {
        let path = entry.expect("a crate").path();
        let Ok(manifest) = fs::read_to_string(path.join("Cargo.toml")) else { continue };
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let allowed_of_crate = allowed.get(name).unwrap_or_else(|| panic!("the table does not have {name}"));
        for dependency in dependencies(&manifest) {
            let is_allowed = !allowed.contains_key(dependency) || allowed_of_crate.contains(dependency);
            assert!(is_allowed, "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn no_arrow_between_crates_leads_back() {
    let arrows = ARROWS.iter().map(|(name, crates)| (*name, crates.iter().copied().collect())).collect();
    assert_eq!(circles(&arrows), Vec::<Vec<&str>>::new());
}

/// The names in `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> Vec<&str> {
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty()).collect()
}

#[test]
fn modules_of_a_crate_depend_on_one_another_in_no_circle() {
    let files: Vec<_> =
        sources::rust_files().into_iter().map(|file| (file.path, without_comments(&file.text))).collect();
    let mut found = Vec::new();
    for (name, _) in ARROWS {
        let source = format!("crates/{name}/src/");
        let paths = files.iter().filter_map(|(path, code)| Some((path.strip_prefix(&source)?, code)));
        let mut modules: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (path, code) in paths {
            let module = path.split('/').next().and_then(|part| part.split('.').next()).expect("a module");
            modules.entry(module).or_default().extend(used_modules(code));
        }
        let names: BTreeSet<_> = modules.keys().copied().collect();
        for (module, used) in &mut modules {
            used.retain(|used| names.contains(used) && used != module);
        }
        found.extend(circles(&modules).iter().map(|circle| format!("{name}: {}", circle.join(", "))));
    }
    let known = CIRCLES.iter().map(|(name, modules, _)| format!("{name}: {}", modules.join(", ")));
    assert_eq!(found, known.collect::<Vec<_>>(), "circles of modules, found and known");
}

/// The lines of a file that are no comments. A link in a document is no arrow.
fn without_comments(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules of its own crate that a file names: each `crate::module`, and those of
/// `use crate::{…}`.
fn used_modules(text: &str) -> BTreeSet<&str> {
    // The tests of a file, at its end, may use any module.
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let text: Vec<&str> = text.split("crate::").skip(1).collect();
    let mut modules = BTreeSet::new();
    for rest in text {
        if let Some(group) = rest.strip_prefix('{') {
            modules.extend(group_heads(group));
        } else {
            modules.extend(identifier(rest));
        }
    }
    modules
}

/// The first names of the items of a group `{a::b, c::{d, e}, f}` of which the `{` is cut off.
fn group_heads(group: &str) -> Vec<&str> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut item_start = 0;
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(identifier(group[item_start..index].trim_start()));
                item_start = index + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    (end > 0).then_some(&text[..end])
}

/// The groups of nodes that reach one another.
fn circles<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = arrows.keys().map(|node| (*node, reach(arrows, node))).collect();
    let mut groups: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (node, reached_nodes) in &reached {
        if reached_nodes.contains(node) {
            groups.insert(reached_nodes.iter().copied().filter(|other| reached[other].contains(node)).collect());
        }
    }
    groups.into_iter().collect()
}

/// The nodes to which arrows lead from a node, by way of others too.
fn reach<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = arrows[from].iter().copied().collect();
    while let Some(node) = open.pop() {
        if reached.insert(node) {
            open.extend(arrows.get(node).into_iter().flatten());
        }
    }
    reached
}

#[test]
fn a_circle_is_found() {
    let arrows = [("a", vec!["b"]), ("b", vec!["c"]), ("c", vec!["b"]), ("d", vec!["a"])];
    let arrows = arrows.into_iter().map(|(node, to)| (node, to.into_iter().collect())).collect();
    assert_eq!(circles(&arrows), [["b", "c"]]);
    assert_eq!(
        used_modules("use crate::{a::B, c::{d, e},\n f};\nfn g() { crate::h::i() }"),
        BTreeSet::from(["a", "c", "f", "h"])
    );
}
