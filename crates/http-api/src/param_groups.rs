//! Query parameters in groups: a group that several operations have is a type of its own, with its
//! text in the OpenAPI document.

use axum::{
    extract::FromRequestParts,
    http::{Uri, request::Parts},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, Visitor},
    forward_to_deserialize_any,
};

use crate::{Params, Problem, extract::unknown_parameter};

/// Query parameters that are read as several groups, e.g. `ParamGroups<(AsOf, Filter, Paging)>`.
/// The groups are structs that [`Params`] reads too. A parameter that none of them has is refused,
/// as by [`Params`].
///
/// `#[serde(flatten)]` does not do this: it forgets which parameter is wrong. Where several are
/// wrong, an unknown one is reported first, then those of the first group.
#[derive(Debug, Clone, Copy)]
pub struct ParamGroups<T>(pub T);

macro_rules! read_groups {
    ($($group:ident),+) => {
        impl<$($group: DeserializeOwned,)+ S: Send + Sync> FromRequestParts<S> for ParamGroups<($($group,)+)> {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
                let mut uris = split(&parts.uri, &[$(field_names::<$group>()),+])?.into_iter();
                Ok(Self(($(Params::<$group>::from_uri(&uris.next().unwrap_or_default())?.0,)+)))
            }
        }
    };
}
read_groups!(A, B);
read_groups!(A, B, C);

/// A URI for each group, with the parameters that it has.
fn split(uri: &Uri, groups: &[&'static [&'static str]]) -> Result<Vec<Uri>, Problem> {
    let mut paths = vec!["/?".to_owned(); groups.len()];
    let parameters = uri.query().unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty());
    let Params(decoded) = Params::<Vec<(String, String)>>::from_uri(uri)?;
    for (parameter, (name, _)) in parameters.zip(&decoded) {
        let Some(group) = groups.iter().position(|names| names.contains(&name.as_str())) else {
            return Err(unknown_parameter(name, &groups.concat()));
        };
        paths[group].push_str(parameter);
        paths[group].push('&');
    }
    // A part of a URI is one.
    Ok(paths.into_iter().map(|path| path.parse().unwrap_or_default()).collect())
}

/// The names of a struct's fields, as its derived `Deserialize` has them.
fn field_names<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // Reading ends with an error once the names are known.
    let _ = T::deserialize(FieldNames(&mut names));
    names
}

/// Takes the names of the fields that a type asks for, and gives it nothing.
struct FieldNames<'n>(&'n mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(de::Error::custom("only the names are wanted"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("not a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use domain::identifier::StaffId;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct StaffParams {
        staff_id: Option<StaffId>,
        is_active: Option<bool>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct LimitParams {
        limit: u16,
    }

    async fn read(query: &str) -> Result<(StaffParams, LimitParams), Problem> {
        let request = Request::builder().uri(format!("/x{query}")).body(()).expect("a request");
        let read =
            ParamGroups::<(StaffParams, LimitParams)>::from_request_parts(&mut request.into_parts().0, &()).await;
        read.map(|ParamGroups(groups)| groups)
    }

    #[tokio::test]
    async fn each_group_gets_its_own_parameters() {
        let staff = |staff_id: Option<i64>, is_active| StaffParams {
            staff_id: staff_id.map(|id| id.try_into().expect("a staff id")),
            is_active,
        };
        let read_well = async |query| read(query).await.expect(query);
        assert_eq!(read_well("?limit=2").await, (staff(None, None), LimitParams { limit: 2 }));
        assert_eq!(
            read_well("?staff-id=485926&limit=2&is-active=true").await,
            (staff(Some(485_926), Some(true)), LimitParams { limit: 2 })
        );
        assert_eq!(read_well("?&staff%2Did=1&&limit=2&").await, (staff(Some(1), None), LimitParams { limit: 2 }));
    }

    #[tokio::test]
    async fn a_parameter_is_refused_as_if_there_were_one_group() {
        for (query, code, parameter, detail) in [
            (
                "?limit=2&x=1",
                "parameter-unknown",
                "x",
                "`x` is not known here; known are: `staff-id`, `is-active`, `limit`",
            ),
            ("?limit=2&staff-id=x", "parameter-invalid", "staff-id", "not a whole number"),
            ("?limit=2&limit=3", "parameter-invalid", "query", "`limit` is given twice"),
            ("?staff-id=1", "parameter-missing", "limit", "`limit` is missing"),
            ("", "parameter-missing", "limit", "`limit` is missing"),
        ] {
            let refused = read(query).await.expect_err(query);
            let document = serde_json::to_value(refused.document()).expect("JSON");
            assert_eq!(document["code"], code, "{document}");
            assert_eq!(document["errors"][0]["parameter"], parameter, "{document}");
            assert!(document["errors"][0]["detail"].as_str().is_some_and(|text| text.contains(detail)), "{document}");
        }
    }
}
