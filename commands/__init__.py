"""The operators' command line: `enrolment-reconciliation …` (README, "When something is wrong")."""
