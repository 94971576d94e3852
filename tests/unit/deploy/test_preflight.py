"""What the machine lacks is named, with how much there is and how much is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local import preflight
from deploy.local.errors import TooLittleDiskError, TooLittleMemoryError

MIB = preflight.MEBIBYTE


def test_too_little_memory_says_both_amounts_and_a_remedy() -> None:
    preflight.check_memory(preflight.MEMORY_NEEDED)
    with pytest.raises(
        TooLittleMemoryError, match=r"900 MiB of memory are available, the stack needs 2400 MiB"
    ) as caught:
        preflight.check_memory(900 * MIB)
    assert "memory limit" in caught.value.hint


def test_too_little_disk_names_the_folder() -> None:
    preflight.check_disk(preflight.DISK_NEEDED, Path("/data"))
    with pytest.raises(TooLittleDiskError, match=r"100 MiB are free in /data, 1500 MiB are needed") as caught:
        preflight.check_disk(100 * MIB, Path("/data"))
    assert "LOCKSTEP_CACHE" in caught.value.hint


@pytest.mark.parametrize(
    ("limit", "used", "cached", "left"),
    [("max", 5, 0, 1 << 62), (str(3_000 * MIB), 2_000 * MIB, 500 * MIB, 1_500 * MIB)],
)
def test_a_control_groups_limit_counts_and_its_page_cache_gives_way(
    tmp_path: Path, limit: str, used: int, cached: int, left: int
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")
    assert preflight.group_memory_left(tmp_path) == left


def test_no_control_group_is_no_limit(tmp_path: Path) -> None:
    assert preflight.group_memory_left(tmp_path) == 1 << 62
