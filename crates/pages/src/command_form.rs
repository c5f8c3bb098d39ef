//! A form for a command of the API: its fields, what was typed into them, and the body made of it.
//!
//! A form says where each field goes in the body by a JSON pointer, and the API names the same
//! pointer when it refuses: so each refusal is shown beside its field, in the API's own words.

use axum::http::Method;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    api::{ApiCommand, ApiProblem, Path},
    clocks::instant_of,
};

/// A command as a form.
pub(crate) struct CommandForm {
    /// Its part of the address.
    pub(crate) slug: &'static str,
    pub(crate) title: &'static str,
    /// The effect of the command, for a person who has not used it.
    pub(crate) explanation: &'static str,
    pub(crate) verb: Verb,
    /// The API's path, with `{number}`, `{prison}` and `{staffId}` in it.
    pub(crate) path: &'static str,
    pub(crate) fields: &'static [FormField],
    /// Members that are always the same.
    pub(crate) fixed: &'static [(&'static str, &'static str)],
    /// The member that takes the prison where the case is held.
    pub(crate) prison_pointer: Option<&'static str>,
    pub(crate) button: &'static str,
    /// Whether it is asked once more before it is recorded.
    pub(crate) is_checked: bool,
}

/// The method of a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Post,
    Put,
    Patch,
    Delete,
}

impl From<Verb> for Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Post => Self::POST,
            Verb::Put => Self::PUT,
            Verb::Patch => Self::PATCH,
            Verb::Delete => Self::DELETE,
        }
    }
}

/// A field of a form.
pub(crate) struct FormField {
    /// Its name in the form, which is its id in the page, too.
    pub(crate) name: &'static str,
    /// Where it goes in the body.
    pub(crate) pointer: &'static str,
    pub(crate) label: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) kind: FieldKind,
    pub(crate) is_required: bool,
}

/// A code and its words.
pub(crate) type FieldChoice = (&'static str, &'static str);

/// The kind of a field.
#[derive(Clone, Copy)]
pub(crate) enum FieldKind {
    Line,
    Lines,
    WholeNumber,
    Decimal,
    Day,
    /// A time on London's clocks.
    Moment,
    /// A tick for what is so.
    Flag,
    OneOf(&'static [FieldChoice]),
    AnyOf(&'static [FieldChoice]),
    /// A POM of the prison's roster.
    Pom,
}

/// The texts that were typed into a form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Typed(Vec<(String, String)>);

/// The command's id, which a form carries so that it counts once however often it is sent.
const KEY: &str = "key";
/// The revision of the case when the form was shown.
const REVISION: &str = "revision-seen";
/// The step of the form that was sent.
const STEP: &str = "step";

/// The field that says when a fact holds from.
const EFFECTIVE_AT: FormField = FormField {
    name: "effective-at",
    pointer: "/effectiveAt",
    label: "When did it happen?",
    hint: "Leave it empty for now. London time",
    kind: FieldKind::Moment,
    is_required: false,
};

impl Typed {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The text of a field, without blanks around it.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, text)| text.trim())
    }

    /// The texts of a field that may have several.
    pub(crate) fn all<'t>(&'t self, name: &str) -> impl Iterator<Item = &'t str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, text)| text.trim())
            .filter(|text| !text.is_empty())
    }

    /// The id of the command; a new one where the form has none.
    pub(crate) fn key(&self) -> Uuid {
        self.text(KEY).parse().unwrap_or_else(|_| Uuid::new_v4())
    }

    /// The revision that the case had when the form was shown.
    pub(crate) fn revision(&self) -> Option<u64> {
        self.text(REVISION).parse().ok()
    }

    /// The same answers as a new command.
    pub(crate) fn as_new(&self) -> Self {
        Self(self.0.iter().filter(|(name, _)| name != KEY && name != REVISION).cloned().collect())
    }

    /// The step that the button stands for.
    pub(crate) fn step(&self) -> &str {
        self.text(STEP)
    }
}

