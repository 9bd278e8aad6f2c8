"""The domain's I/O on the tests' own servers: rows, sets and events are written and read back for real."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cassandra.cluster import Session
from prometheus_client import CollectorRegistry

from devstack.cassandra import session as cassandra_session
from devstack.ports import HOST, Ports, free_port
from reconciliation.counters import Counters
from reconciliation.enrolment_store import EnrolmentStore, StoreConfig
from reconciliation.model import EnrolmentKey


@dataclass(frozen=True, slots=True)
class Database:
    """One keyspace, read and written past the product; `{keyspace}` stands for its name in every statement."""

    session: Session
    keyspace: str

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        return list(self.session.execute(statement.replace("{keyspace}", self.keyspace), values or None))

    def enrol(self, key: EnrolmentKey, stamp_us: int, **cells: object) -> None:
        columns = {"userid": key.user_id, "courseid": key.course_id, "batchid": key.batch_id, **cells}
        self._insert("user_enrolments", columns, f" USING TIMESTAMP {stamp_us}")

    def consume(self, key: EnrolmentKey, content_id: str, status: int | None, **cells: object) -> None:
        columns = {"userid": key.user_id, "courseid": key.course_id, "batchid": key.batch_id, "contentid": content_id}
        self._insert("user_content_consumption", {**columns, "status": status, **cells})

    def enrolment(self, key: EnrolmentKey) -> Any:
        (row,) = self.execute(
            "SELECT status, progress, contentstatus, toUnixTimestamp(completedon) AS completedon,"
            " toUnixTimestamp(datetime) AS datetime, WRITETIME(status) AS status_us,"
            " WRITETIME(progress) AS progress_us, WRITETIME(completedon) AS completedon_us,"
            " WRITETIME(datetime) AS datetime_us, active, addedby,"
            " completionpercentage, WRITETIME(completionpercentage) AS completionpercentage_us"
            " FROM {keyspace}.user_enrolments WHERE userid = %s AND courseid = %s AND batchid = %s",
            [key.user_id, key.course_id, key.batch_id],
        )
        return row

    def _insert(self, table: str, columns: Mapping[str, object], options: str = "") -> None:
        marks = ", ".join(["%s"] * len(columns))
        text = f"INSERT INTO {{keyspace}}.{table} ({', '.join(columns)}) VALUES ({marks}){options}"  # noqa: S608 - names of this file's callers
        self.execute(text, list(columns.values()))


@pytest.fixture
def counters() -> Counters:
    return Counters(CollectorRegistry())


@pytest.fixture
def key() -> EnrolmentKey:
    """An enrolment that no other test uses."""
    return EnrolmentKey(f"user-{uuid.uuid4()}", f"do_{uuid.uuid4().hex}", f"batch-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def cassandra(ports: Ports) -> Iterator[Session]:
    with cassandra_session(HOST, ports.cassandra) as session:
        yield session


@pytest.fixture
def database(cassandra: Session, keyspace: str) -> Database:
    return Database(cassandra, keyspace)


@pytest.fixture(scope="module")
def store_config(ports: Ports, keyspace: str) -> StoreConfig:
    return StoreConfig(
        hosts=(HOST,),
        port=ports.cassandra,
        keyspace=keyspace,
        content_consumption_table="user_content_consumption",
        user_enrolments_table="user_enrolments",
        user_activity_agg_table="user_activity_agg",
        timeout=10.0,
    )


@pytest.fixture
def connect(store_config: StoreConfig, counters: Counters) -> Iterator[Callable[..., EnrolmentStore]]:
    """Connects a store with these fields of its configuration changed; closes it with the test."""
    opened: list[EnrolmentStore] = []

    def connect(**changes: Any) -> EnrolmentStore:
        opened.append(EnrolmentStore.connect(replace(store_config, **changes), counters))
        return opened[-1]

    yield connect
    for store in opened:
        store.close()


def hurry(store: EnrolmentStore, seconds: float) -> None:
    """Give each request so many seconds from now on; to connect takes longer than that on a busy machine."""
    for sender in (store._sender, store._reads._sender):
        sender._seconds = seconds


@pytest.fixture
def store(connect: Callable[..., EnrolmentStore]) -> EnrolmentStore:
    return connect()


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens on."""
    return free_port()


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Calls `attempt` until it no longer raises `error`; with the deadline over, the error passes."""

    def eventually(attempt: Callable[[], object], error: type[Exception], limit: float) -> None:
        deadline = time.monotonic() + limit
        while True:
            try:
                attempt()
            except error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    return eventually
