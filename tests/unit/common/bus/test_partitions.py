"""Keys go where every other Kafka client would put them."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from common.bus.kafka import _partition_of


@given(key=st.binary(max_size=80), count=st.integers(1, 60))
def test_a_key_goes_to_the_partition_that_any_client_would_choose(key: bytes, count: int) -> None:
    partitions = list(range(count))
    assert _partition_of(key, partitions, []) == DefaultPartitioner()(key, partitions, partitions)
