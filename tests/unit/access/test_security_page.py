"""docs/security.md names what is there: settings, files, scopes, commands."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from command_api.__main__ import app as command_api
from command_api.process.settings import Auth, CassandraRoles, Http, Process, Settings
from projector.__main__ import app as projector

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/security.md").read_text()


def settings(section: str, of: type) -> set[str]:
    return {f"LOCKSTEP_{section}__{field}".upper() for field in of.model_fields}  # type: ignore[attr-defined]


def test_settings_are_there_and_all_of_these_sections_are_explained() -> None:
    named = set(re.findall(r"LOCKSTEP_[A-Z0-9_]+", TEXT))
    known: set[str] = set()
    for section, field in Settings.model_fields.items():
        assert field.annotation is not None
        known |= settings(section, field.annotation)
    assert named <= known
    sections = {"auth": Auth, "http": Http, "process": Process, "cassandra_roles": CassandraRoles}
    assert {name for section, of in sections.items() for name in settings(section, of)} <= named


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert targets
    assert not [target for target in targets if not (ROOT / "docs" / target).is_file()]
    assert "docs/security.md" in (ROOT / "README.md").read_text()


def test_commands_explain_themselves() -> None:
    for app, command in ((command_api, "mint-token"), (projector, "roles")):
        assert f" {command}" in TEXT
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        assert shown.exit_code == 0
        assert "Example" in shown.output
