"""Options that several commands take."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import click

from commands.moments import parse_moment

F = TypeVar("F", bound=Callable[..., None])


class _Moment(click.ParamType[datetime]):
    """A time, or how long ago it was; commands get it as a datetime with its zone."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_moment(str(value), datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


#: 2026-01-31T14:30, or 2h.
MOMENT = _Moment()

MOMENT_HELP = "2026-01-31T14:30 (UTC unless it names a zone), or 90m, 2h, 3d"


def enrolment_options(*, required: bool) -> Callable[[F], F]:
    """Add `--user`, `--course` and `--batch`, as the arguments `user_id`, `course_id` and `batch_id`.

    Where they are not required they filter, each by itself.
    """

    def add(command: F) -> F:
        for option, argument, what in (
            ("--batch", "batch_id", "The batch's id."),
            ("--course", "course_id", "The course's id."),
            ("--user", "user_id", "The learner's id."),
        ):
            command = click.option(option, argument, required=required, metavar="ID", help=what)(command)
        return command

    return add
