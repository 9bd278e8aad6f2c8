"""`check`: reaches every server that the product needs, and says what is not as it must be."""

import logging
import os
import sys
import threading
from collections.abc import Sequence

import click
from rich.text import Text

from bridge.dispatch import make_app
from commands.checking.cassandra_look import look_at_cassandra
from commands.checking.cassandra_seen import judge_cassandra
from commands.checking.findings import Finding, State, secrets_of, without
from commands.checking.kafka_look import look_at_kafka
from commands.checking.kafka_seen import judge_kafka
from commands.checking.other_looks import judge_settings, look_at_search
from commands.checking.redis_look import look_at_broker, look_at_course_lists, look_at_ledger, look_at_relations
from commands.checking.redis_seen import (
    COURSE_LISTS,
    RELATIONS,
    judge_broker,
    judge_course_lists,
    judge_ledger,
    judge_relations,
)
from commands.checking.relations_seen import judge_relation_table
from commands.checking.side_by_side import side_by_side
from commands.endings import EXIT_NOT_DONE, told
from commands.servers import read_settings
from commands.terminal import console, examples, json_option, print_json, printable, table
from reconciliation.settings import Settings
from reconciliation.settings_relations import REDIS

#: How many answers one server may be waited for, one after the other, before it is left.
_PATIENCE = 4
_SIGNS = {
    State.OK: Text("✓ ok", "green"),
    State.WARNING: Text("! warning", "yellow"),
    State.WRONG: Text("✗ wrong", "red"),
    State.NOT_LOOKED_AT: Text("- not looked at", "dim"),
}


@click.command(epilog=examples("check", "check --json --limit 3"))
@click.option(
    "--limit",
    type=click.FloatRange(0.1, 600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long one answer of a server is waited for; a server is left after four times that.",
)
@json_option
@told
def check(limit: float, as_json: bool) -> None:
    """Look whether every server answers and is set up as bridges and workers need it.

    Kafka with its topics and the consumer group, Cassandra with its tables and columns, Redis in its three roles, and
    the search service. Nothing is written anywhere, and no group is joined. Exits with 0 when nothing is wrong
    (warnings may be there), with 1 when something is.
    """
    settings = read_settings()
    # their own words are in the rows; beside them, on standard error, they would come twice
    for client in ("cassandra", "kombu", "amqp", "reconciliation"):
        logging.getLogger(client).setLevel(logging.CRITICAL)
    findings = _find(settings, limit)
    if as_json:
        print_json(_as_json(settings, findings))
    else:
        _show(findings)
    sys.stdout.flush()
    code = EXIT_NOT_DONE if any(finding.state is State.WRONG for finding in findings) else 0
    if any(thread.name.startswith("check ") for thread in threading.enumerate()):
        # a call that hangs in a client would hold up an orderly end
        os._exit(code)
    sys.exit(code)


def _find(settings: Settings, limit: float) -> list[Finding]:
    app = make_app()
    looks = {
        "Kafka": lambda: judge_kafka(settings, look_at_kafka(settings, limit)),
        "Cassandra": lambda: _cassandra(settings, limit),
        "relation cache": lambda: _relation_cache(settings, limit),
        "Celery's broker": lambda: judge_broker(settings, look_at_broker(app, settings, limit)),
        "ledger": lambda: judge_ledger(settings, look_at_ledger(settings, limit)),
        "search service": lambda: look_at_search(settings, limit),
    }
    if settings.course_list_dropped:
        looks[COURSE_LISTS] = lambda: judge_course_lists(settings, look_at_course_lists(settings, limit))
    with console(to_stderr=True).status("looking at the servers"):
        seen = side_by_side(looks, _PATIENCE * limit)
    urls = (settings.celery_broker_url, settings.ledger_redis_url, settings.search_base_path)
    secrets = secrets_of(url for url in (*urls, settings.course_list_redis_url) if url is not None)
    return without(secrets, [*judge_settings(settings, os.environ.get("CONFIG_FILE", "")), *seen])


def _cassandra(settings: Settings, limit: float) -> list[Finding]:
    seen = look_at_cassandra(settings, limit)
    return [*judge_cassandra(settings, seen), *judge_relation_table(settings, seen)]


def _relation_cache(settings: Settings, limit: float) -> list[Finding]:
    if REDIS not in settings.relation_sources:
        return [Finding(RELATIONS, "answers", State.NOT_LOOKED_AT, "relations.sources does not name redis")]
    return judge_relations(settings, look_at_relations(settings, limit))


def _show(findings: Sequence[Finding]) -> None:
    out = console()
    rows = [(it.server, it.what, _SIGNS[it.state], it.detail, it.next_step) for it in findings]
    if out.is_terminal:
        # five columns are too many for most: what to do stands under what was seen
        narrow = [(*row[:3], _under(row[3], row[4])) for row in rows]
        out.print(table(["server", "what", "state", "detail"], narrow))
    else:
        out.print(table(["server", "what", "state", "detail", "next step"], rows))
    counts = {state: sum(finding.state is state for finding in findings) for state in State}
    told = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    out.print(Text(f"{told}: {'not all is' if counts[State.WRONG] else 'all is'} in order"))


def _under(detail: str, next_step: str) -> Text:
    seen = Text(printable(detail))
    return seen.append(f"\n→ {printable(next_step)}", "bold") if next_step else seen


def _as_json(settings: Settings, findings: Sequence[Finding]) -> dict[str, object]:
    return {
        "environment": settings.environment,
        "in_order": not any(finding.state is State.WRONG for finding in findings),
        "checks": [
            {
                "server": it.server,
                "what": it.what,
                "state": it.state.value,
                "detail": it.detail,
                "next_step": it.next_step,
            }
            for it in findings
        ],
    }
