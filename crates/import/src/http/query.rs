//! The query parameters of an upload.

use axum::{extract::FromRequestParts, http::request::Parts};
use domain::{
    moment::Date,
    prison::Estate,
    text::{Excerpt, Text},
};
use http_api::{Params, Problem, ProblemCode, extract::unknown_parameter, problem::Fault};
use serde::de::{DeserializeOwned, IntoDeserializer as _, value};
use spreadsheets::{
    layout::mapping,
    row::FIELDS,
    value::{PomKindWords, pom_kind_word},
};
use utoipa::IntoParams;

use crate::{http_words::in_words_of_http, sheet::SheetChoices, source::check_name, upload::ImportChoices};

/// The parameters. Two of them may be given several times, so they are read by hand.
const NAMES: [&str; 8] = ["file-name", "dry-run", "sheet", "map", "pom-kind", "estate", "go-live", "unlisted-prison"];

/// Longest name of a file in characters, as file systems have it.
const FILE_NAME_LEN_MAX: usize = 255;

/// The query of an upload as it is read.
pub(super) struct UploadQuery {
    pub(super) file_name: String,
    pub(super) choices: ImportChoices,
}

/// The query of an upload, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "kebab-case")]
#[expect(dead_code, reason = "described, not read")]
pub(super) struct UploadParams {
    /// The name of the file, with which each event names it. It holds no prisoner number.
    #[param(max_length = 255, example = "cases.csv")]
    file_name: String,
    /// Whether nothing is recorded until that is asked for. With `false` the rows are recorded as
    /// soon as they are read.
    #[param(default = true)]
    dry_run: Option<bool>,
    /// The sheet to read; absent, the one with most cases.
    sheet: Option<String>,
    /// The field of a column whose heading does not tell it: the heading or the letter of the
    /// column, `=`, and one of `prisonerNumber`, `tier`, `staffId`, `pomName`, `pomForename`,
    /// `pomKind`, `allocatedOn`, `leftOn`, `releasedOn`, `transferredOn`, `transferredTo`,
    /// `arrivedOn`, `note`. May be given several times.
    map: Option<Vec<String>>,
    /// The kind of POM that a word of the sheet means: the word, `=`, and `PRISON` or `PROBATION`.
    /// May be given several times.
    pom_kind: Option<Vec<String>>,
    /// The prison's estate, where the prison has not joined OMiC yet.
    #[param(inline)]
    estate: Option<Estate>,
    /// The prison's go-live date, where the prison has not joined OMiC yet.
    #[param(value_type = Option<domain::openapi::LondonDate>)]
    go_live: Option<Date>,
    /// Whether the prison is one that the program's list of prisons lacks.
    #[param(default = false)]
    unlisted_prison: Option<bool>,
}

impl<S: Send + Sync> FromRequestParts<S> for UploadQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Params(pairs) = Params::<Vec<(String, String)>>::from_request_parts(parts, state).await?;
        Self::read(&pairs)
    }
}

impl UploadQuery {
    fn read(pairs: &[(String, String)]) -> Result<Self, Problem> {
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !NAMES.contains(&name.as_str())) {
            return Err(unknown_parameter(name, &NAMES));
        }
        let values =
            |wanted: &'static str| pairs.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value);
        let one = |name: &'static str| {
            let mut given = values(name);
            let first = given.next();
            if given.next().is_some() { Err(invalid(name, "it is given twice")) } else { Ok(first) }
        };
        let truth = |name: &'static str, by_default: bool| match one(name)?.map(String::as_str) {
            None => Ok(by_default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(invalid(name, "write true or false")),
        };
        let mappings = values("map").map(|text| mapping(text, FIELDS).map_err(|error| refuse("map", &error)));
        let kinds = values("pom-kind").map(|text| pom_kind_word(text).map_err(|error| refuse("pom-kind", &error)));
        let choices = ImportChoices {
            sheet: SheetChoices {
                sheet: one("sheet")?.cloned(),
                mappings: mappings.collect::<Result<_, _>>()?,
                pom_kinds: kinds.collect::<Result<PomKindWords, _>>()?,
            },
            estate: one("estate")?.map(|text| read_value("estate", text)).transpose()?.unwrap_or(Estate::MensClosed),
            go_live: one("go-live")?.map(|text| read_value::<Date>("go-live", text)).transpose()?.map(Into::into),
            unlisted_prison: truth("unlisted-prison", false)?,
            records_at_once: !truth("dry-run", true)?,
        };
        Ok(Self { file_name: read_file_name(one("file-name")?)?, choices })
    }
}

