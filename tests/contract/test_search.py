"""The search service, played by a real HTTP server on this machine."""

import base64
import contextlib
import gzip
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reconciliation.errors import PutOff, RequestFailed, SearchUnavailable
from reconciliation.from_settings import collection_search
from reconciliation.model import CollectionStatus
from reconciliation.search import CollectionSearch, search_header
from reconciliation.settings import load_settings
from tests.support.certificates import certificates_in
from tests.support.search import SearchService
from tests.support.tls_proxy import TlsProxy


@dataclass
class Service:
    """What the server answers next, and what it was asked."""

    code: int = 200
    body: bytes = b""
    pause: float = 0.0
    trickle: float = 0.0
    encoding: str = ""
    location: str = ""
    shown: str | None = None
    asked: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    base_path: str = ""

    def found(self, status: str) -> None:
        self.body = json.dumps({"result": {"count": 1, "content": [{"status": status}]}}).encode()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content_type = self.headers.get("Content-Type") or ""
            service.asked.append((self.command, self.path, content_type, asked))
            service.shown = self.headers.get("Authorization")
            time.sleep(service.pause)
            self.send_response(service.code)
            self.send_header("Content-Length", str(len(service.body)))
            if service.encoding:
                self.send_header("Content-Encoding", service.encoding)
            if service.location:
                self.send_header("Location", service.location)
            self.end_headers()
            # The client leaves early in the tests of its time limits.
            with contextlib.suppress(ConnectionError):
                if not service.trickle:
                    self.wfile.write(service.body)
                    return
                for byte in service.body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(service.trickle)

        do_GET = do_POST = _answer  # noqa: N815 - names that http.server asks for

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    service.base_path = f"http://127.0.0.1:{server.server_port}"
    yield service
    server.shutdown()
    server.server_close()
    thread.join()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def search(service: Service, clock: Clock) -> Iterator[CollectionSearch]:
    search = CollectionSearch(service.base_path + "/", timeout=5.0, cache_expiry=3600, clock=clock)
    yield search
    search.close()


def test_the_question_is_asked_as_the_service_wants_it(search: CollectionSearch, service: Service) -> None:
    service.found("Live")
    course = 'do_"1"\n🎓'

    assert search.status(course) is CollectionStatus.NOT_RETIRED

    ((method, path, content_type, body),) = service.asked
    assert (method, path, content_type) == ("POST", "/v3/search", "application/json")
    assert json.loads(body) == {
        "request": {
            "filters": {
                "objectType": "Collection",
                "identifier": course,
                "status": ["Live", "Unlisted", "Retired"],
            },
            "fields": ["status"],
        }
    }


@pytest.mark.parametrize(
    ("result", "status"),
    [
        ({"count": 1, "content": [{"status": "Retired", "identifier": "x"}]}, CollectionStatus.RETIRED),
        ({"count": 1, "content": [{"status": "Live"}]}, CollectionStatus.NOT_RETIRED),
        ({"count": 1, "content": [{"status": "Unlisted"}]}, CollectionStatus.NOT_RETIRED),
        ({"count": 1, "content": [{"status": "retired"}]}, CollectionStatus.NOT_RETIRED),
        ({"count": 0}, CollectionStatus.NOT_RETIRED),
        ({"count": 0, "content": []}, CollectionStatus.NOT_RETIRED),
    ],
)
def test_only_retired_is_retired(
    search: CollectionSearch, service: Service, result: object, status: CollectionStatus
) -> None:
    service.body = json.dumps({"result": result}).encode()

    assert search.status("course") is status


def test_an_answer_is_kept_for_its_course_until_it_expires(
    search: CollectionSearch, service: Service, clock: Clock
) -> None:
    service.found("Retired")
    search.status("course")
    service.found("Live")
    clock.now = 3599.0
    assert search.status("course") is CollectionStatus.RETIRED
    assert search.status("other") is CollectionStatus.NOT_RETIRED
    clock.now = 3600.0
    assert search.status("course") is CollectionStatus.NOT_RETIRED
    assert len(service.asked) == 3


