import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qt_pipeline.env_file import ValueNotKeptError, read_env_file, write_env_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / ".env"


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def test_a_new_file_begins_with_its_heading_and_is_for_its_user_alone(file: Path) -> None:
    before = os.umask(0)
    try:
        write_env_file(file, {"A": "1"}, heading="# Words.\n")
    finally:
        os.umask(before)
    assert file.read_text() == "# Words.\nA=1\n"
    assert mode(file) == 0o600


def test_lines_that_are_not_meant_stay_as_they_are(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("# a comment\nexport A=old  # of A\n\nB='x y'\nC=\nnonsense\n#A=example\n")
    write_env_file(file, {"A": "new", "C": "3", "D": "4"})
    assert file.read_text() == "# a comment\nexport A=new\n\nB='x y'\nC=3\nnonsense\n#A=example\nD=4\n"


def test_a_file_that_others_could_read_is_for_its_user_alone_afterwards(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("A=1\n")
    file.chmod(0o644)
    write_env_file(file, {"B": "2"})
    assert mode(file) == 0o600


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    file.parent.mkdir()
    (tmp_path / "kept").write_text("A=1\n")
    file.symlink_to(tmp_path / "kept")
    write_env_file(file, {"A": "2"})
    assert file.is_symlink()
    assert read_env_file(tmp_path / "kept") == {"A": "2"}


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30))
def test_what_is_written_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    file = tmp_path_factory.mktemp("env") / ".env"
    file.write_text("BEFORE=1\n")
    try:
        write_env_file(file, {"A": value})
    except ValueNotKeptError:
        assert "${" in value
        assert file.read_text() == "BEFORE=1\n"
    else:
        assert read_env_file(file) == {"BEFORE": "1", "A": value}


def test_a_refused_value_leaves_everything_as_it_was_and_is_not_shown(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("A=1\n")
    with pytest.raises(ValueNotKeptError, match="the value of A") as refused:
        write_env_file(file, {"A": "canary${HOME}"})
    assert "canary" not in str(refused.value)
    assert file.read_text() == "A=1\n"
    assert list(file.parent.iterdir()) == [file]


def test_a_value_over_several_lines_is_not_broken(file: Path) -> None:
    file.parent.mkdir()
    text = "A='one\nB=two'\n"
    file.write_text(text)
    with pytest.raises(ValueNotKeptError):
        write_env_file(file, {"B": "3"})
    assert file.read_text() == text


def test_where_no_file_can_be_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        write_env_file(tmp_path / "file" / ".env", {"A": "1"})


def test_a_file_that_is_not_there_sets_nothing(file: Path) -> None:
    assert read_env_file(file) == {}
