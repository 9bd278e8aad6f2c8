"""Reads the relation sets of courses from Redis (docs/reconciliation.md, relations; docs/relations.md)."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import methodcaller
from typing import Any

import redis
import structlog
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from reconciliation.counters import Counters
from reconciliation.errors import RelationCacheUnavailable, Server
from reconciliation.model import CourseRelations
from reconciliation.redis_options import remedy
from reconciliation.relation_sets import ANCESTORS, LEAF_NODES, FoundSets, SetName, first_names, unit_names

log = structlog.get_logger(__name__)

# One script's sets: a few hundred take a millisecond, in which Redis does nothing else.
_KEYS_A_SCRIPT = 500
# Many sets in one command and in one flat answer, for each its size and then its members, or its error. Writing and
# reading a command for each set costs this process several times as much, and a list within the answer costs Redis 6 a
# write to the socket (scripting.c, luaReplyToRedisReply; networking.c, addReplyDeferredLen: it begins a block anew).
_READ_SETS = """
local answer, size = {}, 0
for _, key in ipairs(KEYS) do
  local members = redis.pcall('SMEMBERS', key)
  answer[size + 1] = members.err or #members
  for at = 1, #members do answer[size + 1 + at] = members[at] end
  size = size + 1 + #members
end
return answer
"""
_READ_SETS_SHA = hashlib.sha1(_READ_SETS.encode(), usedforsecurity=False).hexdigest()
# Long enough that a unit which stays without leaf nodes costs a thread little of its time, and no longer: while it
# lasts, a set that came and went again is not waited for.
_REMEMBERED_SECONDS = 10.0
_LOGIN = "redis.username and redis.password (REDIS_PASSWORD)"
_TLS = "redis.ssl.enabled (REDIS_SSL_ENABLED) and redis.ssl.ca.location (REDIS_SSL_CA_LOCATION)"
_MOST_REMEMBERED = 10_000


_AS_TEXT = methodcaller("decode")


def connect_redis(server: Mapping[str, Any], timeout: float, repeats: int = 1) -> redis.Redis:
    """Return a client of the relation cache's database, which connects at first use.

    `server` holds redis-py's arguments that lead to it (`redis_options.relation_cache_arguments`). `timeout` is in
    seconds; `repeats` is how often it tries again before it says that Redis is away.
    """
    return redis.Redis(
        **server,
        # Every version of Redis speaks it; the newer one needs a server of version 6.
        protocol=2,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        # One more try at once, since Redis or a proxy may have closed a connection that was idle. The default
        # waits between many tries (redis/client.py, Redis.__init__): our own retry policy does that.
        retry=Retry(NoBackoff(), repeats),
        health_check_interval=30,
    )


class RelationCache:
    """The relation sets as another job fills them: it deletes and re-adds a set, so a set may be missing for a moment.

    `server` holds redis-py's arguments that lead to it (`relation_cache_arguments`), `timeout` is in seconds, for
    connecting and for each answer. `gap_wait` is in seconds, the pause before leaf nodes
    that are still missing are asked for once more; `sleep` makes that pause, `clock` gives seconds that never go back.
    Safe for use by several threads; connects at first use.
    """

    name = "redis"
    server = Server.REDIS

    def __init__(
        self,
        *,
        server: Mapping[str, Any],
        timeout: float,
        counters: Counters,
        gap_wait: float = 0.3,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = connect_redis(server, timeout)
        self._counters = counters
        self._gap_wait = gap_wait
        self._sleep = sleep
        self._absent = _AbsentSets(clock)

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()

    def read(self, wanted: Mapping[str, Collection[str]]) -> dict[str, CourseRelations]:
        """Return the relations of each course in `wanted`, which maps a course's id to ids of its contents.

        See `look`. Raises RelationCacheUnavailable.
        """
        found = self.look(wanted)
        self._counters.cache_hits.inc(len(found.sets))
        self._counters.cache_misses.inc(len(found.asked) - len(found.sets))
        return found.by_course(wanted)

    def look(self, wanted: Mapping[str, Collection[str]]) -> FoundSets:
        """Ask for the sets of all courses together, in two round trips, and count nothing.

        Only leaf nodes that are missing cost a further look after `gap_wait`, at all that is missing of their courses.
        Raises RelationCacheUnavailable.
        """
        found = FoundSets()
        self._ask(found, first_names(wanted))
        self._ask(found, [*unit_names(found.units()), *found.missing()])
        # The repeat may have found ancestors that the first look missed, and with them units nobody has asked for.
        self._ask(found, [name for name in unit_names(found.units()) if name not in found.asked])
        self._look_again(found)
        return found

    def sets(self, names: Collection[SetName]) -> FoundSets:
        """Ask for these sets alone, once more for what is missing; raises RelationCacheUnavailable."""
        found = FoundSets()
        self._ask(found, names)
        if missing := found.missing():
            self._sleep(self._gap_wait)
            self._ask(found, missing)
        return found

    def probes(self) -> Mapping[Server, Callable[[], None]]:
        """Give what asks whether Redis is there."""
        return {self.server: self.probe}

    def probe(self) -> None:
        """Raise RelationCacheUnavailable unless Redis answers."""
        try:
            self._redis.ping()
        except (redis.RedisError, OSError) as error:
            raise _unavailable(error) from error

    def _look_again(self, found: FoundSets) -> None:
        missing = found.missing(LEAF_NODES)
        if not all(self._absent.remembers(name) for name in missing):
            self._sleep(self._gap_wait)
            # whose leaf nodes come back may have been in the gap with all its sets: the leaf nodes alone would require
            # what is optional, and name no units
            courses = {name.course_id for name in missing}
            self._ask(found, [name for name in found.missing() if name.course_id in courses])
            self._ask(found, [name for name in unit_names(found.units()) if name not in found.asked])
            self._absent.remember(found.missing(LEAF_NODES))
        # A set that is there again is waited for again when it is next missing.
        self._absent.forget(name for name in found.sets if name.relation == LEAF_NODES)

    def _ask(self, found: FoundSets, names: Iterable[SetName]) -> None:
        distinct = list(dict.fromkeys(names))
        found.asked.update(distinct)
        for name, answer in zip(distinct, self._members([_key(name) for name in distinct]), strict=True):
            members = _decoded(name, answer)
            if members:
                found.sets[name] = members

    def _members(self, keys: list[bytes]) -> list[object]:
        """Give for each key the list of its members, or what Redis said of it."""
        parts = [keys[start : start + _KEYS_A_SCRIPT] for start in range(0, len(keys), _KEYS_A_SCRIPT)]
        try:
            try:
                answers = self._run_scripts(parts)
            except NoScriptError:
                # a Redis that is new, or was started anew, does not have it yet
                self._redis.script_load(_READ_SETS)
                answers = self._run_scripts(parts)
        except (redis.RedisError, OSError) as error:
            raise _unavailable(error) from error
        return [found for answer in answers for found in _sets_of(answer)]

    def _run_scripts(self, parts: Iterable[Sequence[bytes]]) -> list[Any]:
        """Send a script for each part in one round trip; gives the answers."""
        pipeline = self._redis.pipeline(transaction=False)
        for part in parts:
            pipeline.evalsha(_READ_SETS_SHA, len(part), *part)
        return pipeline.execute()


def _sets_of(answer: list[Any]) -> Iterator[object]:
    """Take the flat answer of `_READ_SETS` apart again."""
    at = 0
    while at < len(answer):
        size = answer[at]
        if isinstance(size, int):
            yield answer[at + 1 : at + 1 + size]
            at += 1 + size
        else:
            yield size
            at += 1


def _key(name: SetName) -> bytes:
    # surrogatepass: a name that UTF-8 can't carry is a set that isn't there, and spoils nobody else's read.
    return str(name).encode("utf-8", "surrogatepass")


class _AbsentSets:
    """Remembers for a while which leaf nodes no wait has brought, so that a stale unit does not slow every group."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: OrderedDict[SetName, float] = OrderedDict()
        self._lock = threading.Lock()

    def remembers(self, name: SetName) -> bool:
        with self._lock:
            return self._until.get(name, float("-inf")) > self._clock()

    def remember(self, names: Iterable[SetName]) -> None:
        with self._lock:
            for name in names:
                self._until[name] = self._clock() + _REMEMBERED_SECONDS
                self._until.move_to_end(name)
            while len(self._until) > _MOST_REMEMBERED:
                self._until.popitem(last=False)

    def forget(self, names: Iterable[SetName]) -> None:
        with self._lock:
            for name in names:
                self._until.pop(name, None)


def _decoded(name: SetName, answer: object) -> frozenset[str] | None:
    if isinstance(answer, bytes) and answer.startswith(b"WRONGTYPE"):
        log.warning("a relation key is no set, it is taken as missing", course=name.course_id, key=repr(_key(name)))
        return None
    if not isinstance(answer, list):
        raise RelationCacheUnavailable(f"the relation cache gave {answer!r} instead of a set")
    try:
        return frozenset(map(_AS_TEXT, answer))
    except UnicodeDecodeError:
        log.warning("a relation set holds members that are no UTF-8", course=name.course_id, key=repr(_key(name)))
    # What is no UTF-8 stays a member that no content matches: a course must not become easier to complete by it.
    members = frozenset(member.decode("utf-8", "surrogateescape") for member in answer)
    # Such an ancestor can't be the id of any row, so there is no unit to write.
    return frozenset(filter(_is_text, members)) if name.relation == ANCESTORS else members


def _is_text(member: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in member)


def _unavailable(error: Exception) -> RelationCacheUnavailable:
    return RelationCacheUnavailable(f"the relation cache did not answer: {remedy(error, _LOGIN, _TLS)}")
