"""Says why a certificate came or did not come, from what is visible. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from reconciliation.events import completion_mid
from reconciliation.explanation_facts import Facts, Templates
from reconciliation.model import COMPLETED, Completion
from reconciliation.progress import completed_since_ms


class CertificateState(StrEnum):
    """What is known of the learner's certificate."""

    ISSUED = "issued"
    NOT_COMPLETED = "not completed"
    NO_COMPLETION_DATE = "completed without completedon"
    INACTIVE = "completed, but inactive"
    NO_TEMPLATE = "completed, but the batch has no certificate template"
    OWED = "completed, and its announcement is still owed"
    ANNOUNCED = "completed and announced, nothing issued"
    UNKNOWN = "completed, nothing issued, and not known to be announced"


@dataclass(frozen=True, slots=True)
class CertificateReason:
    """Why there is a certificate or none; `mid` names the announcement of the completion that stands in the row.

    `templates` says what is known of the batch's templates.
    """

    state: CertificateState
    sentence: str
    mid: str | None
    completed_on_ms: int | None
    names: tuple[str, ...]
    templates: Templates
    is_remembered: bool | None


def certificate_reason(facts: Facts, *, effect_completes: bool) -> CertificateReason:
    """Reason from the row, the batch and the ledger; `effect_completes` says that a sync would announce."""
    cells = facts.rows.enrolment
    completed_on_ms = None if cells is None else cells.completed_on_ms
    is_completed = cells is not None and cells.status == COMPLETED
    mid = None
    if is_completed and completed_on_ms is not None:
        mid = completion_mid(Completion(facts.enrolment, completed_on_ms))
    names = tuple(dict.fromkeys([*(facts.details.issued_certificates or ()), *(facts.details.certificates or ())]))
    state = _state(facts, is_completed=is_completed, has_date=completed_on_ms is not None, is_issued=bool(names))
    return CertificateReason(
        state=state,
        sentence=_sentence(state, facts, names, mid, is_completed=is_completed, effect_completes=effect_completes),
        mid=mid,
        completed_on_ms=completed_on_ms if is_completed else None,
        names=names,
        templates=facts.templates,
        is_remembered=facts.ledger.is_paid,
    )


def _state(facts: Facts, *, is_completed: bool, has_date: bool, is_issued: bool) -> CertificateState:
    # in the order in which they explain: what stands in the way first, then what is known of the announcement
    cases = (
        (is_issued, CertificateState.ISSUED),
        (not is_completed, CertificateState.NOT_COMPLETED),
        (not has_date, CertificateState.NO_COMPLETION_DATE),
        (facts.details.active is False, CertificateState.INACTIVE),
        (facts.templates is Templates.NONE, CertificateState.NO_TEMPLATE),
        (any(it.owed_ms is not None for it in facts.ledger.open_requests), CertificateState.OWED),
        (facts.ledger.is_paid is True, CertificateState.ANNOUNCED),
    )
    return next((state for holds, state in cases if holds), CertificateState.UNKNOWN)


def _sentence(
    state: CertificateState,
    facts: Facts,
    names: tuple[str, ...],
    mid: str | None,
    *,
    is_completed: bool,
    effect_completes: bool,
) -> str:
    days = f"{facts.paid_memory / 86_400:g} days (ledger.paid.memory)"
    look_up = f"Look {mid} up with `enrolment-reconciliation trace`."
    match state:
        case CertificateState.ISSUED:
            count = "A certificate is" if len(names) == 1 else f"{len(names)} certificates are"
            earlier = "" if is_completed else ", from an earlier completion: the enrolment is not completed now"
            text = f"{count} issued ({', '.join(names)}){earlier}."
        case CertificateState.NOT_COMPLETED if effect_completes:
            text = "No certificate was asked for, since the enrolment is not completed yet; a sync would ask for it."
        case CertificateState.NOT_COMPLETED:
            text = "No certificate was asked for, since the enrolment is not completed."
        case CertificateState.NO_COMPLETION_DATE:
            mends = "a sync would write one" if effect_completes else "a sync does not mend it"
            text = (
                "The enrolment is completed but has no completedon, and the certificate service crashes on that; "
                f"{mends} (activity.filter.processed.enrolments)."
            )
        case CertificateState.INACTIVE:
            text = "The enrolment is completed but inactive, and the certificate service ignores inactive ones."
        case CertificateState.NO_TEMPLATE:
            text = "The enrolment is completed, but the batch has no certificate template, so none is made."
        case CertificateState.OWED:
            text = (
                "The enrolment is completed and its certificate event is still owed: it leaves as soon as Kafka takes "
                f"it. {look_up}"
            )
        case CertificateState.ANNOUNCED:
            text = (
                f"The certificate event {mid} was sent and Kafka confirmed it (the ledger remembers it for {days}), "
                f"but nothing is issued: see the certificate service. {look_up}"
            )
        case _:
            text = _sentence_unknown(facts, days, mid, look_up)
    return text


def _sentence_unknown(facts: Facts, days: str, mid: str | None, look_up: str) -> str:
    row = facts.rows.row
    written_ms = 0 if row is None else completed_since_ms(facts.rules, row)
    is_old = facts.now_us / 1_000_000 - written_ms / 1000 > facts.paid_memory
    if facts.ledger.away is not None:
        why = "the ledger could not be asked whether it was"
    elif is_old:
        why = f"the ledger forgets that after {days}"
    else:
        why = "the ledger does not remember it as sent, so another job may have completed the enrolment"
    return (
        "The enrolment is completed and nothing is issued. Its certificate event was probably sent when it was "
        f"completed, as {mid} where this system did that; {why}. {look_up}"
    )
