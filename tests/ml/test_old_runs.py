from datetime import UTC, datetime, timedelta

from ml.old_runs import remove_runs, unregistered_runs
from ml.registry import Registry


def test_old_runs_without_a_version_go_with_their_files_and_the_others_stay(tmp_path):
    registry, note = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts"), tmp_path / "note.txt"
    now = datetime.now(UTC)
    assert unregistered_runs(registry, now) == []
    assert not (tmp_path / "mlflow.db").exists()  # asking makes no database
    note.write_text("kept with the run")
    runs = []
    for _ in range(3):
        with registry.recording("model") as run:
            run.artifact(note)
            runs.append(run.run_id)
    registry.client.create_registered_model("model")
    registry.client.create_model_version("model", str(tmp_path), runs[1])
    soon = now + timedelta(minutes=5)
    assert unregistered_runs(registry, now - timedelta(days=1)) == []
    assert unregistered_runs(registry, soon) == [runs[0], runs[2]]
    remove_runs(registry, [runs[0], runs[2]])
    assert unregistered_runs(registry, soon) == []
    assert registry.version("model", "1").run_id == runs[1]
    assert [path.name for path in (tmp_path / "artifacts/model").iterdir()] == [runs[1]]
