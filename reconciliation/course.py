"""What is known of one course, and the plan that follows from it. Pure."""

from dataclasses import dataclass, field

from reconciliation import progress
from reconciliation.errors import ReconciliationError, RelationsMissing
from reconciliation.model import Attempt, CollectionStatus, CourseRelations, Look, Plan


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of one course.

    `status` is what the search service says of a course without leaf nodes, None where it was not asked; `unknown` is
    why it could not be asked.
    """

    relations: CourseRelations = field(default_factory=CourseRelations)
    status: CollectionStatus | None = None
    unknown: ReconciliationError | None = None

    def plan(self, attempt: Attempt, look: Look, rules: progress.Rules, *, stamp_us: int, now_ms: int) -> Plan:
        """Plan an attempt, see `progress.plan`.

        Raises what `progress.plan` raises; where it needs the search service's answer, why there is none.
        """
        try:
            return progress.plan(
                attempt,
                look,
                self.relations,
                rules,
                stamp_us=stamp_us,
                now_ms=now_ms,
                collection_status=self.status,
            )
        except RelationsMissing as error:
            raise self.unknown or error from None
