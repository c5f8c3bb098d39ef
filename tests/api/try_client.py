"""Generates a client from an OpenAPI document and uses it.

Arguments: the document, the address of a serving ledger with the demonstration in it. The folder
that it runs in takes the client.
"""

import json
import subprocess
import sys

import jsonschema_rs

document, address = sys.argv[1:]
generator = [sys.executable, "-c", "from openapi_python_client.cli import app; app()"]
options = ["generate", "--path", document, "--meta", "none", "--output-path", "ledger_client", "--fail-on-warning"]
generated = subprocess.run(generator + options, capture_output=True, text=True)
said = generated.stdout + generated.stderr
assert generated.returncode == 0 and "arning" not in said, said

from ledger_client import Client, models  # noqa: E402
from ledger_client.api.commands_to_a_case import assign_tier  # noqa: E402
from ledger_client.api.questions_about_a_case import get_responsibility  # noqa: E402
from ledger_client.api.the_log_and_the_views import list_events  # noqa: E402

client = Client(base_url=address)

# Answers are read as what they are.
answer = get_responsibility.sync("A1000AA", client=client)
assert answer.phase in models.Phase, answer
refused = get_responsibility.sync("A9999ZZ", client=client)
assert refused.code == "prisoner-unknown" and isinstance(refused, models.Problem), refused

# Each event has the data that the schema of its type describes, also for the client.
described = json.load(open(document))
page = list_events.sync(client=client, limit=1000)
assert len(page) > 500, page
for event in page:
    schema = described | {"$ref": f"#/components/schemas/{event.type_}"}
    jsonschema_rs.validator_for(schema).validate(event.data.to_dict())
    data = getattr(models, event.type_).from_dict(event.data.to_dict())
    assert data.to_dict().keys() == event.data.to_dict().keys(), (event.type_, event.data)
    assert not data.additional_properties, (event.type_, data.additional_properties)

# A later version has types of events and codes that this client does not know.
later = page[0].to_dict() | {"type": "CaseTransformed", "data": {"into": "B"}}
event = models.RecordedEvent.from_dict(later)
assert (event.type_, event.data["into"]) == ("CaseTransformed", "B"), event
problem = models.Problem.from_dict(refused.to_dict() | {"code": "moon-in-the-way"})
assert problem.code == "moon-in-the-way", problem

# A word that a request does not have is refused by the client, before it is sent.
try:
    models.AssignTier.from_dict({"tier": "B", "source": "MANAUL"})
except ValueError:
    pass
else:
    raise AssertionError("a misspelt word was taken")
recorded = assign_tier.sync("A1199AA", client=client, body=models.AssignTier(tier="C1", source=models.TierSource.MANUAL))
assert recorded.events[0].type_ == "TierAssigned", recorded
print(json.dumps({"events": len(page)}))
