"""The doctor's own small rules."""

from pathlib import Path

import mssql_python
import pytest

from qt_pipeline.doctor import mounts
from qt_pipeline.doctor.finding import FindingState
from qt_pipeline.doctor.local import _state, driver_fault
from qt_pipeline.doctor.redact import Redactor
from qt_pipeline.settings import load_settings
from qt_pipeline.urls import redacted_url

TABLE = """\
22 1 0:21 / / rw - ext4 /dev/sda rw
23 22 0:31 / /mnt rw shared:7 - nfs4 server:/share rw
24 23 0:32 / /mnt/a\\040disk rw - ext4 /dev/sdb rw
25 22 0:33 / /over rw - cifs //server/share rw
26 22 0:34 / /over rw - tmpfs tmpfs rw
a line of another kind
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home/x.db", None), ("/mnt/x.db", "nfs4"), ("/mnt/a disk/x.db", None), ("/over/x.db", None), ("/mntx", None)],
)
def test_the_nearest_mount_above_a_path_says_what_it_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, kind: str | None
) -> None:
    (tmp_path / "mountinfo").write_text(TABLE)
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "mountinfo")
    assert mounts.network_file_system(Path(path)) == kind


def test_where_nobody_tells_of_mounts_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "none")
    assert mounts.network_file_system(Path("/mnt/x.db")) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:canary@host/path?sig=canary", "https://host/path"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[canary", "http://***"),
        ("http://host:canary", "http://***"),
    ],
)
def test_an_address_is_told_without_its_secrets(url: str, shown: str) -> None:
    assert redacted_url(url) == shown


def test_a_driver_whose_library_can_be_loaded_has_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"driver_path": mssql_python.ddbc_bindings.module_path}
    monkeypatch.setattr(mssql_python, "get_native_provider_info", lambda: there)
    assert driver_fault("mssql://u@h/d") is None


def test_a_secret_is_hidden_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QT_ENV_FILE", "")
    mask = Redactor(
        load_settings(
            client_secret="secret-1",
            relay_tokens="token-0123456789-a,token-0123456789-ab",
            warehouse_url="postgresql://u:p%40ssword@h/d",
            alert_urls="slack://first/second",
        )
    )
    told = mask("secret-1 token-0123456789-ab token-0123456789-a p@ssword p%40ssword slack://first/second and u, h, d")
    assert told == "*** *** *** *** *** *** and u, h, d"


def test_a_state_folder_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    state = tmp_path / "my state"
    state.mkdir()
    state.chmod(0o755)
    [finding] = _state(state)
    assert (finding.state, finding.hint) == (FindingState.WARNING, f"Run: chmod -R go= '{state}'")
    assert "755" in finding.message
    state.chmod(0o700)
    (state / "inbox.db").touch(0o644)
    assert list(_state(state)) == []
    assert list(_state(tmp_path / "none")) == []
