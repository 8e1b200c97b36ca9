"""A real cluster whose services reach broker and database through proxies; the tests do not."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.faults.proxy import Proxy
from tests.parts import KafkaNode, PostgresNode
from tests.parts.node import free_port
from tests.support.cluster import Cluster, real_cluster


class KafkaBehindProxy(KafkaNode):
    """A broker with two listeners: it tells clients of the first to come through the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(own=True)
        self._proxy = proxy
        self._inside = 0

    @property
    def url(self) -> str:
        """The second listener, where nothing stands in between."""
        return f"127.0.0.1:{self._inside}"

    def _prepare(self, folder: Path) -> None:
        super()._prepare(folder)
        self._inside = free_port()
        self._proxy.target_port = self._port
        properties = folder / "server.properties"
        known = dict(
            line.split("=", 1) for line in properties.read_text().splitlines() if "=" in line
        )
        inside = f"INSIDE://127.0.0.1:{self._inside}"
        known["listeners"] += f",{inside}"
        known["advertised.listeners"] = f"PLAINTEXT://127.0.0.1:{self._proxy.port},{inside}"
        known["listener.security.protocol.map"] += ",INSIDE:PLAINTEXT"
        known["inter.broker.listener.name"] = "INSIDE"
        properties.write_text("".join(f"{name}={value}\n" for name, value in known.items()))


@dataclass(frozen=True)
class ProxiedCluster:
    """A cluster, what stands between it and its parts, and all that was played on it so far."""

    cluster: Cluster
    broker: Proxy
    database: Proxy
    journals: list[Path] = field(default_factory=list)


@contextmanager
def proxied_cluster(home: Path) -> Iterator[ProxiedCluster]:
    """Four services, Kafka and PostgreSQL, with a proxy before each of the two."""
    with (
        Proxy() as to_kafka,
        Proxy() as to_postgres,
        PostgresNode(own=True, fsync=False) as postgres,
        KafkaBehindProxy(to_kafka) as kafka,
    ):
        url = postgres.create_database()
        parts = urlsplit(url)
        to_postgres.target_port = parts.port or 0
        seen = parts._replace(netloc=f"{parts.username}@127.0.0.1:{to_postgres.port}").geturl()
        seen_as = {
            "KEFU_BUS": f"kafka://127.0.0.1:{to_kafka.port}",
            "KEFU_DATABASE_URL": seen,
        }
        with real_cluster(home, kafka=kafka.url, database_url=url, seen_as=seen_as) as cluster:
            yield ProxiedCluster(cluster, to_kafka, to_postgres)
