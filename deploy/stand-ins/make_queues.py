"""Makes the topic and the queues of the estate on a server that stands in for AWS.

The address of the server and the credentials come from the environment, as for every program with
AWS's client. It may run again: what is there stays.
"""

import json

import boto3

TOPIC = "domain-events"
QUEUE = "ledger-domain-events"
DEAD_LETTERS = "ledger-domain-events-dlq"
SUBSCRIBER = "subscriber"
AUDIT = "audit"

# As in the estate.
RECEIVES_MAX = 3

# The events that the ledger reads.
READ_TYPES = [
    "prisoner-offender-search.prisoner.released",
    "prisoner-offender-search.prisoner.received",
    "prison-offender-events.prisoner.merged",
    "prison-offender-events.prisoner.booking.moved",
    "tier.calculation.changed",
    "OFFENDER_MANAGER_CHANGED",
    "OFFENDER_OFFICER_CHANGED",
    "OFFENDER_DETAILS_CHANGED",
    "person.community.manager.allocated",
    "probation-case.registration.added",
    "probation-case.registration.updated",
    "probation-case.registration.deleted",
    "probation-case.registration.deregistered",
    "probation-case.prison-identifier.added",
    "probation-case.merge.completed",
    "probation-case.unmerge.completed",
    "probation-case.deleted.gdpr",
    "prisoner-offender-search.prisoner.updated",
    "prisoner-offender-search.prisoner.removed",
    "DATA_COMPLIANCE_DELETE-OFFENDER",
]


def main():
    sqs, sns = boto3.client("sqs"), boto3.client("sns")

    def make_queue(name, **attributes):
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        print(f"queue {name}: {url}")
        return arn

    dead_letters = make_queue(DEAD_LETTERS)
    redrive = json.dumps({"deadLetterTargetArn": dead_letters, "maxReceiveCount": RECEIVES_MAX})
    queue = make_queue(QUEUE, RedrivePolicy=redrive)
    # Gets all that the ledger publishes, so that a person can look at it.
    subscriber = make_queue(SUBSCRIBER)
    make_queue(AUDIT)

    topic = sns.create_topic(Name=TOPIC)["TopicArn"]
    only_read = {"FilterPolicy": json.dumps({"eventType": READ_TYPES})}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue, Attributes=only_read)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=subscriber)
    print(f"topic {TOPIC}: {topic}")


if __name__ == "__main__":
    main()
