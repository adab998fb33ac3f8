"""How a settled option of the emulator is written."""

from __future__ import annotations

import pytest

from airflow_provider_fireworks.check.results import EmulatorOption, Result


@pytest.mark.parametrize(
    ("name", "value", "flag", "keyword"),
    [
        ("precision_lists", "absent", "--precision-lists absent", 'precision_lists="absent"'),
        ("gpu_quota", 16, "--gpu-quota 16", "gpu_quota=16"),
        ("stale_status", True, "--stale-status", "stale_status=True"),
        ("zero_data_retention", False, "--no-zero-data-retention", "zero_data_retention=False"),
    ],
)
def test_option_is_written_as_a_flag_and_as_a_keyword(name, value, flag, keyword):
    option = EmulatorOption(name, value, "")
    assert option.flag == flag
    assert option.keyword == keyword


def test_hidden_result_keeps_the_key_nowhere():
    result = Result("model", True, "says fw_key", (EmulatorOption("stale_status", True, "fw_key again"),))

    hidden = result.hide(lambda text: text.replace("fw_key", "***"))

    assert "fw_key" not in repr(hidden)
    assert hidden.detail == "says ***"
