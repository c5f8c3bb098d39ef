//! The forms: one for each command that people send by hand.

use crate::{
    command_form::{CommandForm, FieldChoice, FieldKind, FormField, Verb},
    words::{DEALLOCATION_TRIGGERS, OVERRIDE_REASONS, RECEPTION_REASONS, RESPONSIBILITY_REASONS},
};

const POM_KINDS: [FieldChoice; 2] = [("PRISON", "Prison POM"), ("PROBATION", "Probation POM")];
const POM_STATUSES: [FieldChoice; 3] = [
    ("ACTIVE", "Active: takes new cases"),
    ("UNAVAILABLE", "Unavailable: keeps cases and takes no new ones"),
    ("INACTIVE", "Inactive: holds no cases, and each case held waits to be allocated"),
];
const ROSH_LEVELS: [FieldChoice; 4] =
    [("LOW", "Low"), ("MEDIUM", "Medium"), ("HIGH", "High"), ("VERY_HIGH", "Very high")];
const SERVICES: [FieldChoice; 2] = [("PRISON", "The prison: the POM"), ("PROBATION", "The community: the COM")];

const fn field(name: &'static str, pointer: &'static str, label: &'static str, kind: FieldKind) -> FormField {
    FormField { name, pointer, label, hint: "", kind, is_required: false }
}

impl FormField {
    const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    const fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }
}

const fn form(slug: &'static str, verb: Verb, path: &'static str, fields: &'static [FormField]) -> CommandForm {
    CommandForm {
        slug,
        title: "",
        explanation: "",
        verb,
        path,
        fields,
        fixed: &[],
        prison_pointer: None,
        button: "Record",
        is_checked: false,
    }
}

const POM: FormField = field("pom", "/pom/staffId", "POM", FieldKind::Pom).required();
const REASON: FormField = field("reason", "/reason", "Reason", FieldKind::Line).required();
const NOTE: FormField = field("note", "/note", "Note to the POM", FieldKind::Lines).hint("Optional");
const WHY_OTHER_KIND: FormField = field(
    "override-reasons",
    "/overrideReasons",
    "Why not the recommended kind of POM?",
    FieldKind::AnyOf(&OVERRIDE_REASONS),
)
.hint("Only if the POM is not of the recommended kind");
const SUITABILITY: FormField =
    field("suitability-detail", "/suitabilityDetail", "Detail of the assessment", FieldKind::Lines)
        .hint("Only with the first of these reasons");
const OTHER_REASON: FormField =
    field("override-detail", "/overrideDetail", "Detail of the other reason", FieldKind::Lines)
        .hint("Only with the last of these reasons");

