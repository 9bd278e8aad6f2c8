"""Fills tables with enrolments that are as they should be, and hides among them some of each kind that are not."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent
from cassandra.query import BatchStatement, BatchType, PreparedStatement

from bulk.model import Reason
from reconciliation.model import COMPLETED, IN_PROGRESS, EnrolmentKey
from tests.support.relations import CourseTree, course_of_units

_AT_ONCE = 48
_HELD = 5_000
# how many enrolments one learner of a few has
_MANY = 300
_COMPLETED_ON_MS = 1_700_000_000_000
_TEMPLATES = {"template-1": {"name": "Course completion"}}
_CERTIFICATE = [{"name": "Course completion", "identifier": "certificate-1"}]

#: The kinds that are stuck, and why a scan should choose them.
STUCK: dict[str, tuple[Reason, ...]] = {
    "complete, in progress": (Reason.NOT_COMPLETED, Reason.PROGRESS),
    "complete, no status": (Reason.NOT_COMPLETED, Reason.PROGRESS),
    "complete but for an optional content": (Reason.NOT_COMPLETED,),
    "completed, no completedon": (Reason.NO_COMPLETED_ON,),
    "progress": (Reason.PROGRESS,),
    "contentstatus": (Reason.PROGRESS,),
    "no status": (Reason.PROGRESS,),
    "course aggregate": (Reason.AGGREGATES,),
    "no unit aggregate": (Reason.AGGREGATES,),
    "scores without completedCount": (Reason.AGGREGATES,),
    "completed, unit aggregate": (Reason.AGGREGATES,),
    "retired, unit aggregate": (Reason.AGGREGATES,),
    "inactive, complete": (Reason.NOT_COMPLETED, Reason.PROGRESS),
    "completed, no certificate": (Reason.NO_CERTIFICATE,),
}
#: A course of this kind has no leaf nodes, and nobody knows it as retired.
UNJUDGED = "no leaf nodes"
#: The kinds that are as they should be, with their share of all others.
_SOUND = {"not started": 0.2, "in progress": 0.4, "completed": 0.3, "retired": 0.02, "foreign content": 0.08}


@dataclass(frozen=True, slots=True)
class HiddenShape:
    """How large the tables are; `stuck` is the share that is hidden, over all kinds."""

    enrolments: int = 200_000
    courses: int = 50
    contents: int = 10
    stuck: float = 0.03
    seed: int = 1


@dataclass(slots=True)
class _Rows:
    """What one enrolment's rows hold."""

    contents: dict[str, int | None]
    status: int | None
    completed_on_ms: int | None
    progress: int | None
    content_status: dict[str, int] | None
    counts: dict[str, dict[str, float]]
    active: bool | None = True
    has_certificate: bool = False


