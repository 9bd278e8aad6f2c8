"""Whole batches and every stuck learner: find enrolments, say what a reconciliation would change, have it done."""
