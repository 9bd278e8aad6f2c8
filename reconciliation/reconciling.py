"""What an attempt asks of the domain, whether it runs live or in shadow mode."""

from collections.abc import Callable, Sequence
from typing import Protocol

from reconciliation.model import Attempt, Completion, Debt, DebtStatus, Failed, Outcome

RecordDebts = Callable[[Sequence[Debt]], Sequence[DebtStatus]]


class Reconciling(Protocol):
    """What an attempt asks of the domain: the `Reconciler`, or in shadow mode the `Comparer`."""

    def reconcile(self, attempts: Sequence[Attempt], record_debts: RecordDebts) -> list[Outcome | Failed]:
        """Give one result for each attempt, in their order."""

    def standing(self, completions: Sequence[Completion]) -> list[bool | None]:
        """Say of each completion whether its row shows it now; None where the row can't be read."""
