//! The registry of problem codes: each code of an error answer, its status, its meaning and the
//! remedy. The OpenAPI document and the pages at `/problems/{code}` are made of it, and
//! `docs/api.md` is checked against it. The codes of rules come from [`Rule`].
//!
//! To add a code: one line here, and its row in `docs/api.md`.

use domain::{Rule, rule::RuleKind};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr, Type,
        schema::{AnyOfBuilder, Schema},
    },
};

/// Makes [`ProblemCode`] from one list: each code with its status, its meaning and the remedy.
macro_rules! problem_codes {
    ($($variant:ident => $code:literal, $status:literal, $meaning:literal, $remedy:literal;)*) => {
        /// The stable code of a problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemCode {
            $(#[doc = $meaning] $variant,)*
            /// A rule says no.
            Rule(Rule),
        }

        impl ProblemCode {
            /// The codes that are of no rule.
            const WITHOUT_RULE: &'static [Self] = &[$(Self::$variant),*];

            /// The code, in kebab case; part of the published API and listed in `docs/api.md`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Rule(rule) => rule.code(),
                }
            }

            /// The HTTP status of an answer with the code.
            #[must_use]
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                    Self::Rule(rule) => match rule.kind() {
                        // The status that reading the case has.
                        RuleKind::SubjectUnknown => 404,
                        RuleKind::NotYours => 403,
                        RuleKind::NotPermitted => 422,
                    },
                }
            }

            /// The meaning of the code, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                    Self::Rule(rule) => rule.meaning(),
                }
            }

            /// The remedy, in a sentence or two.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$variant => $remedy,)*
                    Self::Rule(rule) => rule.remedy(),
                }
            }
        }
    };
}

