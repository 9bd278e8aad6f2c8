"""The domain: what a learner has consumed, what the course requires, and what follows from it."""
