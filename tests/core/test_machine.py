"""Free memory, against folders laid out as Linux lays out its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from unetr.core.machine.memory import PLENTY_BYTES, free_bytes, peak_bytes, resident_bytes

GIGABYTE = 10**9
MEMINFO = "MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n"


def system(root: Path, groups: str, files: dict[str, str]) -> Path:
    for path, text in {"proc/meminfo": MEMINFO, "proc/self/cgroup": groups, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def second_version(folder: str, limit: str, used: int, files_pages: int = 0) -> dict[str, str]:
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon {used - files_pages}\nactive_file 0\ninactive_file {files_pages}\n",
    }


def first_version(folder: str, limit: int, used: int, files_pages: int = 0) -> dict[str, str]:
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": f"inactive_file 7\ntotal_inactive_file {files_pages}\n",
    }


def test_without_groups_it_is_what_the_machine_has_available(tmp_path: Path) -> None:
    assert free_bytes(system(tmp_path, "", {})) == 8000000 * 1024


def test_a_system_that_says_nothing_has_plenty(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) == PLENTY_BYTES


@pytest.mark.parametrize("inside", [True, False], ids=["container", "job"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_group_leaves_its_limit_less_what_it_holds(tmp_path: Path, version: int, inside: bool) -> None:
    """4 GB, of which 3 are held, one of these being pages of files that can be dropped: 2 are left."""
    made, top = (second_version, "sys/fs/cgroup") if version == 2 else (first_version, "sys/fs/cgroup/memory")
    files = made(top if inside else f"{top}/jobs/7", 4 * GIGABYTE, 3 * GIGABYTE, GIGABYTE)  # type: ignore[operator]
    groups = "0::/jobs/7\n" if version == 2 else "5:cpu,cpuacct:/\n4:memory:/jobs/7\n0::/\n"
    assert free_bytes(system(tmp_path, groups, files)) == 2 * GIGABYTE


def test_the_tightest_of_all_groups_around_counts(tmp_path: Path) -> None:
    files = second_version("sys/fs/cgroup/jobs/7/step", "max", 10**6)
    files |= second_version("sys/fs/cgroup/jobs/7", str(5 * GIGABYTE), GIGABYTE)
    files |= second_version("sys/fs/cgroup/jobs", str(3 * GIGABYTE), 2 * GIGABYTE)
    assert free_bytes(system(tmp_path, "0::/jobs/7/step\n", files)) == GIGABYTE


def test_a_limit_beyond_the_machine_changes_nothing(tmp_path: Path) -> None:
    """What version 1 shows where there is no limit."""
    files = first_version("sys/fs/cgroup/memory", 9223372036854771712, GIGABYTE)
    assert free_bytes(system(tmp_path, "4:memory:/\n", files)) == 8000000 * 1024


def test_a_group_over_its_limit_leaves_nothing(tmp_path: Path) -> None:
    files = second_version("sys/fs/cgroup", str(GIGABYTE), GIGABYTE + 1)
    assert free_bytes(system(tmp_path, "0::/\n", files)) == 0


def test_this_process_has_memory_and_may_get_more() -> None:
    held = bytearray(50 * 10**6)
    held[::4096] = b"x" * len(held[::4096])
    assert 50 * 10**6 < resident_bytes() <= peak_bytes() + 10**6
    assert free_bytes() > 0
