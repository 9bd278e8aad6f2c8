"""A request that runs in a process of its own, and what ends that process from outside."""

from collections.abc import Callable

from tests.faults.conftest import MakeSite
from tests.faults.stage import LIMIT, SETTINGS, Stage
from tests.support.cassandra_proxy import aggregate_write
from tests.support.redis_proxy import Command, ledger_step
from tests.support.relay import Treatment

#: Where the token of a claim stands: EVALSHA, script, number of keys, prefix, time and lease come before it.
TOKEN = 6


def taken_over() -> Callable[[Command], bool]:
    """Match a claim of what was claimed under the same token before: an own process begins with one."""
    is_claim, seen = ledger_step("claim"), set[bytes]()

    def is_known(command: Command) -> bool:
        if not is_claim(command):
            return False
        token = command.parts[TOKEN]
        known = token in seen
        seen.add(token)
        return known

    return is_known


def test_a_request_whose_own_process_is_lost_with_its_worker_before_it_begins_is_not_given_up(
    make_site: MakeSite,
) -> None:
    with Stage(make_site({**SETTINGS, "CRASH_ATTEMPTS": "1"}, workers=1)) as stage:
        learner = stage.add_learner()
        stage.lose_alone(learner)
        beginning = stage.ledger.fault(Treatment.HOLD_REQUEST, taken_over())
        for _ in range(3):
            seen = len(beginning.seen)
            stage.far.start()
            beginning.wait(seen + 1, LIMIT)
            kill_both(stage)
        beginning.forget()
        stage.near.start()
        stage.wait_settled()
        stage.check_completed_once(learner)


def test_a_request_whose_own_process_is_lost_with_its_worker_after_it_began_is_given_up(make_site: MakeSite) -> None:
    with Stage(make_site({**SETTINGS, "CRASH_ATTEMPTS": "1"}, workers=1)) as stage:
        learner = stage.add_learner()
        stage.lose_alone(learner)
        aggregates = stage.cassandra.fault(Treatment.HOLD_REQUEST, aggregate_write)
        stage.far.start()
        aggregates.wait(1, LIMIT)
        kill_both(stage)
        aggregates.forget()
        stage.near.start()
        stage.wait_settled()
        (event,) = stage.site.failures(learner)
        assert event["failInfo"]["errorCode"] == "WORKER_LOST"


def test_an_end_that_all_of_a_worker_s_processes_are_told_convicts_no_request(make_site: MakeSite) -> None:
    # a lease that a slow machine does not end
    settings = {**SETTINGS, "CRASH_ATTEMPTS": "1", "LEDGER_LEASE": "15"}
    with Stage(make_site(settings, workers=1)) as stage:
        learner = stage.add_learner()
        stage.lose_alone(learner)
        aggregates = stage.cassandra.fault(Treatment.HOLD_REQUEST, aggregate_write)
        stage.far.start()
        aggregates.wait(1, LIMIT)
        # as a supervisor does that knows a group of processes and not which of them is the worker
        (own,) = stage.own_processes()
        own.terminate()
        stage.far.ask_to_end()
        aggregates.end()
        assert stage.far.wait() == 0
        stage.near.start()
        stage.wait_settled()
        stage.check_completed_once(learner)


def kill_both(stage: Stage) -> None:
    """Do as a container that runs out of memory, with all that is in it; its worker must not tell of the process."""
    assert stage.own_processes()
    # the worker first, and then what it started
    stage.far.kill()
