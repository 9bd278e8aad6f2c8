"""What was seen of Redis in its roles, and what that means for the product (docs/reliability.md, Redis). Pure."""

from dataclasses import dataclass, replace

from commands.checking.findings import Finding, State, named, not_looked_at, unreachable
from reconciliation.broker_options import MADE_OTHERWISE
from reconciliation.settings import Settings
from reconciliation.settings_sources import shown

RELATIONS = "relation cache"
BROKER = "Celery's broker"
LEDGER = "ledger"
COURSE_LISTS = "course list cache"

#: From this share of its memory on, a Redis that evicts nothing will soon refuse what is new.
_FULL_SHARE = 0.8
_MEBIBYTE = 2**20
#: The oldest version that the product is tried with.
_OLDEST_VERSION = 6


@dataclass(frozen=True, slots=True)
class RelationsSeen:
    """The relation cache. `trouble` is what the client said where it could not be asked; then the rest is empty.

    `keys` is None where they may not be counted. `leaf_nodes` says whether a set of them was found, None where not all
    keys were looked at. `unlisted` is why keys may not be counted or listed, `refused` why scripts may not run, or "".
    """

    trouble: str = ""
    keys: int | None = 0
    leaf_nodes: bool | None = False
    unlisted: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class CourseListsSeen:
    """The course service's cache: why it could not be asked, or why no key may be dropped; "" where none is."""

    trouble: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class BrokerSeen:
    """Celery's broker; `messages` counts those that wait in the queue, None where there is no such queue yet.

    `refused` is why RabbitMQ does not take the queue for ours, or "".
    """

    trouble: str = ""
    messages: int | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """What the ledger's Redis says of itself; `appendfsync` is "" where it does not tell, `most_bytes` 0 for no end."""

    version: str
    role: str
    policy: str
    is_append_only: bool
    is_append_failing: bool
    appendfsync: str
    used_bytes: int
    most_bytes: int


@dataclass(frozen=True, slots=True)
class LedgerSeen:
    """The ledger: how many requests are `open`, how many of them its bound counts, and how long failures are held.

    `trouble` is what the client said where Redis could not be asked, `refused` why the ledger's scripts may not run.
    """

    trouble: str = ""
    server: ServerSeen | None = None
    refused: str = ""
    open: int = 0
    counted: int = 0
    held_ms: int = 0


def judge_relations(settings: Settings, seen: RelationsSeen) -> list[Finding]:
    """Say what was found of the relation cache, a row a check."""
    database = named("redis.database.relationCache.id")
    address = f"{settings.redis_host}:{settings.redis_port}, database {settings.relation_cache_database}"
    if seen.trouble:
        servers = named("redis.host", "redis.port")
        if "DB index" in seen.trouble:
            step = f"correct {database}: that server has fewer databases"
            away = Finding(RELATIONS, "answers", State.WRONG, f"{address}: {seen.trouble}", step)
        else:
            tls = f"have both sides speak TLS, or none: {named('redis.ssl.enabled', 'redis.ssl.ca.location')}"
            login = f"correct {named('redis.username', 'redis.password')}"
            away = unreachable(RELATIONS, "answers", seen.trouble, address, servers, tls=tls, password=login)
        return [away, *not_looked_at(RELATIONS, ["leaf nodes", "scripts"], "the relation cache does not answer")]
    keys = "" if seen.keys is None else f": {seen.keys} keys"
    return [
        Finding(RELATIONS, "answers", State.OK, f"{address}{keys}"),
        _judge_leaf_nodes(seen, database),
        _judge_scripts(RELATIONS, seen.refused),
    ]


def _judge_leaf_nodes(seen: RelationsSeen, database: str) -> Finding:
    what = "leaf nodes"
    if seen.unlisted:
        return Finding(RELATIONS, what, State.NOT_LOOKED_AT, f"+dbsize and +scan would let it: {seen.unlisted}")
    if seen.leaf_nodes:
        return Finding(RELATIONS, what, State.OK, "there are sets of leaf nodes")
    if seen.leaf_nodes is None:
        detail = f"no key *:leafnodes among the first of {seen.keys}"
        return Finding(RELATIONS, what, State.WARNING, detail, f"see whether {database} names the right database")
    step = f"correct {database}, or have the relations filled: without them requests fail as RELATIONS_MISSING"
    return Finding(RELATIONS, what, State.WARNING, "no key *:leafnodes in this database", step)


def _judge_scripts(server: str, refused: str) -> Finding:
    if refused:
        step = "allow this client EVALSHA and SCRIPT LOAD: every read is a script"
        return Finding(server, "scripts", State.WRONG, refused, step)
    return Finding(server, "scripts", State.OK, "may run")


def judge_course_lists(settings: Settings, seen: CourseListsSeen) -> list[Finding]:
    """Say what was found of the course service's cache, a row a check. What is amiss stops nothing: it is a warning."""
    own = settings.course_list_redis_url
    beside = f"{settings.redis_host}:{settings.redis_port}, database 0"
    address = beside if own is None else shown(own, secret=True).strip("'")
    servers = named("enrolment.cache.redis.url") if own is not None else named("redis.host", "redis.port")
    if seen.trouble:
        away = unreachable(COURSE_LISTS, "answers", seen.trouble, address, servers)
        return [
            replace(away, state=State.WARNING),
            *not_looked_at(COURSE_LISTS, ["keys"], "the cache does not answer"),
        ]
    found = [Finding(COURSE_LISTS, "answers", State.OK, address)]
    if seen.refused:
        step = f"name a master, and a user that may UNLINK: {servers}; till then learners see older lists for a while"
        return [*found, Finding(COURSE_LISTS, "keys", State.WARNING, seen.refused, step)]
    return [*found, Finding(COURSE_LISTS, "keys", State.OK, "may be dropped")]


