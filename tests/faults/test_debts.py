"""A completion that is written is announced, however often and however its request fails meanwhile."""

from tests.faults.conftest import MakeSite
from tests.faults.stage import LIMIT, SETTINGS, Stage
from tests.support.cassandra_proxy import completion_write
from tests.support.kafka_proxy import Question, produce_to
from tests.support.relay import Fault, Treatment


def hold_events(stage: Stage) -> list[Fault[Question]]:
    topics = (stage.site.certificate_topic, stage.site.audit_topic)
    return [stage.kafka.fault(Treatment.HOLD_REQUEST, produce_to(topic)) for topic in topics]


def test_a_request_that_ends_every_process_while_it_announces_is_not_given_up(make_site: MakeSite) -> None:
    with Stage(make_site({**SETTINGS, "CRASH_ATTEMPTS": "1"}, workers=1)) as stage:
        learner = stage.add_learner()
        certificates, audits = hold_events(stage)
        stage.site.send(learner)
        # among others' threads, then in a process of its own; the third one comes after as many as it may be
        for kills in (1, 2, 3):
            stage.far.start()
            certificates.wait(kills, LIMIT)
            stage.far.kill()
        certificates.forget()
        audits.forget()
        assert stage.row(learner)["status"] == 2
        stage.near.start()
        stage.wait_settled()
        stage.check_completed_once(learner)


def test_a_request_s_own_process_that_ends_while_it_announces_is_not_the_last(make_site: MakeSite) -> None:
    with Stage(make_site({**SETTINGS, "CRASH_ATTEMPTS": "1"}, workers=1)) as stage:
        learner = stage.add_learner()
        stage.lose_alone(learner)
        assert stage.owed_on() is None
        certificates, audits = hold_events(stage)
        stage.far.start()
        certificates.wait(1, LIMIT)
        assert stage.row(learner)["status"] == 2
        for own in stage.own_processes():
            own.kill()
        certificates.forget()
        audits.forget()
        stage.wait_settled()
        stage.check_completed_once(learner)


def test_a_last_try_whose_write_was_applied_is_not_the_last(make_site: MakeSite) -> None:
    with Stage(make_site({**SETTINGS, "RETRY_ATTEMPTS": "1", "LMS_CASSANDRA_TIMEOUT": "8"}, workers=1)) as stage:
        learner = stage.add_learner()
        stage.far.start()
        stage.cassandra.fault(Treatment.DROP_ANSWER, completion_write, most=1)
        stage.site.send(learner)
        stage.wait_settled()
        stage.check_completed_once(learner)
