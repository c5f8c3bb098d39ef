#!/usr/bin/env python3
"""Prints the ledger's events from a KurrentDB server.

Needs the official Python client of the server (`pip install kurrentdbclient`) and no program of the
ledger. Each line is byte for byte the line that `allocation-ledger replay --raw` prints for the event,
in the same order.
"""

import argparse
import json
import re
import sys

from kurrentdbclient import KurrentDBClient


def line(event):
    """An event as a line. The recorded bytes are copied, not parsed and written again."""
    # {"eventId":"…","recordedAt":"…","appendId":"…","stream":"…","generation":0,"ledger":…}
    stored = event.metadata
    envelope = json.loads(stored)
    recorded_at = envelope["recordedAt"]
    # The shorter of three and six digits, where both say the same.
    recorded_at = re.sub(r"(\.000)?000Z$", "Z", recorded_at)
    _, mark, metadata = stored.partition(b'"ledger":')
    if not mark:
        sys.exit(f"the event at position {event.commit_position} was not written by a ledger")
    head = {
        # The name on the server tells nothing of a person.
        "stream": envelope["stream"],
        "revision": event.stream_position,
        "eventId": envelope["eventId"],
        "type": event.type,
        "recordedAt": recorded_at,
    }
    head = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    return head[:-1] + b',"metadata":' + metadata[:-1] + b',"data":' + event.data + b"}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="as the ledger is given it, e.g. kurrentdb://localhost:2113?tls=false")
    parser.add_argument("--prefix", default="ledger-", help="what the ledger's streams begin with (default: ledger-)")
    arguments = parser.parse_args()
    client = KurrentDBClient(uri=arguments.url)
    try:
        events = client.read_all(
            filter_include=[arguments.prefix], filter_by_stream_name=True, filter_by_prefix=True
        )
        for event in events:
            sys.stdout.buffer.write(line(event))
    finally:
        client.close()


if __name__ == "__main__":
    main()
