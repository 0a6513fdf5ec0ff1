"""Drafted files: written all or not at all, over nobody's, and with a word on how to undo it."""

import pytest

from assets.new_files import Draft
from assets.scaffold import _finish


def test_no_file_of_somebody_is_overwritten(tmp_path):
    (tmp_path / "mine.py").write_text("mine")
    with pytest.raises(ValueError, match=r"mine.py exists and is not overwritten"):
        Draft({"new.py": "", "mine.py": ""}, root=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_files_are_written_all_or_not_at_all(tmp_path):
    (tmp_path / "old.yml").write_text("old")
    with pytest.raises(OSError, match="nowhere"):
        Draft({"a.py": "a"}, {"old.yml": "new", "nowhere/b.py": "b"}, tmp_path).write()
    with pytest.raises(OSError, match="nowhere"):
        Draft({"a.py": "a", "nowhere/b.py": "b"}, {"old.yml": "new"}, tmp_path).write()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"old.yml": "old"}


def test_what_was_written_ends_with_how_to_undo_it(tmp_path, capsys):
    (tmp_path / "state.sql").write_text("select 1")
    draft = Draft({"a.py": "", "a.yml": ""}, {"state.sql": "select 1, 2"}, tmp_path)
    _finish(draft, True, "make plan")
    assert "undo" not in capsys.readouterr().out
    _finish(draft, False, "make plan")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "to undo it: rm a.py a.yml, and take the added part out of state.sql"
    _finish(Draft({}, {"state.sql": "select 1, 2, 3"}, tmp_path), False, "make plan")
    assert capsys.readouterr().out.splitlines()[-1] == "to undo it: take the added part out of state.sql"
