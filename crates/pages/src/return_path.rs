//! The path of a page to come back to after the sign-on. It comes from the address of a request,
//! which another site can have written: only a path of the pages counts.

/// Longest path that is kept. A longer one would not fit into a cookie.
const RETURN_PATH_BYTES_MAX: usize = 1_500;

/// The page to go to where no other one is known.
pub(crate) const START: &str = "/pages";

/// The path, if it is one of the pages; else that of their start.
pub(crate) fn own_path(given: &str) -> &str {
    if is_own(given) { given } else { START }
}

/// The address of the sign-in that comes back to a path.
pub(crate) fn sign_in_address(back_to: &str) -> String {
    match own_path(back_to) {
        START => "/pages/sign-in".to_owned(),
        path => {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", path).finish();
            format!("/pages/sign-in?{query}")
        }
    }
}

fn is_own(given: &str) -> bool {
    // A browser leaves out tabs and line ends, and takes a backslash for a slash.
    let is_plain = given.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let path = given.split(['?', '#']).next().unwrap_or_default();
    let mut segments = path.split('/').skip(1);
    let begins_well = path.starts_with('/') && segments.next() == Some("pages");
    let leads_elsewhere = |segment: &str| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    };
    // The sign-in itself would send the person round in a circle.
    let is_sign_in = path.starts_with("/pages/sign-");
    is_plain
        && begins_well
        && given.len() <= RETURN_PATH_BYTES_MAX
        && !segments.any(leads_elsewhere)
        && !path.contains("//")
        && !is_sign_in
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_the_pages_is_come_back_to() {
        let long = format!("/pages/{}", "a".repeat(RETURN_PATH_BYTES_MAX));
        for own in ["/pages", "/pages/prisons/LEI", "/pages/cases/A1234BC?on=2026-01-01#entry", "/pages?a=//b"] {
            assert_eq!(own_path(own), own);
        }
        for foreign in [
            "",
            "/",
            "/docs",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example/pages",
            "/pagesevil",
            "/pages\\evil",
            "/pages/\n/evil",
            "\t//evil.example",
            "/pages/../docs",
            "/pages/%2E./docs",
            "/pages/..//evil.example",
            "/pages//evil.example",
            "/pages/sign-in",
            "/pages/sign-in/callback?code=1",
            "javascript:alert(1)",
            "/pages/\u{e9}",
            &long,
        ] {
            assert_eq!(own_path(foreign), START, "{foreign}");
        }
        assert_eq!(sign_in_address("/pages/cases?on=1&b=2"), "/pages/sign-in?to=%2Fpages%2Fcases%3Fon%3D1%26b%3D2");
        assert_eq!(sign_in_address("//evil.example"), "/pages/sign-in");
    }
}
