"""Makes the lock files anew, after a server's version was changed here: `python -m devstack lock`."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from devstack.maven import maven_context, sha256_of

# Kafka's own distribution adds the logging binding; without it the server would write no log.
ROOTS = {
    "kafka": ("org.apache.kafka:kafka_2.13:4.1.0", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"),
    "cassandra": ("org.apache.cassandra:cassandra-all:5.0.5",),
    "cassandra-4.1": ("org.apache.cassandra:cassandra-all:4.1.10",),
}


def lock_file(packages: str) -> Path:
    """Return the path of the committed lock file of these packages, one of ROOTS."""
    return Path(__file__).with_name(f"{packages}.lock")


def write_locks(report: Callable[[str, str], None]) -> None:
    """Resolve every server's roots with all they need, and write coordinates and sha256 to the lock files."""
    with TemporaryDirectory() as folder:
        context = maven_context(Path(folder))
        for server, roots in ROOTS.items():
            report(server, f"resolving {', '.join(roots)}")
            jars: dict[tuple[str, str, str], str] = {}
            # One root at a time, the first one's versions winning: resolved together, jgo lets each root's parent
            # manage the others' versions (jgo/maven/_resolver.py, _compute_boms).
            for root in roots:
                inputs, transitive = context.resolver.resolve([context.create_dependency(root)])
                for dependency in [*inputs, *transitive]:
                    key = (dependency.groupId, dependency.artifactId, dependency.classifier)
                    if key not in jars:
                        parts = (dependency.groupId, dependency.artifactId, dependency.version, dependency.classifier)
                        coordinates = ":".join(part for part in parts if part)
                        jars[key] = f"{coordinates} {sha256_of(dependency.artifact.resolve())}"
            header = "# Made by `python -m devstack lock`: Maven coordinates and sha256 of each jar.\n"
            lock_file(server).write_text(header + "\n".join(sorted(jars.values())) + "\n")
            report(server, f"locked {len(jars)} packages")
