"""The journal: what was kept is there after any kind of end."""

import asyncio
from pathlib import Path

import pytest

from kefu.replay.journal import Journal, JournalError
from kefu.replay.records import AnyRecord, Finished, Planned, Run, StepDone


def _done(step: str) -> StepDone:
    return StepDone(at=1.0, step=step)


async def test_what_was_kept_is_on_disk_when_keep_returns(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    await journal.open()
    journal.note(_done("L1"))
    await journal.keep(_done("L2"))
    on_disk = path.read_bytes()
    assert on_disk.count(b"\n") == 2
    assert b"L2" in on_disk
    await journal.close()


async def test_a_reopened_journal_has_every_record_in_order(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    records: list[AnyRecord] = [
        Run(at=0.0, run="r1", shop_id="demo", digest="d", speed=1.0),
        Planned(at=1.0, action="r1.L1.0", kind="message", actor="buyer:b", body={"text": "在吗"}),
        Finished(at=2.0),
    ]
    journal = Journal(path)
    await journal.open()
    for record in records:
        journal.note(record)
    await journal.close()
    again = Journal(path)
    await again.open()
    assert again.records == records
    await again.close()


async def test_a_line_cut_off_by_a_kill_is_dropped_and_the_next_one_starts_clean(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    await journal.open()
    await journal.keep(_done("L1"))
    await journal.close()
    with path.open("ab") as file:
        file.write(b'{"is":"step_done","at":1.0,"st')
    again = Journal(path)
    await again.open()
    await again.keep(_done("L2"))
    await again.close()
    last = Journal(path)
    await last.open()
    assert [record.step for record in last.records if isinstance(record, StepDone)] == ["L1", "L2"]
    await last.close()


async def test_many_keeps_at_once_share_their_syncs_and_all_return(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    await journal.open()
    await asyncio.gather(*(journal.keep(_done(f"L{n}")) for n in range(500)))
    await journal.close()
    again = Journal(tmp_path / "j.jsonl")
    await again.open()
    assert len(again.records) == 500
    await again.close()


async def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"turns": []}\n')
    with pytest.raises(JournalError, match="line 1: not a replay journal"):
        await Journal(path).open()
    assert path.read_bytes() == b'{"turns": []}\n'


async def test_two_replays_cannot_write_one_journal(tmp_path: Path) -> None:
    first = Journal(tmp_path / "j.jsonl")
    await first.open()
    with pytest.raises(JournalError, match="another replay"):
        await Journal(tmp_path / "j.jsonl").open()
    await first.close()


async def test_without_a_path_nothing_is_written_and_nobody_waits() -> None:
    journal = Journal()
    await journal.open()
    await journal.keep(_done("L1"))
    assert journal.records == [_done("L1")]
    await journal.close()