/// A form as a page shows it.
pub(crate) struct FormView {
    pub(crate) form: &'static CommandForm,
    pub(crate) fields: Vec<FieldView>,
    pub(crate) key: Uuid,
    pub(crate) revision: Option<u64>,
    /// Refusals of the whole: the id of the field that they are about, or of the form.
    pub(crate) errors: Vec<(String, String)>,
}

/// A field as a page shows it.
pub(crate) struct FieldView {
    pub(crate) field: &'static FormField,
    pub(crate) text: String,
    pub(crate) options: Vec<FieldOption>,
    pub(crate) error: Option<String>,
}

/// A choice of a field.
pub(crate) struct FieldOption {
    pub(crate) value: String,
    pub(crate) label: String,
    pub(crate) is_chosen: bool,
}

impl FieldView {
    /// The control that the field is: a word that the template knows.
    pub(crate) fn control(&self) -> &'static str {
        match self.field.kind {
            FieldKind::Line => "text",
            FieldKind::WholeNumber | FieldKind::Decimal => "number",
            FieldKind::Lines => "lines",
            FieldKind::Day => "date",
            FieldKind::Moment => "datetime-local",
            FieldKind::Flag => "flag",
            FieldKind::OneOf(_) => "radios",
            FieldKind::AnyOf(_) => "checkboxes",
            FieldKind::Pom => "select",
        }
    }

    /// The answer that was typed, in words, for a last look; `None` where there is none.
    pub(crate) fn answer(&self) -> Option<String> {
        let chosen: Vec<_> =
            self.options.iter().filter(|option| option.is_chosen).map(|option| option.label.as_str()).collect();
        match self.field.kind {
            FieldKind::Flag => (!self.text.is_empty()).then(|| "Yes".to_owned()),
            FieldKind::OneOf(_) | FieldKind::AnyOf(_) | FieldKind::Pom => {
                (!chosen.is_empty()).then(|| chosen.join("; "))
            }
            FieldKind::Day => self.text.parse().ok().map(crate::clocks::day),
            FieldKind::Moment => instant_of(&self.text).map(crate::clocks::time),
            _ => (!self.text.is_empty()).then(|| self.text.clone()),
        }
    }

    /// The fields of the form that carry what was typed: its name and each value.
    pub(crate) fn hidden(&self) -> Vec<(&'static str, &str)> {
        let name = self.field.name;
        if self.options.is_empty() {
            return if self.text.is_empty() { Vec::new() } else { vec![(name, &self.text)] };
        }
        self.options.iter().filter(|option| option.is_chosen).map(|option| (name, option.value.as_str())).collect()
    }
}

