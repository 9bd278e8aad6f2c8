"""The ledger's Lua scripts; Redis runs each as one step that nothing interrupts."""

from importlib.resources import files

SCRIPTS = (
    "accept",
    "breaker",
    "claim",
    "compared",
    "condemn",
    "fail",
    "forget",
    "occupancy",
    "oldest",
    "owe",
    "pause",
    "renew",
    "retry",
    "run_save",
    "runs_open",
    "run_take",
    "settle",
    "sweep",
    "unpause",
)

#: What every script begins with.
_SHARED = ("lanes", "common", "shelves", "joining")


def load_script(name: str) -> str:
    """Give a script's text with the parts that all share before it."""
    folder = files(__name__)
    return "".join(folder.joinpath(f"{part}.lua").read_text("utf-8") for part in (*_SHARED, name))
