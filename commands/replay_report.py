"""How `replay` tells what it plans and what it did."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from commands.moments import format_moment
from commands.replay_plan import MOST_LISTED, Plan, Refused
from commands.terminal import console, printable, table


@dataclass(slots=True)
class Outcome:
    """What became of a plan so far.

    `sent` counts what Kafka confirmed, `unconfirmed` what may have arrived nevertheless; `away` says why Kafka took no
    more, None while it does.
    """

    sent: int = 0
    unconfirmed: int = 0
    too_large: list[Refused] = field(default_factory=list)
    too_large_count: int = 0
    away: str | None = None
    is_interrupted: bool = False

    def note_too_large(self, refused: Refused) -> None:
        """Count an event that Kafka does not take for its size; some are kept to be listed."""
        self.too_large_count += 1
        if len(self.too_large) < MOST_LISTED:
            self.too_large.append(refused)


def print_plan(plan: Plan, source: str, target: str) -> None:
    """Say what is sent by reason, and what is not and why."""
    if len(plan):
        rows = [*plan.reasons.items(), ("all", len(plan))]
        click.echo(f"from {source} to {target}")
        console().print(table(["reason", "to send"], rows))
    else:
        click.echo("nothing to send")
    for count, what in (
        (plan.repeats, "left out: other failures of requests that are sent anyway"),
        (plan.left_out, "left out: INVALID_REQUEST, which would only come back; --reason INVALID_REQUEST sends them"),
        (plan.beyond, "left out: beyond --limit"),
        (plan.refused_count, "can't be sent back"),
    ):
        if count:
            click.echo(f"{count} {what}")


def unsent(plan: Plan, outcome: Outcome) -> Iterator[str]:
    """Give a line for each event that can't be sent back, for the first of them."""
    listed = [*plan.refused, *outcome.too_large]
    for refused in listed:
        failure = refused.failure
        place = failure.record.origin
        ids = " ".join(
            f"{what} {value}"
            for what, value in (("user", failure.user_id), ("course", failure.course_id), ("batch", failure.batch_id))
            if value is not None
        )
        yield printable(
            f"{place.topic}/{place.partition}@{place.offset}, failed {format_moment(failure.failed_ms)} as "
            f"{failure.reason}{', ' if ids else ''}{ids}: {refused.why}"
        )
    more = plan.refused_count + outcome.too_large_count - len(listed)
    if more:
        yield f"… and {more} more"


def plan_as_json(plan: Plan, outcome: Outcome, *, dry_run: bool) -> dict[str, object]:
    """Give plan and outcome for scripts."""
    return {
        "dryRun": dry_run,
        "planned": len(plan),
        "reasons": dict(plan.reasons),
        "sent": outcome.sent,
        "unconfirmed": outcome.unconfirmed,
        "repeats": plan.repeats,
        "leftOutInvalid": plan.left_out,
        "beyondLimit": plan.beyond,
        "refused": plan.refused_count + outcome.too_large_count,
        "refusedEvents": [
            {
                "partition": refused.failure.record.origin.partition,
                "offset": refused.failure.record.origin.offset,
                "reason": refused.failure.reason,
                "user": refused.failure.user_id,
                "why": refused.why,
            }
            for refused in (*plan.refused, *outcome.too_large)
        ],
    }