impl CommandForm {
    /// All fields: the form's own, and since when it holds.
    pub(crate) fn all_fields(&self) -> impl Iterator<Item = &'static FormField> + use<> {
        let own: &'static [FormField] = self.fields;
        own.iter().chain(std::iter::once(&EFFECTIVE_AT))
    }

    /// The form with what was typed, with these POMs to choose from, and the refusal of the last
    /// try.
    pub(crate) fn view(
        &'static self,
        typed: &Typed,
        poms: &[(String, String)],
        revision: Option<u64>,
        problem: Option<&ApiProblem>,
    ) -> FormView {
        let mut errors = Vec::new();
        let mut fields: Vec<_> = self
            .all_fields()
            .map(|field| FieldView {
                field,
                text: typed.text(field.name).to_owned(),
                options: options(field, typed, poms),
                error: None,
            })
            .collect();
        if let Some(problem) = problem {
            for (name, detail) in faults(problem) {
                match fields.iter_mut().find(|view| is_about(view.field, &name)) {
                    Some(view) => {
                        errors.push((view.field.name.to_owned(), detail.clone()));
                        view.error.get_or_insert(detail);
                    }
                    None => errors.push(("form".to_owned(), detail)),
                }
            }
        }
        FormView { form: self, fields, key: typed.key(), revision, errors }
    }

    /// Fields that need something and have nothing, as the API would refuse them.
    pub(crate) fn missing(&self, typed: &Typed) -> Option<ApiProblem> {
        let is_missing = |field: &&FormField| field.is_required && typed.all(field.name).next().is_none();
        // A flag that is not ticked says no.
        let missing = self.fields.iter().filter(|field| !matches!(field.kind, FieldKind::Flag)).filter(is_missing);
        let errors: Vec<_> = missing
            .map(|field| crate::api::ApiFault {
                pointer: Some(format!("#{}", field.pointer)),
                parameter: None,
                detail: match field.kind {
                    FieldKind::OneOf(_) | FieldKind::AnyOf(_) | FieldKind::Pom => format!("Choose: {}", field.label),
                    _ => format!("Enter: {}", field.label),
                },
            })
            .collect();
        (!errors.is_empty()).then(|| ApiProblem { errors, ..ApiProblem::of_pages(400, "") })
    }

    /// The command that the form asks for.
    pub(crate) fn command(&self, typed: &Typed, path: String, prison: Option<&str>) -> ApiCommand {
        let mut body = Value::Object(Map::new());
        for (pointer, text) in self.fixed {
            insert(&mut body, pointer, Value::from(*text));
        }
        if let (Some(pointer), Some(prison)) = (self.prison_pointer, prison) {
            insert(&mut body, pointer, Value::from(prison));
        }
        for field in self.all_fields() {
            if let Some(value) = value(field, typed) {
                insert(&mut body, field.pointer, value);
            }
        }
        // A command without anything to say has no body.
        let is_empty = body.as_object().is_some_and(Map::is_empty);
        ApiCommand {
            method: self.verb.into(),
            path: Path::new(path),
            body: if is_empty && self.verb == Verb::Delete { Value::Null } else { body },
            key: typed.key(),
            revision: typed.revision(),
        }
    }
}

fn options(field: &FormField, typed: &Typed, poms: &[(String, String)]) -> Vec<FieldOption> {
    let option = |value: &str, label: &str| FieldOption {
        value: value.to_owned(),
        label: label.to_owned(),
        is_chosen: typed.all(field.name).any(|chosen| chosen == value),
    };
    match field.kind {
        FieldKind::OneOf(choices) | FieldKind::AnyOf(choices) => {
            choices.iter().map(|(value, label)| option(value, label)).collect()
        }
        FieldKind::Pom => poms.iter().map(|(value, label)| option(value, label)).collect(),
        _ => Vec::new(),
    }
}

/// A field's value as the API takes it; text that is no number goes as text, so that the API says
/// what is wrong with it.
fn value(field: &FormField, typed: &Typed) -> Option<Value> {
    let text = typed.text(field.name);
    if let FieldKind::AnyOf(_) = field.kind {
        let chosen: Vec<_> = typed.all(field.name).map(Value::from).collect();
        return (!chosen.is_empty()).then_some(Value::Array(chosen));
    }
    if let FieldKind::Flag = field.kind {
        return (!text.is_empty()).then_some(Value::Bool(true)).or(field.is_required.then_some(Value::Bool(false)));
    }
    if text.is_empty() {
        return None;
    }
    Some(match field.kind {
        FieldKind::WholeNumber | FieldKind::Pom => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        FieldKind::Decimal => text.parse::<f64>().map_or_else(|_| text.into(), Value::from),
        FieldKind::Moment => {
            let instant = instant_of(text).map(|instant| instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
            instant.map_or_else(|| text.into(), Value::from)
        }
        _ => text.into(),
    })
}

fn insert(body: &mut Value, pointer: &str, value: Value) {
    let mut place = body;
    for part in pointer.trim_start_matches('/').split('/') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[part];
    }
    *place = value;
}

/// The faults of a refusal: the pointer that each is about, or the refusal's code, and its words.
pub(crate) fn faults(problem: &ApiProblem) -> Vec<(String, String)> {
    if problem.errors.is_empty() {
        return vec![(problem.code.clone(), problem.detail.clone())];
    }
    let faults = problem.errors.iter();
    faults
        .map(|fault| {
            let pointer = fault.pointer.as_deref().or(fault.parameter.as_deref()).unwrap_or_default();
            (pointer.trim_start_matches('#').to_owned(), sentence(&fault.detail))
        })
        .collect()
}