class HiddenStuck:
    """The enrolments of a shape: the same shape gives the same. Courses have two units; content 9 is optional.

    A learner has one to four enrolments; one in 2,000 has hundreds.
    """

    def __init__(self, shape: HiddenShape) -> None:
        self.shape = shape
        names = [f"do_{number:04}" for number in range(shape.courses)]
        self.courses = [_course(name, shape.contents) for name in names]
        self.retired = _course("do_retired", shape.contents)
        self.unknown = _course("do_unknown", shape.contents)
        #: What a scan has to find: the reasons by enrolment.
        self.expected: dict[EnrolmentKey, tuple[Reason, ...]] = {}
        self.unjudged: set[EnrolmentKey] = set()

    def sets(self) -> dict[str, set[str]]:
        """Give the relation sets of all courses; retired ones and unknown ones have no leaf nodes of their own."""
        sets: dict[str, set[str]] = {}
        for tree in (*self.courses, self.retired, self.unknown):
            sets |= tree.sets
            sets[f"{tree.course}:{tree.course}:optionalnodes"] = {_content(tree.course, self.shape.contents - 1)}
        for tree in (self.retired, self.unknown):
            del sets[f"{tree.course}:{tree.course}:leafnodes"]
        return sets

    def fill(self, session: Session) -> None:
        """Write all rows, and learn what is to be found."""
        session.execute(
            "CREATE TABLE IF NOT EXISTS course_batch (courseid text, batchid text, "
            "cert_templates map<text, frozen<map<text, text>>>, PRIMARY KEY (courseid, batchid))"
        )
        inserts = _Inserts(session)
        _run(session, inserts.batch_rows([tree.course for tree in (*self.courses, self.retired, self.unknown)]))
        _run(session, (batch for key, rows in self._enrolments() for batch in inserts.batches(key, rows)))

    def _enrolments(self) -> Iterator[tuple[EnrolmentKey, _Rows]]:
        shape, random = self.shape, Random(self.shape.seed)
        made, learner = 0, 0
        while made < shape.enrolments:
            learner += 1
            user_id = f"{random.getrandbits(128):032x}-{learner}"
            many = random.choice([1, 1, 1, 2, 4]) if random.random() > 1 / 2000 else _MANY
            for place in range(min(many, shape.enrolments - made)):
                yield self._enrolment(user_id, place, random)
                made += 1

    def _enrolment(self, user_id: str, place: int, random: Random) -> tuple[EnrolmentKey, _Rows]:
        kind = self._kind(random)
        tree = random.choice(self.courses)
        if kind.startswith("retired"):
            tree = self.retired
        elif kind == UNJUDGED:
            tree = self.unknown
        with_template = "certificate" in kind or random.choice([True, False])
        key = EnrolmentKey(user_id, tree.course, f"{'with' if with_template else 'without'}-{place}")
        rows = _sound(kind, tree, self.shape.contents, random)
        _spoil(kind, tree, self.shape.contents, rows)
        if kind in STUCK:
            self.expected[key] = STUCK[kind]
        elif kind == UNJUDGED:
            self.unjudged.add(key)
        return key, rows

    def _kind(self, random: Random) -> str:
        if random.random() < self.shape.stuck:
            return random.choice([*STUCK, UNJUDGED])
        return random.choices(list(_SOUND), list(_SOUND.values()))[0]


class _Inserts:
    """The statements that fill the tables."""

    def __init__(self, session: Session) -> None:
        self._course_batch = session.prepare(
            "INSERT INTO course_batch (courseid, batchid, cert_templates) VALUES (?, ?, ?)"
        )
        self._consumption = session.prepare(
            "INSERT INTO user_content_consumption (userid, courseid, batchid, contentid, status, progress, viewcount)"
            " VALUES (?, ?, ?, ?, ?, 100, 7)"
        )
        self._enrolment = session.prepare(
            "INSERT INTO user_enrolments (userid, courseid, batchid, status, completedon, progress, contentstatus,"
            " active, issued_certificates, addedby) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'admin')"
        )
        self._aggregate = session.prepare(
            "INSERT INTO user_activity_agg (activity_type, activity_id, user_id, context_id, aggregates)"
            " VALUES ('Course', ?, ?, ?, ?)"
        )

    def batch_rows(self, courses: Iterable[str]) -> Iterator[BatchStatement]:
        """Give the messages that write the courses' batches: those called with-… have a certificate template."""
        for course in courses:
            # the other batches have no row, or none with templates
            yield _batch(
                [
                    *((self._course_batch, (course, f"with-{place}", _TEMPLATES)) for place in range(_MANY)),
                    (self._course_batch, (course, "without-0", None)),
                ]
            )

    def batches(self, key: EnrolmentKey, rows: _Rows) -> Iterator[BatchStatement]:
        """Give the messages that write one enrolment."""
        ids = (key.user_id, key.course_id, key.batch_id)
        certificates = _CERTIFICATE if rows.has_certificate else None
        cells = (rows.status, rows.completed_on_ms, rows.progress, rows.content_status, rows.active, certificates)
        learner = [(self._consumption, (*ids, content, status)) for content, status in rows.contents.items()]
        yield _batch([(self._enrolment, (*ids, *cells)), *learner])
        context = f"cb:{key.batch_id}"
        counts = [
            (self._aggregate, (activity, key.user_id, context, entries)) for activity, entries in rows.counts.items()
        ]
        if counts:
            yield _batch(counts)


