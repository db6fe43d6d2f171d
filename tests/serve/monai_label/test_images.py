"""Names of clients are understood while they are used, forgotten then, and never kept as they are."""

from __future__ import annotations

from unetr.serve.monai_label.named import images as module
from unetr.serve.monai_label.named.images import Images


def test_a_session_ends_when_it_is_not_used() -> None:
    now = [0.0]
    images = Images(60, lambda: now[0])
    session = images.open_session("a" * 32)
    now[0] = 50
    assert images.session(session) is not None
    now[0] = 105
    assert images.session(session) is not None, "it was used 55 seconds ago"
    now[0] = 170
    assert images.session(session) is None
    assert not images.close_session(session)


def test_a_name_is_no_session_and_no_name_is_kept() -> None:
    images = Images()
    images.name("Doe Jane", "a" * 32).job = "b" * 32
    assert images.session("Doe Jane") is None
    found = images.find("Doe Jane")
    assert found is not None and found.job == "b" * 32
    assert "Doe" not in repr(images._images)
    assert images.name("Doe Jane", "c" * 32).job is None, "another scan of this name has no job yet"


def test_the_oldest_go_first(monkeypatch: object) -> None:
    images = Images()
    for number in range(module.MOST + 5):
        images.name(str(number), "a" * 32)
    assert images.find("4") is None and images.find("5") is not None
