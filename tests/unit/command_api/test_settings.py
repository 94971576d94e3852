"""Settings: the environment over the file over defaults, and refusals that name the field."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from command_api.process.settings import Settings


def test_the_environment_is_over_the_file_and_the_file_over_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "lockstep.toml"
    file.write_text('[kafka]\ntopic = "from-file"\ngroup_id = "from-file"\n')
    monkeypatch.setenv("LOCKSTEP_FILE", str(file))
    monkeypatch.setenv("LOCKSTEP_KAFKA__TOPIC", "from-environment")
    kafka = Settings().kafka
    assert (kafka.topic, kafka.group_id, kafka.replication_factor) == ("from-environment", "from-file", 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("kafka = [", "not TOML"),
        ('[kafka]\ntopik = "x"\n', "kafka.topik"),
        ("[projector]\nepoch = 0\n", "projector.epoch"),
    ],
)
def test_a_file_that_can_not_be_taken_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, says: str
) -> None:
    file = tmp_path / "lockstep.toml"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("LOCKSTEP_FILE", str(file))
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert says in str(refused.value)


def test_a_secret_in_a_misspelt_field_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "lockstep.toml"
    file.write_text('[cassandra]\npasword = "open sesame"\n')
    monkeypatch.setenv("LOCKSTEP_FILE", str(file))
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "pasword" in str(refused.value)
    assert "sesame" not in str(refused.value)
