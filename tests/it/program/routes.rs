//! Every operation is in the OpenAPI document: `routes!` registers a handler with its description,
//! and only the routes listed here are registered without one.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The pages of the program itself, and the document.
const UNDESCRIBED: [&str; 7] =
    ["/", "/event-types", "/openapi.json", "/problems", "/problems/{code}", "/swagger-ui.html", "/v3/api-docs"];

/// Collects the files that the crates are built from, but for the test server.
fn collect_sources(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("kurrentdb-stand-in") {
            collect_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}

#[test]
fn only_the_programs_own_routes_are_registered_without_a_description() {
    let mut sources = Vec::new();
    collect_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates"), &mut sources);
    let mut found = BTreeSet::new();
    for path in sources {
        let source = fs::read_to_string(&path).expect("a source file");
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        // The guarded router is the one that has a router of its own to add to; the pages for
        // people are a guarded router beside that of the API.
        let may_route = ["http-api/src/access.rs", "serve/pages.rs"].iter().any(|allowed| path.ends_with(allowed));
        assert!(may_route || !code.contains(".route("), "{}: `.route(`", path.display());
        if path.components().any(|part| part.as_os_str() == "pages") {
            continue;
        }
        for call in code.split(".open_route(").skip(1) {
            let route = call.split('"').nth(1).unwrap_or_default();
            assert!(
                UNDESCRIBED.contains(&route),
                "{} registers {route:?} without a description: give its handler a `utoipa::path` and register it with \
                 `routes!`",
                path.display()
            );
            found.insert(route.to_owned());
        }
    }
    assert_eq!(found, UNDESCRIBED.map(str::to_owned).into());
}
