"""Flower's settings, which it reads from the folder that it is started in (docs/flower.md).

A variable FLOWER_… and an option of the command line win over each of them. Flower itself lets this file win over the
variables (flower/command.py, apply_env_options before apply_options), so they are asked for here.
"""

import os
import sys
from pathlib import Path

# Flower alone listens on every address of its host, and anybody who reaches it could read what goes on
address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
# beside Flower's own columns what a task was about, and last, since it is long, why it did not succeed
tasks_columns = os.environ.get("FLOWER_TASKS_COLUMNS", "name,uuid,state,args,received,runtime,worker,exception")

# a password in a file, as for the product's own secrets (docs/secured-servers.md)
_file = os.environ.get("FLOWER_BASIC_AUTH_FILE", "").strip()
if _file:
    if os.environ.get("FLOWER_BASIC_AUTH"):
        sys.exit("both FLOWER_BASIC_AUTH and FLOWER_BASIC_AUTH_FILE are set; unset one of them")
    try:
        basic_auth = Path(_file).read_text(encoding="utf-8-sig").removesuffix("\n").removesuffix("\r")
    except OSError as _error:
        sys.exit(f"FLOWER_BASIC_AUTH_FILE: can't read {_file}: {_error.strerror}")
    except UnicodeDecodeError:
        sys.exit(f"FLOWER_BASIC_AUTH_FILE: can't read {_file}: it is not UTF-8")
    if not basic_auth.strip():
        sys.exit(f"FLOWER_BASIC_AUTH_FILE: can't read {_file}: it is empty")
