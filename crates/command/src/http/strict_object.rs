//! Objects of a request that must be JSON objects.
//!
//! A struct with serde's derived `Deserialize` also accepts an array of its members in their order.
//! No client writes one on purpose, and its meaning would change with every new member.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A `T` read from a JSON object.
pub(super) struct StrictObject<T>(pub(super) T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for StrictObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// Reads a `T` from a JSON object; for `#[serde(deserialize_with)]` on a member.
pub(super) fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    struct ObjectVisitor<T>(PhantomData<T>);

    impl<'de, T: DeserializeOwned> Visitor<'de> for ObjectVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(members))
        }
    }

    deserializer.deserialize_map(ObjectVisitor(PhantomData))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is of interest")]
    struct Example {
        count: Option<u64>,
        #[serde(deserialize_with = "object")]
        part: Part,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read is of interest")]
    struct Part {
        count: u64,
    }

    #[test]
    fn an_array_is_no_object() {
        let is_read = |body| serde_json::from_value::<StrictObject<Example>>(body).is_ok();
        assert!(is_read(json!({"count": 1, "part": {"count": 1}})));
        assert!(!is_read(json!([1, {"count": 1}])));
        assert!(!is_read(json!({"count": 1, "part": [1]})));
        assert!(!is_read(json!({"count": 1, "part": {"count": 1}, "parts": 2})));
    }
}
