"""One question to the search service, over HTTP (docs/reconciliation.md, steps)."""

from collections.abc import Callable

import requests
from urllib3.exceptions import HTTPError

from reconciliation.errors import RequestFailed, SearchUnavailable

_LARGEST_ANSWER_BYTES = 1_000_000
_CHUNK_BYTES = 65_536
_FIRST_SERVER_ERROR = 500
_REFUSALS = (requests.codes.unauthorized, requests.codes.forbidden)


class SearchClient:
    """The connections to the search service; the arguments are those of `CollectionSearch`.

    Safe for use by several threads: of a session's state only the pool of connections changes, which has a lock.
    """

    def __init__(
        self,
        base_path: str,
        timeout: float,
        clock: Callable[[], float],
        header: tuple[str, str] | None,
        authority: str | None,
    ) -> None:
        self._address = f"{base_path.rstrip('/')}/v3/search"
        self._timeout = timeout
        self._clock = clock
        self._session = requests.Session()
        # The service is a neighbour in the cluster: a proxy or a .netrc of the environment is not meant for it.
        self._session.trust_env = False
        if authority is not None:
            self._session.verify = authority
        if header is not None:
            self._session.headers.update([header])

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def ask(self, course_id: str) -> bytes:
        """Give the body with which the service answers for a course.

        Raises SearchUnavailable when it doesn't answer in time, or answers 5xx, 429, 401 or 403; RequestFailed for any
        other code than 200, and for a body that is too large.
        """
        question = {
            "request": {
                "filters": {
                    "objectType": "Collection",
                    "identifier": course_id,
                    "status": ["Live", "Unlisted", "Retired"],
                },
                "fields": ["status"],
            }
        }
        try:
            with self._session.post(
                self._address, json=question, timeout=self._timeout, allow_redirects=False, stream=True
            ) as answer:
                code, body = answer.status_code, self._body(answer)
        except (OSError, HTTPError) as error:
            # not requests.RequestException alone, which is an OSError: an authority's file may be gone
            raise SearchUnavailable(f"the search service did not answer: {error}") from error
        if code >= _FIRST_SERVER_ERROR or code == requests.codes.too_many_requests:
            raise SearchUnavailable(f"the search service answered {code}")
        if code in _REFUSALS:
            # the same for every course: nobody's request is given up for our own credentials
            raise SearchUnavailable(
                f"the search service answered {code} (look at service.search.token and service.search.header)"
            )
        if code != requests.codes.ok:
            raise RequestFailed(f"the search service answered {code} for course {course_id}")
        return body

    def _body(self, answer: requests.Response) -> bytes:
        # The library's own timeout begins anew with every byte that arrives, and its iter_content waits until a chunk
        # is full (urllib3/response.py, HTTPResponse.stream): a slow trickle would hold us for ever.
        deadline = self._clock() + self._timeout
        body = b""
        while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if self._clock() > deadline:
                raise SearchUnavailable(f"the search service's answer took more than {self._timeout} s")
            if len(body) > _LARGEST_ANSWER_BYTES:
                raise RequestFailed(f"the search service's answer is larger than {_LARGEST_ANSWER_BYTES} bytes")
        return body
