"""The message from the bridge to a worker: which entries to attempt, and nothing of any learner."""

from collections.abc import Sequence

from ledger.entries import Ticket

#: The task's name, on which the bridge and the workers agree.
RECONCILE_TASK = "tasks.reconcile"

#: The message's layout. A worker drops versions that it does not know: the entry stays, and the sweep sends it again.
MESSAGE_VERSION = 1

MOST_COURSES_SHOWN = 3
LONGEST_COURSE_SHOWN = 40


def encode_message(tickets: Sequence[Ticket]) -> dict[str, object]:
    """Give the task's keyword arguments for a group of tickets."""
    return {
        "version": MESSAGE_VERSION,
        "tickets": [[ticket.entry_id, ticket.generation] for ticket in tickets],
    }


def decode_message(version: object, tickets: object) -> tuple[Ticket, ...]:
    """Read the task's keyword arguments back.

    Raises ValueError or TypeError for another version, or for anything that `encode_message` does not make: whoever
    can write to the broker can at most name entries that exist.
    """
    if version != MESSAGE_VERSION:
        msg = f"message version {version!r} is not {MESSAGE_VERSION}"
        raise ValueError(msg)
    if not isinstance(tickets, list):
        raise TypeError("tickets is no list")
    found = []
    for pair in tickets:
        match pair:
            case [str(entry_id), int(generation)]:
                found.append(Ticket(entry_id, generation))
            case _:
                raise ValueError("a ticket is not [entry id, generation]")
    return tuple(found)


def summary(tickets: Sequence[Ticket]) -> str:
    """Describe a message for Flower and for logs: how many entries and of which courses, no learner's id."""
    courses = sorted({ticket.course_id for ticket in tickets} - {""})
    named = ", ".join(_shown(course_id) for course_id in courses[:MOST_COURSES_SHOWN])
    more = len(courses) - MOST_COURSES_SHOWN
    count = f"{len(tickets)} request{'' if len(tickets) == 1 else 's'}"
    return count + (f" ({named}{f' and {more} more' if more > 0 else ''})" if named else "")


def _shown(course_id: str) -> str:
    """Shorten an id that anybody may have made up, and keep it on its line."""
    text = course_id if len(course_id) <= LONGEST_COURSE_SHOWN else course_id[:LONGEST_COURSE_SHOWN] + "…"
    return "".join(character if character.isprintable() else "?" for character in text)