/// The forms of a case.
static OF_CASE: [CommandForm; 16] = [
    CommandForm {
        title: "Allocate the case",
        explanation: "The POM holds the case from now on.",
        prison_pointer: Some("/prison"),
        is_checked: true,
        ..form(
            "allocation",
            Verb::Post,
            "/prisoners/{number}/allocations",
            &[POM, WHY_OTHER_KIND, SUITABILITY, OTHER_REASON, NOTE],
        )
    },
    CommandForm {
        title: "Reallocate the case",
        explanation: "Another POM takes the case from the one who holds it.",
        prison_pointer: Some("/prison"),
        is_checked: true,
        ..form(
            "reallocation",
            Verb::Post,
            "/prisoners/{number}/reallocations",
            &[POM, REASON, WHY_OTHER_KIND, SUITABILITY, OTHER_REASON, NOTE],
        )
    },
    CommandForm {
        title: "End the allocation",
        explanation: "Both POM roles end. The case waits to be allocated again, unless the legal status has changed: it then leaves the prison, with its handover plan and override.",
        button: "End the allocation",
        is_checked: true,
        ..form(
            "deallocation",
            Verb::Post,
            "/prisoners/{number}/deallocations",
            &[field("trigger", "/trigger", "Why does it end?", FieldKind::OneOf(&DEALLOCATION_TRIGGERS)).required()],
        )
    },
    CommandForm {
        title: "Co-working POM",
        explanation: "A second POM works on the case beside the one who holds it.",
        prison_pointer: Some("/prison"),
        ..form("co-worker", Verb::Post, "/prisoners/{number}/co-workers", &[POM])
    },
    CommandForm {
        title: "Remove the co-working POM",
        explanation: "The role of the co-working POM ends.",
        button: "Remove",
        ..form("co-worker-removal", Verb::Delete, "/prisoners/{number}/co-workers/current", &[])
    },
    CommandForm {
        title: "Name the COM",
        explanation: "The probation officer who supports the case, and is responsible for it from the handover date.",
        ..form(
            "community-manager",
            Verb::Put,
            "/prisoners/{number}/community-manager",
            &[
                field("name", "/name", "Name", FieldKind::Line).required().hint("Surname, Forename"),
                field("email", "/email", "Work email address", FieldKind::Line).hint("Optional"),
                field("team", "/team", "Probation team", FieldKind::Line).hint("Optional"),
                field("ldu", "/ldu", "Local delivery unit (LDU)", FieldKind::Line).hint("Optional"),
            ],
        )
    },
    CommandForm {
        title: "Remove the COM",
        explanation: "The COM no longer has the case.",
        button: "Remove",
        ..form("community-manager-removal", Verb::Delete, "/prisoners/{number}/community-manager", &[])
    },
    CommandForm {
        title: "Record the tier",
        explanation: "How much attention the case needs, as Delius says it.",
        fixed: &[("/source", "MANUAL")],
        prison_pointer: Some("/prison"),
        ..form(
            "tier",
            Verb::Post,
            "/prisoners/{number}/tier",
            &[
                field("tier", "/tier", "Tier", FieldKind::Line)
                    .required()
                    .hint("A letter A to G, and a change level if there is one, such as B2"),
                field("rosh", "/roshLevel", "Risk of serious harm", FieldKind::OneOf(&ROSH_LEVELS)),
                field("crn", "/crn", "CRN", FieldKind::Line)
                    .hint("Optional. The number of the case in Delius, such as X123456"),
            ],
        )
    },
    CommandForm {
        title: "Plan the handover",
        explanation: "The ledger works the handover dates out from these facts, and records both.",
        button: "Work out and record",
        ..form("handover-plan", Verb::Post, "/prisoners/{number}/handover-plans", &HANDOVER_FACTS)
    },
    CommandForm {
        title: "Override who is responsible",
        explanation: "The service that is chosen here is responsible whatever the handover plan says.",
        is_checked: true,
        ..form(
            "responsibility-override",
            Verb::Put,
            "/prisoners/{number}/responsibility-override",
            &[
                field("responsible", "/responsible", "Who is to be responsible?", FieldKind::OneOf(&SERVICES))
                    .required(),
                field("reason", "/reason", "Why?", FieldKind::OneOf(&RESPONSIBILITY_REASONS)).required(),
                field("detail", "/detail", "Detail", FieldKind::Lines).hint("Only with the last of these reasons"),
            ],
        )
    },
    CommandForm {
        title: "Take the override back",
        explanation: "The handover plan says again who is responsible.",
        button: "Take back",
        ..form("responsibility-override-removal", Verb::Delete, "/prisoners/{number}/responsibility-override", &[])
    },
    CommandForm {
        title: "Record a release",
        explanation: "POM roles, the handover plan and an override end. Releases come from NOMIS by themselves where the \
                      ledger hears of them: record one by hand only if it has not.",
        button: "Record the release",
        is_checked: true,
        prison_pointer: Some("/prison"),
        ..form("release", Verb::Post, "/prisoners/{number}/releases", &[])
    },
    CommandForm {
        title: "Record a transfer",
        explanation: "Both POM roles end, and the case waits at the other prison.",
        button: "Record the transfer",
        is_checked: true,
        ..form(
            "transfer",
            Verb::Post,
            "/prisoners/{number}/transfers",
            &[field("to-prison", "/toPrison", "To which prison?", FieldKind::Line)
                .required()
                .hint("Its code, such as MDI")],
        )
    },
    CommandForm {
        title: "Record a reception",
        explanation: "The person came into a prison. The case waits there to be allocated, once it has a tier.",
        ..form(
            "reception",
            Verb::Post,
            "/prisoners/{number}/receptions",
            &[
                field("prison", "/prison", "Into which prison?", FieldKind::Line)
                    .required()
                    .hint("Its code, such as LEI"),
                field("reason", "/reason", "Why?", FieldKind::OneOf(&RECEPTION_REASONS)).required(),
            ],
        )
    },
    CommandForm {
        title: "Void an entry",
        explanation: "The entry was made in error. It stays in the history, struck through, and no longer counts.",
        button: "Void the entry",
        is_checked: true,
        ..form(
            "void",
            Verb::Post,
            "/prisoners/{number}/voids",
            &[
                field("revision", "/revision", "Which entry?", FieldKind::WholeNumber)
                    .required()
                    .hint("Its number, as the case's page shows it"),
                field("reason", "/reason", "Why was it wrong?", FieldKind::Line).required(),
            ],
        )
    },
    CommandForm {
        title: "Merge another number into this one",
        explanation: "NOMIS has merged two numbers of one person. The other number's case goes on under this one.",
        is_checked: true,
        ..form(
            "merge",
            Verb::Post,
            "/prisoners/{number}/merges",
            &[field("removed-number", "/removedNumber", "Which number was removed?", FieldKind::Line)
                .required()
                .hint("Such as A1234BC")],
        )
    },
];

