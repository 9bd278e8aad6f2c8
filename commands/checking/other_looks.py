"""The settings, and the search service: what is looked at and said of them."""

from commands.checking.findings import Finding, State, Trouble, brief, named, trouble_of, unreachable, words_of
from reconciliation.errors import RequestFailed, SearchUnavailable
from reconciliation.search import CollectionSearch, search_header
from reconciliation.settings import Settings
from reconciliation.settings_sources import shown

SETTINGS = "settings"
SEARCH = "search service"

_PROBE_COURSE = "enrolment-reconciliation-probe"


def judge_settings(settings: Settings, config_file: str) -> list[Finding]:
    """Say where the settings come from, and what is doubtful about them; `config_file` is CONFIG_FILE's value."""
    file = f"{config_file}, and the environment" if config_file.strip() else "the environment alone: no CONFIG_FILE"
    # read_settings told the rest: with a wrong one nothing would be checked
    return [
        Finding(SETTINGS, "source", State.OK, file),
        Finding(SETTINGS, "environment's name", State.OK, f"{settings.environment} (ENV)"),
        *(Finding(SETTINGS, "values", State.WARNING, warning, "leave one of them") for warning in settings.warnings),
    ]


def look_at_search(settings: Settings, limit: float) -> list[Finding]:
    """Ask the search service for a course that is not there; it may take `limit` seconds, or service.search.timeout."""
    setting = named("service.search.basePath")
    if settings.search_base_path is None:
        detail = "not set: a course without leaf nodes counts as live, so its requests fail as RELATIONS_MISSING"
        return [Finding(SEARCH, "answers", State.NOT_LOOKED_AT, detail, f"set {setting} if there is one")]
    address = shown(settings.search_base_path, secret=False).strip("'")
    search = CollectionSearch(
        settings.search_base_path,
        min(limit, settings.search_timeout),
        0,
        header=search_header(settings),
        authority=settings.search_ssl_ca_location,
    )
    try:
        search.status(_PROBE_COURSE)
    except SearchUnavailable as error:
        told = words_of(error.__cause__ or error)
        if trouble_of(told, address) is Trouble.OTHER:
            step = f"see how it fares: {setting}"
            return [Finding(SEARCH, "answers", State.WRONG, f"{address}: {brief(told)}", step)]
        return [unreachable(SEARCH, "answers", told, address, setting)]
    except RequestFailed as error:
        step = f"correct {setting}: /v3/search is added to it"
        return [Finding(SEARCH, "answers", State.WRONG, f"{address}: {error}", step)]
    finally:
        search.close()
    return [Finding(SEARCH, "answers", State.OK, address)]
