"""`python -m bridge`: runs one bridge until SIGTERM. Settings come from docs/settings.md."""

import sys

import structlog

from bridge.start import run
from reconciliation.errors import SettingsError
from reconciliation.logs import configure_logging
from reconciliation.settings import process_settings


def main() -> int:
    """Run a bridge; returns the exit code: 0 after a signal, 1 after an error, 2 for a wrong setting."""
    try:
        settings = process_settings()
        configure_logging(settings.log_format, settings.log_level, settings.warnings)
        run(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the last word before the end
        return 2
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor's log shall say it once
        structlog.get_logger(__name__).exception("the bridge ended with an error", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
