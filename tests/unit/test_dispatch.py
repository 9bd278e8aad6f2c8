"""How tickets are shared out among messages."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.dispatch import grouped
from ledger.entries import Ticket

COURSES = st.sampled_from([f"do_{number}" for number in range(8)])


@given(courses=st.lists(COURSES, max_size=200), size=st.integers(1, 60))
def test_groups_hold_each_ticket_once_and_are_as_full_and_of_as_few_courses_as_can_be(
    courses: list[str], size: int
) -> None:
    tickets = [Ticket(f"entry-{number}", 1, course) for number, course in enumerate(courses)]
    groups = grouped(tickets, size)

    assert sorted(ticket.entry_id for group in groups for ticket in group) == sorted(it.entry_id for it in tickets)
    assert all(len(group) == size for group in groups[:-1])
    assert all(0 < len(group) <= size for group in groups)
    # a course is begun once, and once more for each border between groups that it lies across
    begun = sum(len({ticket.course_id for ticket in group}) for group in groups)
    assert begun <= len(set(courses)) + max(0, len(groups) - 1)


def test_requests_of_one_course_keep_their_order() -> None:
    tickets = [Ticket(f"entry-{number}", 1, "do_1") for number in range(7)]
    assert [ticket for group in grouped(tickets, 3) for ticket in group] == tickets
