"""Round trips are counted by what the server says, however its words are cut into packets."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bench.counting import Answers


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (4 + len(body)).to_bytes(4, "big") + body


READY = message(b"Z", b"I")
OTHERS = st.binary(max_size=40).map(lambda body: message(b"D", body))


@given(
    st.sampled_from([b"", b"N", b"S"]),
    st.lists(st.one_of(st.just(READY), OTHERS), max_size=12),
    st.lists(st.integers(0, 300), max_size=12),
)
def test_each_ready_for_query_counts_once_wherever_the_stream_is_cut(
    tls: bytes, messages: list[bytes], cuts: list[int]
) -> None:
    greeting = message(b"R", bytes(4))  # an answer to the client's start always comes first
    stream = greeting + b"".join(messages)
    ends = [0, *sorted({cut for cut in cuts if 0 < cut < len(stream)}), len(stream)]
    parts = [stream[first:end] for first, end in itertools.pairwise(ends)]

    answers = Answers()
    ended = sum(answers.ended(part) for part in ([tls] if tls else []) + parts)

    assert ended == messages.count(READY)
