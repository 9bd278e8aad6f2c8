"""Celery's queue as it lies in RabbitMQ; its messages are told as Redis' transport writes them."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

import amqp
from amqp.exceptions import NotFound

from tests.support.broker import channel, control_rabbitmq
from tests.support.installation import Installation

# What a message's properties carry of those that Redis' transport knows.
_PROPERTIES = ("correlation_id", "reply_to", "priority", "delivery_mode")


class RabbitMqQueue:
    """The queue of one environment; see BrokerQueue."""

    def __init__(self, site: Installation) -> None:
        self._url = site.settings["CELERY_BROKER_URL"]
        self._name = site.group_id

    def __len__(self) -> int:
        with channel(self._url) as ours:
            try:
                return int(ours.queue_declare(self._name, passive=True).message_count)
            except NotFound:
                return 0

    def unacknowledged(self) -> int:
        """How many messages were taken off the queue and are not acknowledged."""
        told = control_rabbitmq("list_queues", "name", "messages_unacknowledged", "--formatter", "json")
        return sum(int(it["messages_unacknowledged"]) for it in json.loads(told) if it["name"] == self._name)

    def messages(self) -> list[bytes]:
        """Every message on the queue; they are taken and put there again, in their order."""
        with channel(self._url) as ours:
            found = []
            while (message := ours.basic_get(self._name, no_ack=True)) is not None:
                found.append(_told(message))
        self.replace(found)
        return found

    def replace(self, messages: Sequence[bytes]) -> None:
        """Put these messages in place of all that lie there; AMQP knows none that is not an envelope."""
        with channel(self._url) as ours:
            ours.confirm_select()
            ours.queue_purge(self._name)
            for message in messages:
                ours.basic_publish_confirm(_made(json.loads(message)), routing_key=self._name, timeout=20)


def queue_exists(url: str, name: str) -> bool:
    """Whether there is a queue of this name."""
    with channel(url) as ours:
        try:
            ours.queue_declare(name, passive=True)
        except NotFound:
            return False
    return True


def _told(message: Any) -> bytes:
    properties = {name: message.properties[name] for name in _PROPERTIES if name in message.properties}
    body = message.body.encode() if isinstance(message.body, str) else message.body
    envelope = {
        "body": base64.b64encode(body).decode(),
        "content-type": message.properties.get("content_type"),
        "content-encoding": message.properties.get("content_encoding"),
        "headers": message.properties.get("application_headers"),
        "properties": properties,
    }
    return json.dumps(envelope).encode()


def _made(envelope: Mapping[str, Any]) -> amqp.Message:
    told = {
        "content_type": envelope.get("content-type"),
        "content_encoding": envelope.get("content-encoding"),
        "application_headers": envelope.get("headers"),
        **{name: (envelope.get("properties") or {}).get(name) for name in _PROPERTIES},
    }
    # AMQP knows no body but bytes
    text = str(envelope.get("body", ""))
    try:
        body = base64.b64decode(text, validate=True)
    except binascii.Error:
        body = text.encode()
    return amqp.Message(body, **{name: value for name, value in told.items() if value is not None})
