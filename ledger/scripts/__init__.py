"""The ledger's Lua scripts; Redis runs each as one step that nothing interrupts."""

from importlib.resources import files

SCRIPTS = (
    "accept",
    "breaker",
    "claim",
    "condemn",
    "fail",
    "occupancy",
    "oldest",
    "owe",
    "renew",
    "retry",
    "settle",
    "sweep",
)


def load_script(name: str) -> str:
    """Give a script's text with the part that all share before it."""
    folder = files(__name__)
    return folder.joinpath("common.lua").read_text("utf-8") + folder.joinpath(f"{name}.lua").read_text("utf-8")