problem_codes! {
    JsonMalformed => "json-malformed", 400, "The body is not JSON.",
        "Send the body as one JSON value. `detail` says at which line and column it breaks.";
    BodyIncomplete => "body-incomplete", 400, "The body ended before its announced length.",
        "Send the request again. If it happens again, look for a proxy that cuts requests short.";
    BodyTooLarge => "body-too-large", 413, "The body is larger than a request may be.",
        "Send it in several requests. `detail` says how many bytes are allowed.";
    ContentTypeUnsupported => "content-type-unsupported", 415,
        "The body is not announced as what the request takes.",
        "Send the header `Content-Type` that `detail` names: `application/json` for all but a spreadsheet.";
    BodySlow => "body-slow", 408, "The body did not come in time.",
        "Send the request again, all of it at once.";
    TooMany => "too-many", 400, "The request has more entries than one request may have.",
        "Send the entries in several requests.";
    FieldUnknown => "field-unknown", 400, "The body has a field that this request does not have.",
        "Correct its name, or leave it out. `errors` points at it.";
    FieldMissing => "field-missing", 400, "The body lacks a field that the request needs.",
        "Add the field that `errors` names.";
    FieldInvalid => "field-invalid", 400, "A field has a value that does not fit it.",
        "Correct the field that `errors` points at. Its `detail` says what to write.";
    IdentifierInvalid => "identifier-invalid", 400, "An identifier is not of its format.",
        "Compare it with the format that `detail` gives, such as A1234BC for a prisoner number.";
    DateInvalid => "date-invalid", 400, "A date or an instant is none, or is not in the years 1900 to 2199.",
        "Write a date as 2026-03-01 and an instant as 2026-03-01T09:00:00Z.";
    ParameterUnknown => "parameter-unknown", 400, "The query has a parameter that this request does not have.",
        "Correct its name, or leave it out. `detail` lists the parameters that there are.";
    ParameterInvalid => "parameter-invalid", 400, "A query parameter has a value that does not fit it.",
        "Correct the parameter that `errors` names. A position must not be past the end of the ledger.";
    ParameterMissing => "parameter-missing", 400, "The query lacks a parameter that the request needs.",
        "Add the parameter that `detail` names.";
    CursorInvalid => "cursor-invalid", 400, "The cursor in `after` is none of this list.",
        "Follow the address in the `Link` header of the page before, or leave `after` out to begin anew.";
    IdentifiersBoth => "identifiers-both", 400, "The request has both a prn and a crn.",
        "Send the prisoner number, `prn`, alone.";
    IdentifierNotRecognised => "identifier-not-recognised", 209, "The ledger does not find people by a crn.",
        "Ask with the prisoner number, `prn`.";
    HeaderInvalid => "header-invalid", 400, "A header has a value that does not fit it.",
        "Correct the header that `errors` names, or leave it out.";
    HostUnknown => "host-unknown", 421, "The request names a host that is not the ledger's.",
        "Ask for it under its own name. The operator adds a name with `--host`.";
    OriginForeign => "origin-foreign", 403, "A page of another site asked a browser to send the request.",
        "Record from the ledger's own pages, or from a program that is no browser.";
    TokenMissing => "token-missing", 401, "The request has no token of the sign-on.",
        "Get a token of HMPPS Auth, and send it in the header `Authorization: Bearer …`.";
    TokenInvalid => "token-invalid", 401, "The token has expired, or is not one of the sign-on that the ledger trusts.",
        "Sign on again, and send the new token. `detail` says what is wrong with the old one.";
    RoleMissing => "role-missing", 403, "The token is valid, and none of its roles allows the request.",
        "Ask whoever grants roles for one of those that `detail` names.";
    PathUnknown => "path-unknown", 404, "There is nothing at this address.",
        "Compare the path with `/docs`. A service of one role answers only the paths of that role.";
    MethodNotAllowed => "method-not-allowed", 405, "The address does not take this method.",
        "Use one of the methods that the `Allow` header lists.";
    MessageUnknown => "message-unknown", 404, "No parked message of HMPPS has the id.",
        "List those that wait with `GET /integration/parked`. One that was taken in or dismissed waits no more.";
    ImportUnknown => "import-unknown", 404, "No spreadsheet with the id is kept for the prison.",
        "Upload it again: one is kept for an hour after its last use, and not over a restart. Nothing is recorded twice.";
    ImportNotReady => "import-not-ready", 409, "The spreadsheet is not read yet, or cannot be.",
        "Ask for its state. Once it is `READ`, send the same again; one that has `FAILED` unread must be uploaded anew.";
    JobUnknown => "job-unknown", 404, "The service has no such job, or no more.",
        "List those that it has with `GET /projections/jobs`. A restart forgets them.";
    ExportFileGone => "export-file-gone", 404, "The job has no file, or no more.",
        "Wait until the export is done, or export again. A file is kept for an hour, and until the next export begins.";
    JobRunning => "job-running", 409, "Another rebuild, verification or export is at work in this service.",
        "Wait for its end, or cancel it: `detail` has its id.";
    PrisonUnknown => "prison-unknown", 404, "Neither the list of prisons nor the ledger has the prison.",
        "Check the code of the prison.";
    CaseNotWaiting => "case-not-waiting", 404, "The case does not wait to be allocated at that prison.",
        "Read the case. `detail` says where it is; `GET /prisons/{prisonCode}/unallocated` lists the cases that wait.";
    RevisionMismatch => "revision-mismatch", 412, "The case or the roster is not at the revision that `If-Match` names.",
        "Read it again, then decide again, and send the revision that you have read.";
    IdempotencyKeyReused => "idempotency-key-reused", 422, "The Idempotency-Key belongs to another request.",
        "Use a new key for a new request. Send an old key only with the request that it was made for.";
    EventStoreUnavailable => "event-store-unavailable", 503, "The event store is out of reach.",
        "Wait as long as `Retry-After` says, then send the same request again.";
    ViewsUnavailable => "views-unavailable", 503, "The Postgres of the views is out of reach.",
        "Wait as long as `Retry-After` says, then send the same request again.";
    ViewsBehind => "views-behind", 503, "The views have not come to the position that the request asks for.",
        "Wait as long as `Retry-After` says, then send the same request again. `GET /projections` says how far the \
         views are.";
    RateLimited => "rate-limited", 429, "The client asks for more than one client may.",
        "Wait as long as `Retry-After` says, then send the same request again. `detail` says what there is too much of.";
    Overloaded => "overloaded", 503, "The service has as much at work as it can.",
        "Wait as long as `Retry-After` says, then send the same request again.";
    TooManyStreams => "too-many-streams", 503, "The service, or the client, has as many followers of `/events` as may be.",
        "Wait as long as `Retry-After` says, then open the stream again; or read `/events` in pages.";
    MessagesUnavailable => "messages-unavailable", 503, "The parked messages of HMPPS, their queues, or the event store are out of reach.",
        "Send the same request again, after the time in `Retry-After` if there is one.";
    KeysUnavailable => "keys-unavailable", 503, "The keys of the sign-on cannot be fetched, so no token can be verified.",
        "Wait as long as `Retry-After` says, then send the same request again.";
    PrisonsUnavailable => "prisons-unavailable", 503, "The service that knows which prisons are the caller's does not answer.",
        "Wait as long as `Retry-After` says, then send the same request again.";
    AccessLogUnavailable => "access-log-unavailable", 503, "The read cannot be recorded, and this service answers no read that is not.",
        "Wait as long as `Retry-After` says, then send the same request again.";
    PoliciesBehind => "policies-behind", 503, "After a start, the service does not know yet which cases a POM holds.",
        "Wait as long as `Retry-After` says, then send the same request again, with the same Idempotency-Key.";
    StreamContended => "stream-contended", 503, "Other callers keep recording on the same case or prison.",
        "Wait as long as `Retry-After` says, then send the same request again, with the same Idempotency-Key.";
    InternalError => "internal-error", 500, "A fault inside the ledger.",
        "Tell the operator the `X-Correlation-Id` of the answer: it finds the cause in the log.";
    CaseDamaged => "case-damaged", 500, "The views leave the case out, because they cannot hold its rows.",
        "Tell the operator. The events are in the log, and the answer comes back by itself once the entry is voided or \
         the program mended.";
    PrisonDamaged => "prison-damaged", 500, "The views leave the prison's roster out, because they cannot hold its rows.",
        "Tell the operator. The events are in the log, and the answer comes back by itself once the program is mended.";
}

