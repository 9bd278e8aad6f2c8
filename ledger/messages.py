"""The message from the bridge to a worker: which entries to attempt, and nothing of any learner."""

import re
from collections.abc import Sequence

from ledger.entries import Ticket
from reconciliation.printing import printable

#: The task's name, on which the bridge and the workers agree.
RECONCILE_TASK = "tasks.reconcile"

#: The message's layout. A worker drops versions that it does not know: the entry stays, and the sweep sends it again.
MESSAGE_VERSION = 1

#: The most entries that a message names; `bridge.group.size` allows no more.
MOST_TICKETS = 500

MOST_COURSES_SHOWN = 3
MOST_RUNS_SHOWN = 2
LONGEST_COURSE_SHOWN = 40

_ENTRY_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What Lua holds exactly; a generation grows by one with each attempt.
_LARGEST_GENERATION = 2**53


def encode_message(tickets: Sequence[Ticket]) -> dict[str, object]:
    """Give the task's keyword arguments for a group of tickets."""
    return {
        "version": MESSAGE_VERSION,
        "tickets": [[ticket.entry_id, ticket.generation] for ticket in tickets],
    }


def decode_message(version: object, tickets: object) -> tuple[Ticket, ...]:
    """Read the task's keyword arguments back.

    Raises ValueError or TypeError for another version, or for anything that `encode_message` does not make: whoever
    can write to the broker can at most name entries that exist, each once, and as many as a group holds. The error
    repeats nothing of what came.
    """
    if isinstance(version, bool) or version != MESSAGE_VERSION:
        msg = f"the message's version is not {MESSAGE_VERSION}"
        raise ValueError(msg)
    if not isinstance(tickets, list):
        raise TypeError("tickets is no list")
    if len(tickets) > MOST_TICKETS:
        raise ValueError(f"more than {MOST_TICKETS} tickets")
    found = tuple(_ticket(pair) for pair in tickets)
    # claimed twice under one token, an entry would be worked on twice at once
    if len({ticket.entry_id for ticket in found}) < len(found):
        raise ValueError("an entry is named twice")
    return found


def _ticket(pair: object) -> Ticket:
    match pair:
        case [str(entry_id), int(generation)] if (
            _ENTRY_ID.fullmatch(entry_id)
            # a bool is an int to Python, and nothing that Redis takes
            and not isinstance(generation, bool)
            and 0 < generation <= _LARGEST_GENERATION
        ):
            return Ticket(entry_id, generation)
        case _:
            raise ValueError("a ticket is not [entry id, generation]")


def summary(tickets: Sequence[Ticket]) -> str:
    """Describe a message for Flower and for logs: how many entries, of which courses and bulk runs, no learner's id."""
    courses = sorted({ticket.course_id for ticket in tickets} - {""})
    named = ", ".join(_shown(course_id) for course_id in courses[:MOST_COURSES_SHOWN])
    more = len(courses) - MOST_COURSES_SHOWN
    count = f"{len(tickets)} request{'' if len(tickets) == 1 else 's'}"
    told = count + (f" ({named}{f' and {more} more' if more > 0 else ''})" if named else "")
    runs = sorted({ticket.run for ticket in tickets} - {""})
    if not runs:
        return told
    others = f" and {len(runs) - MOST_RUNS_SHOWN} more" if len(runs) > MOST_RUNS_SHOWN else ""
    return f"{told} of bulk run{'s' if len(runs) > 1 else ''} {', '.join(runs[:MOST_RUNS_SHOWN])}{others}"


def _shown(course_id: str) -> str:
    """Shorten an id that anybody may have made up, and keep it on its line."""
    text = course_id if len(course_id) <= LONGEST_COURSE_SHOWN else course_id[:LONGEST_COURSE_SHOWN] + "…"
    return printable(text)