static HANDOVER_FACTS: [FormField; 19] = [
    field(
        "indeterminate",
        "/indeterminate",
        "An indeterminate sentence: life, or for public protection",
        FieldKind::Flag,
    )
    .required(),
    field("sentence-start", "/sentenceStartDate", "Sentence start date", FieldKind::Day),
    field("tariff", "/tariffDate", "Tariff expiry date (TED)", FieldKind::Day),
    field("hearing", "/targetHearingDate", "Target hearing date (THD)", FieldKind::Day),
    field("parole", "/paroleEligibilityDate", "Parole eligibility date (PED)", FieldKind::Day),
    field("conditional", "/conditionalReleaseDate", "Conditional release date (CRD)", FieldKind::Day),
    field("automatic", "/automaticReleaseDate", "Automatic release date (ARD)", FieldKind::Day),
    field("determinate-parole", "/determinateParole", "A determinate sentence with parole", FieldKind::Flag),
    field(
        "additional-isp",
        "/additionalIndeterminateSentence",
        "Another indeterminate sentence is still to be served",
        FieldKind::Flag,
    ),
    field("recalled", "/recalled", "Recalled from licence", FieldKind::Flag),
    field("immigration", "/immigrationCase", "An immigration case", FieldKind::Flag),
    field("not-released", "/paroleOutcomeNotRelease", "The parole board decided against release", FieldKind::Flag),
    field("mappa", "/mappaLevel", "MAPPA level", FieldKind::WholeNumber)
        .hint("1, 2 or 3. Leave it empty if there is none"),
    field("early-allocation", "/earlyAllocation", "Early allocation to the community team was agreed", FieldKind::Flag),
    field("open-conditions", "/inOpenConditions", "In open conditions", FieldKind::Flag),
    field("open-rules", "/openPrisonRulesApply", "The open-prison rules apply", FieldKind::Flag),
    field("womens-estate", "/womensEstate", "Held in the women's estate", FieldKind::Flag),
    field("category-since", "/categoryActiveSince", "Day on which the category became open", FieldKind::Day)
        .hint("Women's estate only"),
    field("arrival", "/prisonArrivalDate", "Day of arrival at the open prison", FieldKind::Day)
        .hint("Men's estate only"),
];