impl ProblemCode {
    /// Every code: those of the requests as such, then those of the rules.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::WITHOUT_RULE.iter().copied().chain(Rule::ALL.iter().copied().map(Self::Rule))
    }

    /// The code of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|code| code.code() == name)
    }

    /// The code in words: with the names that are written in capitals.
    #[must_use]
    pub fn title(self) -> String {
        let mut words: Vec<String> = self
            .code()
            .split('-')
            .map(|word| match word {
                "pom" | "com" | "json" | "nomis" | "crn" => word.to_uppercase(),
                "omic" => "OMiC".to_owned(),
                word => word.to_owned(),
            })
            .collect();
        if let Some(first) = words.first_mut()
            && let Some(initial) = first.get(..1).map(str::to_uppercase)
        {
            first.replace_range(..1, &initial);
        }
        words.join(" ")
    }
}

impl From<Rule> for ProblemCode {
    fn from(rule: Rule) -> Self {
        Self::Rule(rule)
    }
}

/// The codes that there are, and any other text: a later version of the program has more.
impl PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        open_words(
            "Stable code of a kind of problem. Later versions may have further ones.",
            Self::all().map(Self::code),
        )
    }
}

impl ToSchema for ProblemCode {}

/// The schema of a text that is one of these words today. A client must take others, too.
pub(crate) fn open_words(description: &str, words: impl Iterator<Item = &'static str>) -> RefOr<Schema> {
    let known = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    let other = ObjectBuilder::new().schema_type(Type::String);
    Schema::from(AnyOfBuilder::new().description(Some(description)).item(known).item(other).build()).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_is_one_kind_of_problem() {
        let codes: Vec<_> = ProblemCode::all().map(ProblemCode::code).collect();
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len(), "{codes:?}");
        for code in ProblemCode::all() {
            assert_eq!(ProblemCode::from_name(code.code()), Some(code));
            for sentence in [code.meaning(), code.remedy()] {
                assert!(sentence.ends_with('.') && sentence.starts_with(char::is_uppercase), "{code:?}: {sentence}");
            }
        }
    }

    #[test]
    fn a_title_has_the_spelling_of_names() {
        assert_eq!(ProblemCode::from(Rule::PomNotActive).title(), "POM not active");
        assert_eq!(ProblemCode::from(Rule::PrisonNotOnOmic).title(), "Prison not on OMiC");
    }
}
