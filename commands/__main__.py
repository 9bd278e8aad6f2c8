"""`python -m commands`, for where the project is not installed, as in the container image."""

from commands.main import main

main(prog_name="enrolment-reconciliation")
