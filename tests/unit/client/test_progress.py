"""The lines about the progress of an upload."""

from __future__ import annotations

import pytest

from airflow_provider_fireworks.client.progress import Progress, in_bytes


def test_line_has_files_bytes_speed_and_time_left():
    progress = Progress(3, 10_000_000_000, now=100)
    progress.add(2_000_000_000)
    progress.finish_file()
    assert progress.line(110) == "1 of 3 files, 2.0 GB of 10.0 GB, 200.0 MB/s, 0:00:40 left"


def test_speed_is_that_since_the_last_line():
    progress = Progress(1, 1_000_000_000, now=0)
    progress.add(500_000_000)
    progress.line(10)
    assert progress.line(20) == "0 of 1 files, 500.0 MB of 1.0 GB, 0.0 MB/s, unknown time left"
    progress.add(100_000_000)
    assert progress.line(30) == "0 of 1 files, 600.0 MB of 1.0 GB, 10.0 MB/s, 0:00:40 left"


def test_bytes_of_a_failed_attempt_are_taken_back_but_count_for_the_speed():
    progress = Progress(1, 100_000_000, now=0)
    progress.add(60_000_000)
    progress.take_back(60_000_000, "lost")
    assert progress.last_error == "lost"
    assert progress.line(10) == "0 of 1 files, 0 bytes of 100.0 MB, 6.0 MB/s, 0:00:17 left"


def test_progress_is_complete_with_every_file_and_byte():
    progress = Progress(2, 5, now=0)
    progress.add(5)
    progress.finish_file()
    assert not progress.is_complete
    progress.finish_file()
    assert progress.is_complete
    progress.add(1)
    assert not progress.is_complete


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (123_456_789, "123.5 MB"), (5e15, "5000.0 TB")],
)
def test_number_of_bytes_has_the_unit_that_suits_it(size, text):
    assert in_bytes(size) == text