/// The name of a file, without the folders that some browsers send before it.
fn read_file_name(given: Option<&String>) -> Result<String, Problem> {
    let name = given.ok_or_else(|| {
        let detail = "`file-name` is missing: send the name of the file, which each event names";
        Problem::fault(ProblemCode::ParameterMissing, Fault::parameter("file-name", detail))
    })?;
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    if name.is_empty() || name.chars().count() > FILE_NAME_LEN_MAX || Text::try_from(name.to_owned()).is_err() {
        let detail =
            format!("`{}` is not the name of a file, of 1 to {FILE_NAME_LEN_MAX} visible characters", Excerpt(name));
        return Err(invalid("file-name", detail));
    }
    check_name("file", name).map_err(|error| refuse("file-name", &error))?;
    Ok(name.to_owned())
}

fn read_value<T: DeserializeOwned>(name: &'static str, text: &str) -> Result<T, Problem> {
    T::deserialize(text.into_deserializer()).map_err(|error: value::Error| {
        let sentence = error.to_string();
        match sentence.rsplit_once("`, expected ") {
            Some((_, words)) => invalid(name, format!("`{}` is not {words}", Excerpt(text))),
            None => invalid(name, sentence),
        }
    })
}

fn refuse(name: &'static str, error: &anyhow::Error) -> Problem {
    invalid(name, in_words_of_http(&format!("{error:#}")))
}

fn invalid(name: &'static str, detail: impl Into<String>) -> Problem {
    Problem::fault(ProblemCode::ParameterInvalid, Fault::parameter(name, detail))
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    fn read(query: &str) -> Result<UploadQuery, Problem> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        UploadQuery::read(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn an_upload_is_a_dry_run_unless_it_says_otherwise() {
        let UploadQuery { file_name, choices } = read("file-name=C:\\fakepath\\cases.csv").expect("a query");
        assert_eq!((file_name.as_str(), choices.records_at_once), ("cases.csv", false));
        let query = "file-name=a.csv&dry-run=false&go-live=2019-03-01&estate=WOMENS&map=Band=tier&map=D=staffId";
        let UploadQuery { choices, .. } = read(query).expect("a query");
        assert!(choices.records_at_once && choices.sheet.mappings.len() == 2);
        assert_eq!((choices.go_live, choices.estate), (NaiveDate::from_ymd_opt(2019, 3, 1), Estate::Womens));
    }

    #[test]
    fn a_parameter_that_cannot_be_read_is_named() {
        for (query, code, parameter) in [
            ("", "parameter-missing", "file-name"),
            ("file-name= ", "parameter-invalid", "file-name"),
            ("file-name=A1234BC.csv", "parameter-invalid", "file-name"),
            ("file-name=a.csv&file-name=b.csv", "parameter-invalid", "file-name"),
            ("file-name=a.csv&dry-run=maybe", "parameter-invalid", "dry-run"),
            ("file-name=a.csv&map=Band", "parameter-invalid", "map"),
            ("file-name=a.csv&map=Band=band", "parameter-invalid", "map"),
            ("file-name=a.csv&pom-kind=B4=BOTH", "parameter-invalid", "pom-kind"),
            ("file-name=a.csv&estate=SHIP", "parameter-invalid", "estate"),
            ("file-name=a.csv&go-live=soon", "parameter-invalid", "go-live"),
            ("file-name=a.csv&dryRun=false", "parameter-unknown", "dryRun"),
        ] {
            let refused = read(query).err().expect(query);
            let document = serde_json::to_value(refused.document()).expect("JSON");
            assert_eq!((&document["code"], &document["errors"][0]["parameter"]), (&code.into(), &parameter.into()));
        }
    }
}
