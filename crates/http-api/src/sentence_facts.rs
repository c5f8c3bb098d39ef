//! The sentence facts in a request: the command side records them, the query side calculates with
//! them.

use domain::{
    handover::Facts,
    moment::{Date, Instant},
};
use serde::{Deserialize, Deserializer, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Type, schema::Schema},
};

/// Sentence facts, all from NOMIS: all optional, but `indeterminate` where they are recorded.
/// London dates.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FactsBody {
    /// An indeterminate sentence: life, or imprisonment for public protection. Has to be said where
    /// a plan is recorded; where dates are only worked out, absent or null is false, as for every
    /// other fact.
    pub indeterminate: Option<bool>,
    /// When the sentence began.
    #[schema(value_type = Option<domain::openapi::LondonDate>)]
    pub sentence_start_date: Option<Date>,
    /// Tariff expiry date (TED).
    #[schema(value_type = Option<domain::openapi::LondonDate>)]
    pub tariff_date: Option<Date>,
    /// Target hearing date (THD) of the parole board.
    #[schema(value_type = Option<domain::openapi::LondonDate>)]
    pub target_hearing_date: Option<Date>,
    /// Parole eligibility date (PED).
    #[schema(value_type = Option<domain::openapi::LondonDate>)]
    pub parole_eligibility_date: Option<Date>,
    /// Conditional release date (CRD).
    #[schema(value_type = Option<domain::openapi::LondonDate>)]
    pub conditional_release_date: Option<Date>,
    /// Automatic release date (ARD).
    #[schema(value_type = Option<domain::openapi::LondonDate>)]
    pub automatic_release_date: Option<Date>,
    /// A determinate sentence with parole.
    #[serde(default, deserialize_with = "null_is_false")]
    #[schema(value_type = Option<bool>)]
    pub determinate_parole: bool,
    /// Another indeterminate sentence is still to be served.
    #[serde(default, deserialize_with = "null_is_false")]
    #[schema(value_type = Option<bool>)]
    pub additional_indeterminate_sentence: bool,
    /// Recalled from licence.
    #[serde(default, deserialize_with = "null_is_false")]
    #[schema(value_type = Option<bool>)]
    pub recalled: bool,
    /// An immigration case.
    #[serde(default, deserialize_with = "null_is_false")]
    #[schema(value_type = Option<bool>)]
    pub immigration_case: bool,
    /// The parole board decided against release.
    #[serde(default, deserialize_with = "null_is_false")]
    #[schema(value_type = Option<bool>)]
    pub parole_outcome_not_release: bool,
    /// MAPPA level 0 to 3, where known.
    #[serde(default, deserialize_with = "mappa_level")]
    #[schema(minimum = 0, maximum = 3)]
    pub mappa_level: Option<u8>,
    /// Early allocation to the community team was agreed.
    #[serde(default, deserialize_with = "null_is_false")]
    #[schema(value_type = Option<bool>)]
    pub early_allocation: bool,
    /// In open conditions; chooses the reason.
    #[serde(default, deserialize_with = "null_is_false")]
    #[schema(value_type = Option<bool>)]
    pub in_open_conditions: bool,
    /// The open-prison rules apply; chooses the start date.
    #[serde(default, deserialize_with = "null_is_false")]
    #[schema(value_type = Option<bool>)]
    pub open_prison_rules_apply: bool,
    /// Held in the women's estate.
    #[serde(default, deserialize_with = "null_is_false")]
    #[schema(value_type = Option<bool>)]
    pub womens_estate: bool,
    /// The day on which the category became open (women's estate).
    #[schema(value_type = Option<domain::openapi::LondonDate>)]
    pub category_active_since: Option<Date>,
    /// The day of arrival at the open prison (men's estate).
    #[schema(value_type = Option<domain::openapi::LondonDate>)]
    pub prison_arrival_date: Option<Date>,
    /// "Today" for the calculation; absent, the London date of `effectiveAt`, and without that, of
    /// now.
    #[schema(value_type = Option<domain::openapi::LondonDate>)]
    pub calculated_on: Option<Date>,
    /// When the plan holds from; absent, from now.
    pub effective_at: Option<Instant>,
}

/// The schema of the facts where a plan is recorded: those of [`FactsBody`], of which
/// `indeterminate` must be said.
#[derive(Debug, Clone, Copy)]
pub struct PlanFacts;

impl PartialSchema for PlanFacts {
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut facts)) = FactsBody::schema() else { return FactsBody::schema() };
        let indeterminate = ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .description(Some("An indeterminate sentence: life, or imprisonment for public protection."));
        facts.properties.insert("indeterminate".to_owned(), indeterminate.into());
        facts.required = vec!["indeterminate".to_owned()];
        facts.description = Some("Sentence facts, all from NOMIS. London dates.".to_owned());
        Schema::Object(facts).into()
    }
}

impl ToSchema for PlanFacts {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        FactsBody::schemas(schemas);
    }
}

impl FactsBody {
    /// The facts alone.
    #[must_use]
    pub fn into_facts(self) -> Facts {
        Facts {
            indeterminate: self.indeterminate.unwrap_or_default(),
            sentence_start_date: self.sentence_start_date.map(Into::into),
            tariff_date: self.tariff_date.map(Into::into),
            target_hearing_date: self.target_hearing_date.map(Into::into),
            parole_eligibility_date: self.parole_eligibility_date.map(Into::into),
            conditional_release_date: self.conditional_release_date.map(Into::into),
            automatic_release_date: self.automatic_release_date.map(Into::into),
            determinate_parole: self.determinate_parole,
            additional_indeterminate_sentence: self.additional_indeterminate_sentence,
            recalled: self.recalled,
            immigration_case: self.immigration_case,
            parole_outcome_not_release: self.parole_outcome_not_release,
            mappa_level: self.mappa_level,
            early_allocation: self.early_allocation,
            in_open_conditions: self.in_open_conditions,
            open_prison_rules_apply: self.open_prison_rules_apply,
            womens_estate: self.womens_estate,
            category_active_since: self.category_active_since.map(Into::into),
            prison_arrival_date: self.prison_arrival_date.map(Into::into),
            calculated_on: self.calculated_on.map(Into::into),
        }
    }
}

/// Reads an optional fact, which may be absent or null; a fact that is not known counts as false.
fn null_is_false<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or_default())
}

fn mappa_level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    match Option::<u8>::deserialize(deserializer)? {
        Some(level) if level > 3 => Err(de::Error::custom(format_args!("MAPPA level {level} is not one of 0 to 3"))),
        level => Ok(level),
    }
}