def _run(session: Session, statements: Iterator[BatchStatement]) -> None:
    while part := list(islice(statements, _HELD)):
        execute_concurrent(session, [(statement, None) for statement in part], concurrency=_AT_ONCE)


def _batch(writes: Sequence[tuple[PreparedStatement, tuple[object, ...]]]) -> BatchStatement:
    batch = BatchStatement(BatchType.UNLOGGED, consistency_level=ConsistencyLevel.LOCAL_QUORUM)
    for statement, values in writes:
        batch.add(statement, values)
    return batch


def _content(course: str, number: int) -> str:
    return f"{course}_content{number:02}"


def _course(course: str, contents: int) -> CourseTree:
    half = contents // 2
    names = [_content(course, number) for number in range(contents)]
    return course_of_units(course, {f"{course}_unit1": names[:half], f"{course}_unit2": names[half:]})


def _sound(kind: str, tree: CourseTree, contents: int, random: Random) -> _Rows:
    """Make rows of which a reconciliation would change nothing; content `contents` - 1 is optional to the course."""
    names = [_content(tree.course, number) for number in range(contents)]
    if kind == "not started":
        return _Rows({}, random.choice([None, 0]), None, None, None, {})
    is_complete = "complete" in kind
    optional_status = IN_PROGRESS if "optional" in kind else random.choice([IN_PROGRESS, COMPLETED])
    consumed: dict[str, int | None] = dict.fromkeys(names[:-1], COMPLETED)
    if not is_complete:
        # a null status is in progress
        consumed |= dict.fromkeys(random.sample(names[:-1], random.randint(1, contents - 1)), random.choice([None, 1]))
    if optional_status == COMPLETED or is_complete:
        consumed[names[-1]] = optional_status
    if kind == "foreign content":
        consumed["do_foreign"] = 2
    statuses = {content: 1 if status is None else status for content, status in consumed.items()}
    done = {content for content, status in statuses.items() if status == COMPLETED}
    half = contents // 2
    count = len(done & set(names[:-1]))
    units = {
        unit: {"completedCount": float(len(done & set(members))), "score:do_test": 7.0}
        for unit, members in ((f"{tree.course}_unit1", names[:half]), (f"{tree.course}_unit2", names[half:]))
        if set(members) & set(statuses)
    }
    rows = _Rows(consumed, 1, None, count, statuses, units)
    if not kind.startswith("retired"):
        rows.counts[tree.course] = {"completedCount": float(count)}
    if is_complete:
        rows.status, rows.completed_on_ms, rows.has_certificate = 2, _COMPLETED_ON_MS, True
    return rows


def _spoil(kind: str, tree: CourseTree, contents: int, rows: _Rows) -> None:  # noqa: C901 - a case a kind
    """Make rows stuck in the way of a kind; the kinds that are sound stay as they are."""
    unit, course = f"{tree.course}_unit1", tree.course
    match kind:
        case "complete, in progress" | "inactive, complete":
            rows.status, rows.completed_on_ms, rows.progress, rows.has_certificate = 1, None, contents - 2, False
            rows.active = kind != "inactive, complete"
        case "complete, no status":
            rows.status, rows.completed_on_ms, rows.progress, rows.content_status = None, None, None, None
        case "complete but for an optional content":
            rows.status, rows.completed_on_ms, rows.has_certificate = 1, None, False
        case "completed, no completedon":
            rows.completed_on_ms = None
        case "progress":
            rows.progress = contents
        case "contentstatus":
            rows.content_status = {**(rows.content_status or {}), "do_gone": 2}
        case "no status":
            rows.status = None
        case "course aggregate":
            rows.counts[course] = {"completedCount": contents + 1.0}
        case "no unit aggregate":
            rows.counts.pop(unit, None)
        case "scores without completedCount" | "completed, unit aggregate" | "retired, unit aggregate":
            has_count = not kind.startswith("scores")
            rows.counts[unit] = {"score:do_test": 7.0, **({"completedCount": contents + 1.0} if has_count else {})}
        case "completed, no certificate":
            rows.has_certificate = False
        case _:
            pass
