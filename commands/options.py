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


class _Text(click.ParamType[str]):
    """A text that is not blank and that UTF-8 can carry, as ids of requests are."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail("it is not UTF-8", param, ctx)
        if not text.strip():
            self.fail("it is blank", param, ctx)
        return text


#: An id, or a sentence.
TEXT = _Text()

MOMENT_HELP = "2026-01-31T14:30 (UTC unless it names a zone), or 90m, 2h, 3d"


def enrolment_options(*, required: bool) -> Callable[[F], F]:
    """Add `--user`, `--course` and `--batch`, as the arguments `user_id`, `course_id` and `batch_id`.

    Where they are not required they filter, each by itself. A blank one is refused: a variable of a shell that is not
    set must not stand for everybody.
    """

    def add(command: F) -> F:
        for option, argument, what in (
            ("--batch", "batch_id", "The batch's id."),
            ("--course", "course_id", "The course's id."),
            ("--user", "user_id", "The learner's id."),
        ):
            command = click.option(option, argument, required=required, type=TEXT, metavar="ID", help=what)(command)
        return command

    return add


def scope_options(*, all_help: str) -> Callable[[F], F]:
    """Add `--all`, `--course` and `--batch`, as the arguments `everything`, `courses` and `batches`."""

    def add(command: F) -> F:
        for option, argument, what in (("--batch", "batches", "A batch"), ("--course", "courses", "A course")):
            add_option = click.option(
                option, argument, multiple=True, type=TEXT, metavar="ID", help=f"{what}'s id; may be given repeatedly."
            )
            command = add_option(command)
        return click.option("--all", "everything", is_flag=True, help=all_help)(command)

    return add
