"""Keeps learners out of what is logged, or shows them as `log.enrolment.ids` says (docs/metrics.md, log lines)."""

import hashlib
import re
import traceback
from collections.abc import Callable, Iterable

from reconciliation.model import EnrolmentKey

#: The hexadecimal digits that stand for a learner: enough to follow one, and no way back to the id by reading.
_DIGITS = 16

#: What stands in a text in place of a learner's id.
LEARNER = "(learner)"

ShowIds = Callable[[EnrolmentKey], dict[str, str]]


def hashed(user_id: str) -> str:
    """Give what stands for a learner: `printf %s ID | sha256sum | cut -c 1-16` gives the same."""
    return hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def id_fields(form: str) -> ShowIds:
    """Give what shows an enrolment's ids in a log line, for one of the values of `log.enrolment.ids`.

    A course and a batch are nobody's, so they are shown plainly beside a learner's hash.
    """
    if form == "none":
        return lambda _enrolment: {}
    show_user = hashed if form == "hashed" else str
    return lambda key: {"user": show_user(key.user_id), "course": key.course_id, "batch": key.batch_id}


def without_learners(text: str, user_ids: Iterable[str]) -> str:
    """Replace these learners' ids wherever they stand in a text, as whole words or as Python shows them.

    The drivers' texts and those of errors that nobody foresaw may name what a request was about.
    """
    for user_id in user_ids:
        for shown in {user_id, repr(user_id)[1:-1]}:
            if shown and shown in text:
                text = re.sub(rf"(?<![^\W_]){re.escape(shown)}(?![^\W_])", LEARNER, text)
    return text


def traceback_without_learners(error: BaseException, user_ids: Iterable[str]) -> str:
    """Write an error's traceback down without these learners' ids; it shows no values of variables either."""
    return without_learners("".join(traceback.format_exception(error)).rstrip(), user_ids)
