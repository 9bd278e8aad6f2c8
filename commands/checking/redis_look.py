"""Looks at Redis in its roles, and at a broker that is none. It sets no key; what scripts it runs only read."""

import math
from contextlib import suppress
from dataclasses import replace
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import KombuError
from prometheus_client import CollectorRegistry
from redis.backoff import NoBackoff
from redis.retry import Retry

from bridge.dispatch import CONNECT_ONCE
from bridge.queue_length import queue_length
from commands.checking.findings import brief, words_of
from commands.checking.redis_seen import BrokerSeen, CourseListsSeen, LedgerSeen, RelationsSeen, ServerSeen
from ledger.config import ledger_config
from ledger.ledger import Ledger
from reconciliation.counters import Counters
from reconciliation.course_list import course_list_key
from reconciliation.errors import LedgerUnavailable, RelationCacheUnavailable
from reconciliation.redis_options import course_list_client, open_redis, relation_cache_arguments, sentinel_access
from reconciliation.relation_cache import RelationCache, connect_redis
from reconciliation.settings import Settings
from reconciliation.settings_urls import is_amqp_url

_PROBE_COURSE = _PROBE_USER = "enrolment-reconciliation-probe"
#: How many keys are looked at for one that holds leaf nodes, and how many of them at a time.
_MOST_KEYS = 20_000
_KEYS_AT_ONCE = 1_000


def look_at_relations(settings: Settings, limit: float) -> RelationsSeen:
    """Look at the relation cache as a worker reads it; each question may take `limit` seconds, or redis.timeout."""
    timeout = min(limit, settings.redis_timeout)
    client = connect_redis(relation_cache_arguments(settings), timeout, repeats=0)
    try:
        client.ping()
        seen = _count_keys(client)
    except (redis.RedisError, OSError) as error:
        return RelationsSeen(trouble=words_of(error))
    finally:
        client.close()
    return replace(seen, refused=_run_script(settings, timeout))


def _count_keys(client: Any) -> RelationsSeen:
    """Count the keys and look for leaf nodes, as far as this user may: a worker needs neither."""
    keys = None
    try:
        keys = int(client.dbsize())
        return RelationsSeen(keys=keys, leaf_nodes=_holds_leaf_nodes(client, keys))
    except redis.exceptions.NoPermissionError as error:
        return RelationsSeen(keys=keys, leaf_nodes=None, unlisted=brief(words_of(error)))


def _holds_leaf_nodes(client: Any, keys: int) -> bool | None:
    """Look for a set of leaf nodes; None where there are more keys than are looked at, and none was among these."""
    cursor, looked_at = 0, 0
    while True:
        cursor, found = client.scan(cursor, match="*:leafnodes", count=_KEYS_AT_ONCE)
        looked_at += _KEYS_AT_ONCE
        if found:
            return True
        if cursor == 0:
            return False
        if looked_at >= _MOST_KEYS:
            return None if keys > _MOST_KEYS else False


def _run_script(settings: Settings, timeout: float) -> str:
    """Read a course that is not there, with the worker's own script; gives why it may not run, or ""."""
    cache = RelationCache(
        server=relation_cache_arguments(settings),
        timeout=timeout,
        counters=Counters(CollectorRegistry()),
        gap_wait=0.0,
    )
    try:
        cache.read({_PROBE_COURSE: ()})
    except RelationCacheUnavailable as error:
        return brief(words_of(error.__cause__ or error))
    finally:
        cache.close()
    return ""


def look_at_course_lists(settings: Settings, limit: float) -> CourseListsSeen:
    """Look at the course service's cache; each question may take `limit` seconds, or enrolment.cache.timeout if less.

    The key whose dropping is tried is that of a learner who is not there.
    """
    client = course_list_client(settings, min(limit, settings.course_list_timeout), repeats=0)
    try:
        client.ping()
        try:
            client.unlink(course_list_key(_PROBE_USER))
        except redis.ResponseError as error:
            return CourseListsSeen(refused=brief(words_of(error)))
    except (redis.RedisError, OSError) as error:
        return CourseListsSeen(trouble=words_of(error))
    finally:
        client.close()
    return CourseListsSeen()


def look_at_broker(app: Celery, settings: Settings, limit: float) -> BrokerSeen:
    """Connect to Celery's broker as the bridge does, and ask for the queue, which is not made by it.

    Each try may take `limit` seconds, or redis.timeout if less.
    """
    timeout = min(limit, settings.redis_timeout)
    is_amqp = is_amqp_url(settings.celery_broker_url)
    names = ("read_timeout", "write_timeout") if is_amqp else ("socket_timeout", "socket_connect_timeout")
    connection = app.connection_for_write(
        connect_timeout=timeout, transport_options={**CONNECT_ONCE, **dict.fromkeys(names, timeout)}
    )
    # what its client may raise is known only once it is made
    errors: tuple[type[BaseException], ...] = (
        KombuError,
        OSError,
        *connection.connection_errors,
        *connection.channel_errors,
    )
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=math.ceil(2 * timeout))
        messages = queue_length(connection, settings.kafka_group_id)
        refused = "" if messages is None or not is_amqp else _refused(app, connection, settings.kafka_group_id)
        return BrokerSeen(messages=messages, refused=refused)
    except errors as error:
        return BrokerSeen(trouble=words_of(error))
    finally:
        with suppress(*errors):
            connection.close()


def _refused(app: Celery, connection: Any, name: str) -> str:
    """Say why RabbitMQ takes a queue that is there for another one than ours, "" where it doesn't."""
    channel = connection.channel()
    try:
        # changes nothing where there is one
        app.amqp.queues[name].bind(channel).queue_declare()
    except connection.channel_errors as error:
        return brief(words_of(error))
    finally:
        channel.close()
    return ""


def look_at_ledger(settings: Settings, limit: float) -> LedgerSeen:
    """Look at the ledger's Redis; each question may take `limit` seconds, or redis.timeout if less."""
    timeout = min(limit, settings.redis_timeout)
    # first without the ledger's own repeats, which would multiply the limit
    client = open_redis(settings.ledger_redis_url, sentinel_access(settings), timeout, retry=Retry(NoBackoff(), 0))
    ledger = Ledger(replace(ledger_config(settings), timeout=timeout))
    try:
        try:
            told: Any = client.info()
            appendfsync = _appendfsync(client)
        except (redis.RedisError, OSError) as error:
            return LedgerSeen(trouble=words_of(error))
        server = ServerSeen(
            version=str(told.get("redis_version", "")),
            role=str(told.get("role", "")),
            policy=str(told.get("maxmemory_policy", "")),
            is_append_only=bool(told.get("aof_enabled", 0)),
            is_append_failing=told.get("aof_last_write_status", "ok") != "ok",
            appendfsync=appendfsync,
            used_bytes=int(told.get("used_memory", 0)),
            most_bytes=int(told.get("maxmemory", 0)),
        )
        try:
            occupancy, held_ms = ledger.occupancy(), ledger.failures_held_ms()
        except LedgerUnavailable as error:
            return LedgerSeen(server=server, refused=brief(words_of(error.__cause__ or error)))
        return LedgerSeen(server=server, open=occupancy.open, counted=occupancy.counted, held_ms=held_ms)
    finally:
        ledger.close()
        client.close()


def _appendfsync(client: Any) -> str:
    """Ask how often the file is written to disk; "" where the server does not tell, as rented ones don't."""
    try:
        told: dict[str, str] = client.config_get("appendfsync")
    except redis.ResponseError:
        return ""
    return told.get("appendfsync", "")
