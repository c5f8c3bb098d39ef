//! Long lists in pages: `?after=<cursor>&limit=`, the next page as `Link: rel="next"`.
//!
//! Paged by key, never by offset: a cursor holds the sort key of the last row seen, so that rows
//! which come or go in between shift nothing.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
};

use axum::http::{HeaderValue, Uri};
use domain::text::Excerpt;
use serde::{Deserialize, Deserializer, Serialize, de, de::DeserializeOwned};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Type, schema::Schema},
};

use crate::{Problem, ProblemCode, problem::Fault};

/// Rows in a page if the caller does not say.
pub const LIMIT_DEFAULT: u16 = 50;

/// Most rows in a page: as many as a screen or a program's loop can use, in a short answer.
pub const LIMIT_MAX: u16 = 1_000;

/// Bytes of rows after which a page ends, however few they are. A client that does not take its
/// answer holds as much memory.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How JSON writes the character NUL.
const NUL: &[u8] = b"\\u0000";

/// How many rows the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    /// As many as there may be.
    pub const MAX: Self = Self(LIMIT_MAX);

    /// The number of rows, 1 to [`LIMIT_MAX`].
    #[must_use]
    pub fn rows(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(LIMIT_DEFAULT)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        match text.parse() {
            Ok(rows) if (1..=LIMIT_MAX).contains(&rows) => Ok(Self(rows)),
            _ => Err(de::Error::custom(format_args!(
                "`{}` is not a number of rows from 1 to {LIMIT_MAX}",
                Excerpt(&text)
            ))),
        }
    }
}

/// Where a page begins: after the row with this key. Opaque to callers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl PartialSchema for Cursor {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^(?:[0-9a-f]{2})+$")).into()
    }
}

impl ToSchema for Cursor {}

impl Cursor {
    /// The cursor after the row with this key: its JSON in hexadecimal, which needs no escaping in
    /// a URL.
    pub fn after<K: Serialize>(key: &K) -> Self {
        // A key is a tuple of texts and numbers, which always make JSON.
        let bytes = serde_json::to_vec(key).unwrap_or_default();
        Self(bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
    }

    /// The key, of the type that this list's cursors have.
    ///
    /// # Errors
    /// `cursor-invalid`, where it is no cursor of this list.
    pub fn key<K: DeserializeOwned>(&self) -> Result<K, Problem> {
        (0..self.0.len())
            .step_by(2)
            .map(|index| u8::from_str_radix(self.0.get(index..index + 2)?, 16).ok())
            .collect::<Option<Vec<u8>>>()
            // No key has this character, and no database takes it.
            .filter(|json| !json.windows(NUL.len()).any(|part| part == NUL))
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| {
                Problem::fault(
                    ProblemCode::CursorInvalid,
                    Fault::parameter("after", "not a cursor of this list; take it from the Link header of a page"),
                )
            })
    }

    /// The value of the `Link` header that leads from a page to the one after it.
    #[must_use]
    pub fn next_link(&self, uri: &Uri) -> Option<HeaderValue> {
        next_link(uri, &self.0)
    }
}

/// The value of the `Link` header that leads from a page to the one with this `after`.
#[must_use]
pub fn next_link(uri: &Uri, after: impl Display) -> Option<HeaderValue> {
    let others = uri.query().unwrap_or_default().split('&').filter(|p| !p.is_empty() && !p.starts_with("after="));
    let mut link = format!("<{}?", uri.path());
    for parameter in others {
        link.push_str(parameter);
        link.push('&');
    }
    let _ = write!(link, "after={after}>; rel=\"next\"");
    HeaderValue::try_from(link).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_to_the_next_page() {
        let cursor = Cursor::after(&("Okafor, Grace", 485_926));
        let uri = "/prisons/LEI/cases?tier=B&after=00&limit=2".parse().expect("a URI");
        let link = cursor.next_link(&uri).expect("a link");
        let link = link.to_str().expect("text");
        assert_eq!(link, format!("</prisons/LEI/cases?tier=B&limit=2&after={}>; rel=\"next\"", cursor.0));
        assert_eq!(cursor.key::<(String, i64)>().expect("its key"), ("Okafor, Grace".to_owned(), 485_926));
        assert_eq!(cursor.key::<(i64, i64)>().expect_err("another list's").code(), "cursor-invalid");
        assert_eq!(Cursor::after(&"A\0").key::<String>().expect_err("not from here").code(), "cursor-invalid");
        assert_eq!(Cursor("zz€".to_owned()).key::<i64>().expect_err("no cursor").code(), "cursor-invalid");
    }
}
