"""Flower's settings, which it reads from the folder that it is started in (docs/flower.md).

A variable FLOWER_… and an option of the command line win over each of them. Flower itself lets this file win over the
variables (flower/command.py, apply_env_options before apply_options), so they are asked for here.
"""

import os

# Flower alone listens on every address of its host, and anybody who reaches it could read what goes on
address = os.environ.get("FLOWER_ADDRESS", "127.0.0.1")
# beside Flower's own columns what a task was about, and last, since it is long, why it did not succeed
tasks_columns = os.environ.get("FLOWER_TASKS_COLUMNS", "name,uuid,state,args,received,runtime,worker,exception")