/// The forms of a prison.
static OF_PRISON: [CommandForm; 1] = [CommandForm {
    title: "Register a POM",
    explanation: "The POM is put on the prison's roster and can take cases.",
    ..form(
        "pom-registration",
        Verb::Post,
        "/prisons/{prison}/poms",
        &[
            field("staff-id", "/staffId", "Staff id in NOMIS", FieldKind::WholeNumber).required(),
            field("name", "/name", "Name", FieldKind::Line).required().hint("Surname, Forename"),
            field("kind", "/kind", "Kind", FieldKind::OneOf(&POM_KINDS)).required(),
            field("working-pattern", "/workingPattern", "Working pattern", FieldKind::Decimal)
                .hint("Share of full time in tenths, such as 0.6. Leave it empty for full time"),
            field("email", "/email", "Work email address", FieldKind::Line).hint("Optional"),
        ],
    )
}];

/// The forms of a POM at a prison.
static OF_POM: [CommandForm; 2] = [
    CommandForm {
        title: "Change the status",
        explanation: "Whether the POM takes new cases and holds cases.",
        is_checked: true,
        ..form(
            "status",
            Verb::Put,
            "/prisons/{prison}/poms/{staffId}/status",
            &[
                field("status", "/status", "Status", FieldKind::OneOf(&POM_STATUSES)).required(),
                field("returns-on", "/returnsOn", "Back on", FieldKind::Day).hint("Only for a POM who is unavailable"),
                field("reason", "/reason", "Reason", FieldKind::Line).hint("Optional"),
            ],
        )
    },
    CommandForm {
        title: "Change the details",
        explanation: "What stays empty stays as it is.",
        ..form(
            "details",
            Verb::Patch,
            "/prisons/{prison}/poms/{staffId}",
            &[
                field("name", "/name", "Name", FieldKind::Line).hint("Surname, Forename"),
                field("kind", "/kind", "Kind", FieldKind::OneOf(&POM_KINDS)),
                field("working-pattern", "/workingPattern", "Working pattern", FieldKind::Decimal)
                    .hint("Share of full time in tenths, such as 0.6"),
                field("email", "/email", "Work email address", FieldKind::Line),
            ],
        )
    },
];

/// The form that moves cases of a POM. Its cases are those that the POM holds.
pub(crate) static REALLOCATION_OF_POM: CommandForm = CommandForm {
    title: "Move cases to another POM",
    explanation: "Each case moves or is refused on its own, and each can be taken back.",
    button: "Move the cases",
    is_checked: true,
    ..form(
        "reallocation",
        Verb::Post,
        "/prisons/{prison}/reallocations",
        &[
            field("cases", "/prisonerNumbers", "Which cases move?", FieldKind::AnyOf(&[])).required(),
            FormField { pointer: "/toStaffId", label: "POM who takes them", ..POM },
            REASON,
            WHY_OTHER_KIND,
            SUITABILITY,
            OTHER_REASON,
        ],
    )
};

/// The form of a case with this part in its address.
pub(crate) fn form_of_case(slug: &str) -> Option<&'static CommandForm> {
    OF_CASE.iter().find(|form| form.slug == slug)
}

/// The form of a prison with this part in its address.
pub(crate) fn form_of_prison(slug: &str) -> Option<&'static CommandForm> {
    OF_PRISON.iter().find(|form| form.slug == slug)
}

/// The form of a POM with this part in its address.
pub(crate) fn form_of_pom(slug: &str) -> Option<&'static CommandForm> {
    OF_POM.iter().find(|form| form.slug == slug)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_form_and_each_field_has_a_name_of_its_own() {
        for forms in [&OF_CASE[..], &OF_PRISON, &OF_POM] {
            assert_eq!(forms.iter().map(|form| form.slug).collect::<BTreeSet<_>>().len(), forms.len());
            for form in forms {
                let names: Vec<_> = form.all_fields().map(|field| field.name).collect();
                assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{}", form.slug);
                assert!(!form.title.is_empty() && !form.explanation.is_empty(), "{}", form.slug);
            }
        }
    }
}