def test_an_expiry_of_0_keeps_nothing(service: Service) -> None:
    search = CollectionSearch(service.base_path, timeout=5.0, cache_expiry=0)
    service.found("Live")

    search.status("course")
    search.status("course")

    assert len(service.asked) == 2
    search.close()


@pytest.mark.parametrize("code", [500, 502, 503, 504, 429])
def test_a_service_in_trouble_is_an_outage_and_not_kept(search: CollectionSearch, service: Service, code: int) -> None:
    service.code = code
    with pytest.raises(SearchUnavailable, match=str(code)):
        search.status("course")

    service.code = 200
    service.found("Retired")
    assert search.status("course") is CollectionStatus.RETIRED


@pytest.mark.parametrize("code", [301, 400, 404, 204])
def test_any_other_answer_is_the_requests_failure(search: CollectionSearch, service: Service, code: int) -> None:
    service.code = code
    with pytest.raises(RequestFailed, match=str(code)):
        search.status("course")


def test_nobody_else_is_asked_for_the_service(search: CollectionSearch, service: Service) -> None:
    service.code, service.location = 307, f"{service.base_path}/elsewhere"
    with pytest.raises(RequestFailed, match="307"):
        search.status("course")

    ((_, path, _, _),) = service.asked
    assert path == "/v3/search"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"result":null}',
        b'{"result":{}}',
        b'{"result":{"count":"1"}}',
        b'{"result":{"count":null}}',
        b'{"result":{"count":1}}',
        b'{"result":{"count":1,"content":[]}}',
        b'{"result":{"count":1,"content":[{}]}}',
        b'{"result":{"count":1,"content":[null]}}',
        b"[" * 100_000,
        b" " * 1_100_000,
    ],
)
def test_a_body_that_is_no_search_result_is_the_requests_failure(
    search: CollectionSearch, service: Service, body: bytes
) -> None:
    service.body = body

    with pytest.raises(RequestFailed):
        search.status("course")


def test_a_silent_service_is_an_outage_within_the_time_limit(service: Service) -> None:
    search = CollectionSearch(service.base_path, timeout=0.3)
    service.pause = 30.0
    begun = time.monotonic()

    with pytest.raises(SearchUnavailable):
        search.status("course")
    with pytest.raises(SearchUnavailable):
        search.probe()

    assert time.monotonic() - begun < 20
    search.close()


def test_a_trickling_answer_ends_at_the_time_limit(service: Service) -> None:
    search = CollectionSearch(service.base_path, timeout=0.5)
    service.found("Live")
    service.body += b" " * 1_000
    service.trickle = 0.05
    begun = time.monotonic()

    with pytest.raises(SearchUnavailable):
        search.status("course")

    assert time.monotonic() - begun < 20
    search.close()


def test_a_compressed_answer_is_read(search: CollectionSearch, service: Service) -> None:
    service.found("Retired")
    service.encoding, service.body = "gzip", gzip.compress(service.body)

    assert search.status("course") is CollectionStatus.RETIRED


def test_an_answer_that_can_not_be_unpacked_is_an_outage(search: CollectionSearch, service: Service) -> None:
    service.encoding, service.body = "gzip", b"no gzip"

    with pytest.raises(SearchUnavailable):
        search.status("course")


def test_a_closed_port_is_an_outage(closed_port: int) -> None:
    search = CollectionSearch(f"http://127.0.0.1:{closed_port}", timeout=1.0)

    with pytest.raises(SearchUnavailable):
        search.status("course")
    with pytest.raises(SearchUnavailable):
        search.probe()
    search.close()


@pytest.mark.parametrize("code", [401, 403])
def test_wrong_credentials_are_an_outage_and_name_their_settings(
    search: CollectionSearch, service: Service, code: int
) -> None:
    service.code = code
    for ask in (lambda: search.status("course"), search.probe):
        with pytest.raises(SearchUnavailable, match=rf"{code} \(look at service\.search\.token"):
            ask()