def judge_broker(settings: Settings, seen: BrokerSeen) -> list[Finding]:
    """Say what was found of Celery's broker, a row a check."""
    address = shown(settings.celery_broker_url, secret=True).strip("'")
    if seen.trouble:
        away = unreachable(BROKER, "answers", seen.trouble, address, named("celery.broker.url"))
        return [away, *not_looked_at(BROKER, ["queue"], "the broker does not answer")]
    if seen.refused:
        told = f"{settings.kafka_group_id}: {seen.refused}"
        return [
            Finding(BROKER, "answers", State.OK, address),
            Finding(BROKER, "queue", State.WRONG, told, MADE_OTHERWISE),
        ]
    waiting = "not made yet" if seen.messages is None else f"{seen.messages} messages wait"
    return [
        Finding(BROKER, "answers", State.OK, address),
        Finding(BROKER, "queue", State.OK, f"{settings.kafka_group_id}: {waiting}"),
    ]


def judge_ledger(settings: Settings, seen: LedgerSeen) -> list[Finding]:
    """Say what was found of the ledger and its Redis, a row a check."""
    address = shown(settings.ledger_redis_url, secret=True).strip("'")
    of_ledger = ["scripts", "open requests", "final failures"]
    if seen.server is None:
        away = unreachable(LEDGER, "answers", seen.trouble, address, named("ledger.redis.url"))
        rest = ["role", "eviction", "append-only file", "memory", *of_ledger]
        return [away, *not_looked_at(LEDGER, rest, "the ledger's Redis does not answer")]
    found = [
        _judge_version(address, seen.server.version),
        _judge_role(seen.server.role),
        _judge_eviction(seen.server.policy),
        _judge_file(seen.server),
        _judge_memory(seen.server),
        _judge_scripts(LEDGER, seen.refused),
    ]
    if seen.refused:
        return [*found, *not_looked_at(LEDGER, of_ledger[1:], "the ledger's scripts may not run")]
    return [*found, _judge_open(settings, seen), _judge_failures(seen.held_ms)]


def _judge_version(address: str, version: str) -> Finding:
    first = version.split(".", maxsplit=1)[0]
    if first.isdecimal() and int(first) < _OLDEST_VERSION:
        detail = f"{address}: version {version}"
        step = f"take version {_OLDEST_VERSION} or newer, which the product is tried with"
        return Finding(LEDGER, "answers", State.WARNING, detail, step)
    return Finding(LEDGER, "answers", State.OK, f"{address}: version {version or 'not told'}")


def _judge_role(role: str) -> Finding:
    if role == "master":
        return Finding(LEDGER, "role", State.OK, role)
    step = f"name the master, since a replica takes no writes: {named('ledger.redis.url')}"
    return Finding(LEDGER, "role", State.WRONG, role or "not told", step)


def _judge_eviction(policy: str) -> Finding:
    # not told counts as right, as it does where bridges and workers start (ledger/ledger.py, Ledger.verify)
    if policy in ("noeviction", ""):
        return Finding(LEDGER, "eviction", State.OK, policy or "not told")
    step = f"CONFIG SET maxmemory-policy noeviction, or another Redis: {named('ledger.redis.url')}"
    detail = f"maxmemory-policy is {policy}, which may throw open requests away: nothing starts with it"
    return Finding(LEDGER, "eviction", State.WRONG, detail, step)


def _judge_file(server: ServerSeen) -> Finding:
    what = "append-only file"
    if not server.is_append_only:
        step = "CONFIG SET appendonly yes, and in its configuration file: without it a restart loses what is open"
        return Finding(LEDGER, what, State.WARNING, "off", step)
    told = f"on, appendfsync {server.appendfsync or 'not told'}"
    if server.is_append_failing:
        return Finding(
            LEDGER, what, State.WRONG, f"{told}; the last write to it failed", "see whether its disk is full"
        )
    if server.appendfsync == "no":
        step = "CONFIG SET appendfsync everysec: a crash of its host may lose half a minute of what was accepted"
        return Finding(LEDGER, what, State.WARNING, told, step)
    return Finding(LEDGER, what, State.OK, told)


def _judge_memory(server: ServerSeen) -> Finding:
    used = f"{server.used_bytes / _MEBIBYTE:.1f} MiB"
    if server.most_bytes == 0:
        return Finding(LEDGER, "memory", State.OK, f"{used} used, no maxmemory")
    told = f"{used} used of maxmemory {server.most_bytes / _MEBIBYTE:.1f} MiB"
    if server.used_bytes >= _FULL_SHARE * server.most_bytes:
        step = "raise its maxmemory, or free some: once it is full nothing new is accepted"
        return Finding(LEDGER, "memory", State.WARNING, told, step)
    return Finding(LEDGER, "memory", State.OK, told)


def _judge_open(settings: Settings, seen: LedgerSeen) -> Finding:
    told = f"{seen.open} open, of which {seen.counted} count towards {settings.ledger_max_open} (ledger.max.open)"
    if seen.counted >= settings.ledger_max_open:
        step = f"add workers, or see why they don't keep up; {named('ledger.max.open')} is the bound"
        return Finding(LEDGER, "open requests", State.WARNING, told, step)
    return Finding(LEDGER, "open requests", State.OK, told)


def _judge_failures(held_ms: int) -> Finding:
    if held_ms > 0:
        detail = f"too many of late: consumption is stopped, for another {held_ms / 1000:.0f} s at least"
        step = "read why in the workers' log, mend it, then `enrolment-reconciliation resume`"
        return Finding(LEDGER, "final failures", State.WRONG, detail, step)
    return Finding(LEDGER, "final failures", State.OK, "consumption is not stopped by them")
