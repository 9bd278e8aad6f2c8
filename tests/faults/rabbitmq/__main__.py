"""Runs the tests that concern Celery's broker with a RabbitMQ: `make test-rabbitmq`.

Arguments are passed on to pytest, so one of these tests is chosen by `-k`. Where no RabbitMQ is installed they fail and
say so. RABBITMQ_TESTS=short takes the part of them that each change is held against; all of them take three times as
long.
"""

import os
import sys

import pytest

from tests.support.run import RABBITMQ

#: Tests that say nothing of Redis as the broker, and those of RabbitMQ alone. Files of tests/faults that are not named
#: here are about Kafka, Cassandra, the ledger or what a worker does with a request, which no broker has a part in.
CHOSEN = (
    "tests/faults/rabbitmq",
    "tests/faults/test_kills_under_saturation.py",
    "tests/faults/test_kill_within_a_bridge.py::test_a_bridge_that_dies_between_its_steps_loses_nothing",
    "tests/faults/test_kill_within_a_group.py",
    "tests/faults/test_poison.py",
    "tests/faults/test_revoked.py",
    "tests/faults/test_servers.py",
    "tests/faults/test_shutdown.py",
    "tests/faults/test_strange_messages.py",
    "tests/faults/test_twice_at_once.py",
    "tests/faults/test_two_environments.py",
    "tests/faults/test_pauses.py::test_a_pause_outlives_the_death_of_bridge_and_workers",
    "tests/faults/test_drained.py::test_a_drain_under_load_ends_with_nothing_open_and_redis_may_be_lost",
    "tests/faults/test_old_backlog.py",
    "tests/faults/test_health.py",
    "tests/faults/test_soak.py::test_a_short_soak_ends_well_and_says_so",
    "tests/integration/test_clicks_and_ids.py",
    "tests/integration/test_ledger_commands.py",
    "tests/integration/test_metrics.py::test_gauges_show_what_is_the_case",
    "tests/integration/test_metrics.py::test_what_waits_shows_while_nobody_works",
    "tests/integration/test_check_command.py::test_an_installation_at_work_is_all_in_order",
)

#: One of each kind of fault, and everything that is RabbitMQ's own.
SHORT = (
    "tests/faults/rabbitmq",
    "tests/faults/test_kills_under_saturation.py::test_nothing_is_lost_however_often_processes_are_killed[two bridges]",
    "tests/faults/test_revoked.py",
    "tests/faults/test_servers.py",
    "tests/faults/test_shutdown.py::test_busy_processes_that_end_in_order_repeat_nothing",
    "tests/faults/test_strange_messages.py::test_forged_messages_do_nothing_and_lose_nothing",
    "tests/faults/test_two_environments.py",
    "tests/integration/test_clicks_and_ids.py",
    "tests/integration/test_check_command.py::test_an_installation_at_work_is_all_in_order",
)

_OF_A_SERVER = "tests/faults/test_servers.py::test_nothing_is_lost_and_the_flow_goes_on_by_itself"
_OF_A_WAKING_WORKER = (
    "tests/faults/test_twice_at_once.py::test_a_worker_that_wakes_after_another_did_its_work_harms_nothing"
)
_NO_BROKER = "the ledger's Redis or a store alone; `make test` has it"
_ONE_IS_ENOUGH = "to be short: the broker's part is the same as in those that are chosen"

#: Of the files above what is left out, and why.
LEFT_OUT = {
    "tests/faults/test_strange_messages.py::test_messages_that_end_a_worker_lose_nothing": (
        "AMQP has no envelope of the transport's own that could be broken"
    ),
    "tests/faults/test_twice_at_once.py::test_a_task_longer_than_the_visibility_timeout_is_done_once": (
        "Redis' visibility timeout; RabbitMQ's is in tests/faults/rabbitmq/test_queues.py"
    ),
    "tests/faults/test_health.py::test_a_redis_that_hangs_makes_nobody_ready_and_nobody_dead": (
        "Redis as the broker; RabbitMQ that is away is in tests/faults/rabbitmq/test_outages.py"
    ),
    "tests/faults/test_health.py::test_a_worker_waits_for_its_servers_alive": "a proxy of Redis as the broker",
    "tests/faults/test_health.py::test_a_worker_in_which_attempts_hang_is_stuck_until_it_starts_anew": _ONE_IS_ENOUGH,
    "tests/faults/test_health.py::test_a_bridge_whose_loop_is_held_is_stuck": _ONE_IS_ENOUGH,
    "tests/faults/test_shutdown.py::test_a_worker_ends_in_time_though_redis_hangs": "Redis as the broker",
    "tests/faults/test_servers.py::test_redis_forgets_between_a_completion_and_its_events": _NO_BROKER,
    "tests/faults/test_servers.py::test_attempts_that_fail_while_redis_refuses_writes_go_on_later": _NO_BROKER,
    "tests/faults/test_servers.py::test_what_was_overdue_in_an_outage_comes_back_at_a_rate": _NO_BROKER,
    "tests/faults/test_poison.py::test_a_request_that_hangs_is_ended_by_the_limit[processes]": _ONE_IS_ENOUGH,
    "tests/faults/test_poison.py::test_what_an_attempt_in_its_own_process_counts_and_times_arrives": _NO_BROKER,
    "tests/faults/test_poison.py::test_poison_of_every_kind_together_hurts_nobody_else": _ONE_IS_ENOUGH,
    "tests/faults/test_revoked.py::test_a_revoked_request_whose_completion_is_owed_is_announced": _ONE_IS_ENOUGH,
    **{
        f"{_OF_A_SERVER}[{fault}]": _NO_BROKER
        for fault in (
            "redis hangs",
            "redis is full",
            "redis refuses all",
            "redis forgets everything",
            "cassandra hangs",
            "cassandra is killed",
            "kafka is killed",
            "each is killed in turn",
        )
    },
    **{
        f"{_OF_A_WAKING_WORKER}[{step}]": _ONE_IS_ENOUGH
        for step in ("before the debts", "before the enrolments", "before the settlement")
    },
    "tests/integration/test_ledger_commands.py::test_a_server_that_is_away_ends_a_command_with_one_line": (
        "Redis as the broker, and a RabbitMQ that is silent, which `make test` has"
    ),
}

#: The length of the fault tests; `make test` and CONTRIBUTING.md know these.
_SHORT = {"FAULT_KILLS": "5", "FAULT_SECONDS": "5"}


def main() -> int:
    """Run them; gives pytest's exit code."""
    os.environ["TEST_BROKER"] = RABBITMQ
    for name, value in _SHORT.items():
        os.environ.setdefault(name, value)
    chosen = SHORT if os.environ.get("RABBITMQ_TESTS") == "short" else CHOSEN
    deselected = (argument for name in LEFT_OUT for argument in ("--deselect", name))
    return pytest.main([*chosen, *deselected, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