@pytest.mark.parametrize("code", [200, 301, 404, 405])
def test_any_answer_below_500_is_alive(search: CollectionSearch, service: Service, code: int) -> None:
    service.code = code
    search.probe()


def test_an_answer_of_500_is_not_alive(search: CollectionSearch, service: Service) -> None:
    service.code = 500
    with pytest.raises(SearchUnavailable, match="500"):
        search.probe()


def test_threads_ask_side_by_side(service: Service) -> None:
    search = CollectionSearch(service.base_path, timeout=5.0, cache_expiry=0)
    service.found("Retired")
    answers: list[CollectionStatus] = []
    threads = [threading.Thread(target=lambda: answers.append(search.status("course"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [CollectionStatus.RETIRED] * 8
    search.close()


def test_who_we_are_is_shown_to_the_service() -> None:
    service = SearchService({"course": "Retired"}, token="t0ken")
    service.start()
    try:
        for given, answers in (({"SERVICE_SEARCH_TOKEN": "t0ken"}, True), ({"SERVICE_SEARCH_TOKEN": "other"}, False)):
            search = CollectionSearch(service.base_path, timeout=5.0, header=search_header(load_settings(given)))
            if answers:
                assert search.status("course") is CollectionStatus.RETIRED
            else:
                with pytest.raises(SearchUnavailable, match="401"):
                    search.status("course")
            search.close()
        given = {"SERVICE_SEARCH_HEADER": "Authorization: Bearer t0ken"}
        search = CollectionSearch(service.base_path, timeout=5.0, header=search_header(load_settings(given)))
        assert search.status("course") is CollectionStatus.RETIRED
        search.close()
    finally:
        service.stop()


def test_user_and_password_of_the_url_are_shown_in_place_of_any_other_header(service: Service) -> None:
    service.found("Live")
    address = service.base_path.replace("//", "//al%40ce:p%3Aw@")
    search = CollectionSearch(address, header=("authorization", "Bearer t0ken"))
    search.status("course")
    search.close()
    assert service.shown == "Basic " + base64.b64encode(b"al@ce:p:w").decode()


def test_a_private_authority_is_trusted_alone(service: Service, tmp_path: Path) -> None:
    service.found("Live")
    files = certificates_in(tmp_path, "locked")
    with TlsProxy(int(service.base_path.rpartition(":")[2]), files.server) as proxy:
        address = f"https://127.0.0.1:{proxy.port}"
        settings = load_settings(
            {"SERVICE_SEARCH_BASEPATH": address, "SERVICE_SEARCH_SSL_CA_LOCATION": str(files.authority)}
        )
        search = collection_search(settings)
        assert search is not None
        assert search.status("do_1") is CollectionStatus.NOT_RETIRED
        search.close()
        gone = tmp_path / "gone.pem"
        for authority in (str(files.stranger), str(files.client_key), str(gone), None):
            other = CollectionSearch(address, authority=authority)
            with pytest.raises(SearchUnavailable):
                other.status("do_1")
            other.close()


def test_a_service_that_is_slow_for_every_course_does_not_hold_a_group_up(
    search: CollectionSearch, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps({"result": {"count": 0}}).encode()

    def ask(course_id: str) -> bytes:
        clock.now += 2.0
        if course_id == "broken":
            raise RequestFailed("the search service answered 400")
        return answer

    monkeypatch.setattr(search, "_ask", ask)
    found = search.statuses(["1", "broken", "2", "3", "4"])
    assert clock.now == 6.0
    assert [type(it) for it in found.values()] == [CollectionStatus, RequestFailed, CollectionStatus, PutOff, PutOff]
    # what was answered is kept: the next look gets on
    again = search.statuses(["1", "2", "3", "4"])
    assert again == dict.fromkeys("1234", CollectionStatus.NOT_RETIRED)
