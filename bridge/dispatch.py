"""Sends tickets to the workers through Celery, as a producer only: no task is loaded here."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from celery import Celery
from kombu import Connection, Producer
from kombu.exceptions import KombuError

from ledger.entries import Swept, Ticket
from ledger.messages import RECONCILE_TASK, encode_message, summary
from reconciliation.broker_options import MADE_OTHERWISE, made_otherwise
from reconciliation.redis_options import remedy

log = structlog.get_logger(__name__)

#: Without a limit kombu tries for ever to connect (kombu/connection.py, Connection.default_channel); one retry is
#: enough to reach the second of two brokers, and the bridge itself tries again later.
CONNECT_ONCE = {"max_retries": 1, "interval_start": 0.1, "interval_step": 0, "interval_max": 0.1}

#: How RabbitMQ's client tells that a message waits behind others until memory or disk is free again.
_BLOCKED = "it takes no messages for now, since it has too little memory or disk left (rabbitmqctl status, Alarms)"

_LOGIN = "user and password in celery.broker.url (CELERY_BROKER_URL)"
_TLS = "celery.broker.url (CELERY_BROKER_URL) and celery.broker.ssl.ca.location (CELERY_BROKER_SSL_CA_LOCATION)"


@dataclass(frozen=True, slots=True)
class BulkLane:
    """The queue of bulk runs' messages, and how many tickets one of these carries at most."""

    queue: str
    group_size: int


class BrokerUnavailable(Exception):
    """Raised when Celery's broker did not take a message; the message may still arrive, which does no harm."""


def make_app() -> Celery:
    """Make the Celery app that messages are sent with, under the same settings as the workers'.

    Raises SystemExit where these can't be read.
    """
    app = Celery("enrolment-reconciliation-bridge", set_as_current=False)
    # at once, not with the first message: what is wrong with it is told at the start
    app.config_from_object("celeryconfig", force=True)
    return app


def grouped(tickets: Sequence[Ticket], size: int) -> list[Sequence[Ticket]]:
    """Share tickets out among groups of at most `size`, of as few courses as that allows.

    An attempt reads the relation sets of each of its group's courses once, however many requests name the course.
    """
    by_course = sorted(tickets, key=lambda ticket: ticket.course_id)
    return [by_course[at : at + size] for at in range(0, len(by_course), size)]


class Dispatcher:
    """Sends messages through one connection that is held open. Not for use by several threads.

    Args:
        app: Celery's settings.
        group_size: how many tickets a message carries at most.
        bulk: where bulk runs' messages go; None where they go with all others.

    """

    def __init__(self, app: Celery, group_size: int, bulk: BulkLane | None = None) -> None:
        self._app = app
        self._group_size = group_size
        self._bulk = bulk
        self._connection: Connection | None = None
        self._producer: Producer | None = None
        self._is_blocked = False
        self._errors: tuple[type[BaseException], ...] = (KombuError, OSError)

    def send(self, tickets: Sequence[Ticket]) -> None:
        """Send tickets in groups. Raises BrokerUnavailable; what was sent before may be sent again."""
        clicks = [ticket for ticket in tickets if not ticket.run]
        runs = [ticket for ticket in tickets if ticket.run]
        sizes = (self._group_size, self._group_size if self._bulk is None else self._bulk.group_size)
        for lane, size in zip((clicks, runs), sizes, strict=True):
            for group in grouped(lane, size):
                self._send_group(group)

    def send_swept(self, swept: Sequence[Swept]) -> None:
        """Send overdue entries, those that must not share a message alone. Raises BrokerUnavailable."""
        for overdue in swept:
            if overdue.alone:
                self._send_group([overdue.ticket])
        self.send([overdue.ticket for overdue in swept if not overdue.alone])

    def close(self) -> None:
        """Close the connection."""
        self._drop(Connection.close)

    def _send_group(self, tickets: Sequence[Ticket]) -> None:
        held = self._producer is not None
        try:
            self._publish(tickets)
        except BrokerUnavailable:
            if not held:
                raise
            # a connection that was held may just have been closed by the other side while nothing was sent
            self._publish(tickets)

    def _drop(self, end: Callable[[Connection], None]) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            try:
                # whom RabbitMQ has blocked it does not hear
                (Connection.collect if self._is_blocked else end)(connection)
            except self._errors as error:
                log.debug("closing the broker's connection failed", error=str(error))

    def _publish(self, tickets: Sequence[Ticket]) -> None:
        described = summary(tickets)
        producer = self._open()
        # a lane is one queue or the other for all of a group
        queue: dict[str, Any] = {} if self._bulk is None or not tickets[0].run else {"queue": self._bulk.queue}
        try:
            self._app.send_task(
                RECONCILE_TASK,
                kwargs=encode_message(tickets),
                # all tries of one request stand under one id in Flower
                task_id=tickets[0].entry_id if len(tickets) == 1 else str(uuid.uuid4()),
                argsrepr=described,
                # they say the same as the arguments
                kwargsrepr="{}",
                producer=producer,
                retry=False,
                ignore_result=True,
                # RabbitMQ's word that it has the message, in seconds
                confirm_timeout=self._app.conf.broker_connection_timeout,
                **queue,
            )
        except self._errors as error:
            reason = self._reason(error)
            # nothing is asked of a broker any more that may hang
            self._drop(Connection.collect)
            raise BrokerUnavailable(reason) from error

    def _reason(self, error: BaseException) -> str:
        told = remedy(error, _LOGIN, _TLS)
        if made_otherwise(error):
            return f"{told}; {MADE_OTHERWISE}"
        return f"{told}: {_BLOCKED}" if self._is_blocked else told

    def _open(self) -> Producer:
        if self._producer is None:
            self._is_blocked = False
            # Redis' transport knows none of these. A worker's events are not confirmed: each would hold up its loop.
            confirmed = {"confirm_publish": True, "on_blocked": self._blocked, "on_unblocked": self._unblocked}
            self._connection = self._app.connection_for_write(transport_options={**CONNECT_ONCE, **confirmed})
            self._errors = (
                KombuError,
                OSError,
                *self._connection.connection_errors,
                *self._connection.channel_errors,
                # among them a message that RabbitMQ refused
                *self._connection.recoverable_connection_errors,
            )
            self._producer = self._app.amqp.Producer(self._connection)
        return self._producer

    def _blocked(self, _reason: str) -> None:
        self._is_blocked = True

    def _unblocked(self) -> None:
        self._is_blocked = False
