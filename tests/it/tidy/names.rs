//! The names of types.

use std::collections::BTreeMap;

use super::sources;

/// Each kind of stream has the same types, such as `History`, which are named with their module.
const STREAMS: [&str; 3] =
    ["crates/domain/src/prison/", "crates/domain/src/prisoner/", "crates/domain/src/nomis_contacts/"];

/// Messages of KurrentDB's protocol, named by its authors.
const PROTOCOL: &str = "crates/kurrentdb-protocol/";

const KEYWORDS: [&str; 4] = ["struct", "enum", "trait", "type"];

#[test]
fn no_two_types_share_a_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources::rust_files().into_iter().filter(|file| !file.path.starts_with(PROTOCOL)) {
        for name in shared_types(&file.text) {
            let found = places.entry(name.to_owned()).or_default();
            if !(is_of_streams(&file.path) && found.iter().any(|path| is_of_streams(path))) {
                found.push(file.path.clone());
            }
        }
    }
    assert!(places.len() > 300, "only {} types were found", places.len());
    let shared: Vec<String> = places
        .iter()
        .filter(|(_, paths)| paths.len() > 1)
        .map(|(name, paths)| format!("{name}: {}", paths.join(", ")))
        .collect();
    println!("{}", shared.join("\n"));
    assert!(shared.is_empty(), "name each type by what it is, and not by its module alone; see above");
}

fn is_of_streams(path: &str) -> bool {
    STREAMS.iter().any(|directory| path.starts_with(directory))
}

/// The types that other modules can name.
fn shared_types(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let declared = line.strip_prefix("pub")?;
        // `pub(crate)` and its like.
        let declared = declared.strip_prefix('(').map_or(declared, |rest| rest.split_once(')').map_or(rest, |it| it.1));
        let (keyword, name) = declared.trim_start().split_once(' ')?;
        let end = name.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(name.len());
        KEYWORDS.contains(&keyword).then(|| &name[..end])
    })
}

#[test]
fn types_are_found_by_how_they_are_declared() {
    let text = "pub struct Case;\npub(crate) enum Rule {\nstruct Private;\n    pub type Inner = u8;\npub fn struct_of() {}\npub trait View<T> {\n";
    assert_eq!(shared_types(text).collect::<Vec<_>>(), ["Case", "Rule", "View"]);
}