/// A detail as a sentence: with a capital letter and a full stop.
fn sentence(detail: &str) -> String {
    let mut characters = detail.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if detail.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{end}", characters.as_str())
}

/// The refusals by a rule that are about one field, and where that field goes in a body.
const RULES_OF_FIELDS: [(&str, &[&str]); 7] = [
    ("/toStaffId", &["pom-not-registered", "pom-not-active", "same-pom"]),
    ("/pom/staffId", &["pom-not-registered", "pom-not-active", "same-pom", "pom-is-coworker", "pom-is-primary"]),
    ("/overrideReasons", &["override-reasons-needed"]),
    ("/suitabilityDetail", &["suitability-detail-needed"]),
    ("/overrideDetail", &["override-detail-needed"]),
    ("/detail", &["override-detail-needed"]),
    ("/effectiveAt", &["effective-time-in-future", "effective-time-too-early", "later-entry-conflict"]),
];

/// Whether a fault is about a field: by its pointer, or by the rule.
fn is_about(field: &FormField, fault: &str) -> bool {
    let is_at_pointer = fault.strip_prefix(field.pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_of_rule = RULES_OF_FIELDS.iter().any(|(pointer, codes)| *pointer == field.pointer && codes.contains(&fault));
    is_at_pointer || is_of_rule
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::command_forms::form_of_case;

    fn typed(pairs: &[(&str, &str)]) -> Typed {
        Typed::new(pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn a_body_is_made_of_what_was_typed() {
        let form = form_of_case("reallocation").expect("a form");
        let typed = typed(&[
            ("pom", "485926"),
            ("reason", " Caseloads "),
            ("override-reasons", "CONTINUITY"),
            ("override-reasons", "OTHER"),
            ("note", ""),
            ("effective-at", "2026-07-01T09:05"),
            ("revision-seen", "8"),
        ]);
        let command = form.command(&typed, "/prisoners/A1234BC/reallocations".into(), Some("LEI"));
        assert_eq!(
            command.body,
            json!({"prison": "LEI", "pom": {"staffId": 485_926}, "reason": "Caseloads",
                   "overrideReasons": ["CONTINUITY", "OTHER"], "effectiveAt": "2026-07-01T08:05:00Z"})
        );
        assert_eq!(command.revision, Some(8));
    }

    #[test]
    fn a_refusal_is_beside_its_field_and_what_was_typed_is_kept() {
        let form = form_of_case("tier").expect("a form");
        let problem: ApiProblem = serde_json::from_value(json!({
            "code": "identifier-invalid", "detail": "", "title": "",
            "errors": [{"pointer": "#/tier", "detail": "`Q9` is not a tier"}],
        }))
        .expect("a problem");
        let view = form.view(&typed(&[("tier", "Q9")]), &[], None, Some(&problem));
        let tier = view.fields.iter().find(|view| view.field.name == "tier").expect("the field");
        assert_eq!((tier.text.as_str(), tier.error.as_deref()), ("Q9", Some("`Q9` is not a tier.")));
        assert_eq!(view.errors, [("tier".to_owned(), "`Q9` is not a tier.".to_owned())]);
    }

    #[test]
    fn a_refusal_by_a_rule_is_beside_the_field_that_the_rule_is_about() {
        let form = form_of_case("reallocation").expect("a form");
        for (code, field) in
            [("pom-not-active", "pom"), ("effective-time-in-future", "effective-at"), ("nothing-changed", "form")]
        {
            let problem = ApiProblem {
                status: 422,
                code: code.into(),
                title: String::new(),
                detail: "No.".into(),
                errors: Vec::new(),
            };
            let view = form.view(&Typed::default(), &[], None, Some(&problem));
            assert_eq!(view.errors, [(field.to_owned(), "No.".to_owned())]);
        }
    }
}
