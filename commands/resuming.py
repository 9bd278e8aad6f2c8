"""`resume`: goes on where consumption was stopped, by too many failures or by an operator."""

import click

from commands.endings import told
from commands.options import scope_options
from commands.pausing import pause_as_json, scopes_of
from commands.servers import open_ledger, open_operations, read_settings
from commands.terminal import examples, json_option, print_json, printable
from ledger.pauses import DRAIN, EVERYTHING


@click.command(epilog=examples("resume", "resume --course do_21310287978188800014457", "resume --all"))
@scope_options(all_help="End every pause, also those of courses and batches.")
@json_option
@told
def resume(everything: bool, courses: tuple[str, ...], batches: tuple[str, ...], as_json: bool) -> None:
    """Go on at once, when the reason is mended.

    Alone it ends what stops the whole system: a pause of everything, a drain, and the halt after too many final
    failures (failures.max.per.minute), which also ends by itself. Courses and batches stay paused, and are listed.
    With --course or --batch it ends those pauses and nothing else. What waited goes on within seconds, at most
    ledger.sweep.rate requests a second.
    """
    settings = read_settings()
    group = settings.kafka_group_id
    scopes = scopes_of(courses, batches)
    is_whole = everything or not scopes
    with open_ledger(settings) as ledger, open_operations(settings) as operations:
        if is_whole:
            scopes += [EVERYTHING, DRAIN]
        before = {pause.scope: pause for pause in operations.pauses()}
        if everything:
            scopes += [scope for scope in before if scope not in scopes]
        ended = operations.end_pauses(scopes)
        released = is_whole and ledger.release_failures()
        left = operations.pauses()
    if as_json:
        still = [pause_as_json(pause) for pause in left]
        print_json({"ended": ended, "failures_released": released, "still_paused": still})
        return
    for scope in ended:
        if scope in before:
            click.echo(printable(f"ended: {before[scope]}"))
    if released or ended:
        click.echo(f"resumed: bridges and workers of group {group} go on")
    elif is_whole:
        click.echo(f"nothing to do: group {group} was neither paused nor stopped by final failures")
    else:
        click.echo(f"nothing to do: group {group} has no such pause")
    for pause in left:
        click.echo(printable(f"stays paused: {pause}"))
