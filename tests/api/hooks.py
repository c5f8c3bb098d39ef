"""The dates that the ledger takes, and the check that it takes what its document allows."""

import datetime

import schemathesis
from hypothesis import strategies as st

# The years of `domain::moment::YEARS`; a day less at either end, where an offset changes the year.
FIRST, LAST = datetime.date(1900, 1, 2), datetime.date(2199, 12, 30)

schemathesis.openapi.format("date", st.dates(FIRST, LAST).map(str))
schemathesis.openapi.format(
    "date-time",
    st.datetimes(
        datetime.datetime.combine(FIRST, datetime.time.min),
        datetime.datetime.combine(LAST, datetime.time.max),
    ).map(lambda at: at.isoformat() + "Z"),
)


@schemathesis.hook
def map_headers(ctx, headers):
    """Leaves out the one header that a test of its own tries: a position that the views have not
    come to is waited for, and then a 503."""
    if headers:
        headers.pop("Ledger-Position-At-Least", None)
    return headers


# Refusals of a well-formed request that depend on more than the request, and that no schema can
# tell: a cursor is taken from an answer, a position must be one that the ledger has, and of a
# subject access request one of two identifiers must be there.
STATE_CODES = {"cursor-invalid", "parameter-missing", "identifiers-both"}
STATE_TEXTS = ("past the ledger's end", "the log ends at position", "is after to", "is still to come", "the period has")

# Members of a job that its kind or its view has not, or that it needs.
JOB_TEXTS = (
    "only an export has this",
    "an export is of one view",
    "there is no view `",
    "the log has no periods",
    "an event may be about two prisons",
    "say of which day",
    "is not over yet",
)

# Parameters of an upload whose form docs/importing.md says, and no schema.
UPLOAD_PARAMETERS = {"file-name", "map", "pom-kind", "sheet"}

# JSON Schema takes 3.0 for a whole number. The program does not: `docs/api.md` says how to write one.
# Of tenths it says nothing: validators that divide as machines do would refuse 0.3.
POINT_TEXTS = ("floating point", "not a whole number; write one such as", "in tenths")


@schemathesis.check
def accepts_what_the_document_allows(ctx, response, case):
    """Replaces `positive_data_acceptance`, which knows statuses alone."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    # The coverage phase sends an empty one, which the pattern does not allow.
    if case.headers.get("If-Match") == "":
        return
    problem = response.json()
    is_state = any(text in problem["detail"] for text in STATE_TEXTS + JOB_TEXTS)
    has_point = any(text in problem["detail"] for text in POINT_TEXTS)
    of_upload = any(fault.get("parameter") in UPLOAD_PARAMETERS for fault in problem.get("errors", []))
    assert problem["code"] in STATE_CODES or is_state or has_point or of_upload, f"a valid request was refused: {problem['detail']}"
