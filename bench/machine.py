"""What it was measured on: cores, memory, versions. No names of machines."""

import os
import platform
from importlib.metadata import version
from typing import Any

import psutil

from bench.stage import Stage, connection

GIBIBYTE = 1024**3
LIBRARIES = ("asyncpg", "aiokafka", "sqlalchemy", "faststream", "sqlmodel", "procrastinate")


async def described(stage: Stage) -> list[str]:
    """Machine class and versions."""
    memory = psutil.virtual_memory().total / GIBIBYTE
    async with connection(stage.postgres.url) as db:
        postgres: Any = await db.fetchval("SHOW server_version")
    cores = f"{os.cpu_count()} cores ({cpu_model()})"
    return [
        f"{cores}, {memory:.0f} GiB, shared by everything measured",
        f"Python {platform.python_version()}",
        f"PostgreSQL {postgres.split()[0]} (fsync on)",
        f"Apache Kafka {kafka_version()}",
        ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
    ]


def cpu_model() -> str:
    """The processor's name as the kernel has it."""
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def kafka_version() -> str:
    """The broker's version, as the tests' parts pin it."""
    from tests.parts.kafka import POM

    return POM.read_text().partition("<artifactId>kafka_")[2].split("version>")[1].rstrip("</")
