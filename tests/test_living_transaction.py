"""A change is all there or not at all: crashes, errors of the system, two writers, readers in between."""

import dataclasses
import datetime
import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from metamiq.datasets import journal, read_dataset, reading
from metamiq.errors import DataError
from metamiq.living.compare import diff
from metamiq.living.dry_run import plan
from metamiq.living.folders import copy_dataset
from metamiq.living.removal import plan_removal
from metamiq.living.transaction import accept, restore

TODAY = datetime.date(2026, 1, 2)
STEPS = ("write_synced", "move", "remove", "sync_folder")


def load_examples():
    import importlib.util
    from pathlib import Path

    path = Path(__file__).with_name("living_examples.py")
    spec = importlib.util.spec_from_file_location("living_examples", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


examples = load_examples()


class Crash(BaseException):
    """The process dies: no handler of the package may catch it."""


@pytest.fixture
def folder(tmp_path):
    return examples.write_dataset(tmp_path / "mine")


@pytest.fixture
def new(tmp_path):
    file = tmp_path / "new.toml"
    file.write_text(examples.NEW, encoding="utf-8")
    return file


class Injector:
    """Makes the n-th step of a transaction fail, before it is done or halfway; after it is before the next one."""

    def __init__(self, monkeypatch, at, when, error):
        self.count, self.at, self.when, self.error = 0, at, when, error
        for name in STEPS:
            monkeypatch.setattr(journal, name, self.wrap(getattr(journal, name)))

    def wrap(self, step):
        def run(*args):
            self.count += 1
            if self.count != self.at:
                return step(*args)
            if self.when == "halfway" and step.__name__ == "write_synced":
                args[0].write_bytes(args[1][: len(args[1]) // 2])
            raise self.error

        return run


def at_home(change, folder):
    """The same plan for another copy of the same folder; working it out again would only take time."""
    return dataclasses.replace(change, folder=folder)


def steps_of(change, monkeypatch):
    with monkeypatch.context() as patch:
        counter = Injector(patch, at=-1, when="before", error=Crash())
        accept(change, today=TODAY)
    return counter.count


def settle(folder):
    """What the next reader sees, and the files after it."""
    ds = read_dataset(folder)
    return len(ds.trials), examples.contents(folder)


@pytest.fixture
def outcome(tmp_path, new, monkeypatch):
    """The files before and after an undisturbed change, its plan, and the number of its steps."""
    clean = examples.write_dataset(tmp_path / "clean" / "mine")
    before = examples.contents(clean)
    change = plan(clean, new)
    steps = steps_of(change, monkeypatch)
    return before, examples.contents(clean), change, steps


@pytest.mark.parametrize("when", ["before", "halfway"])
def test_a_crash_at_any_step_leaves_the_old_version_or_the_new_one(tmp_path, outcome, when):
    before, after, change, steps = outcome
    assert steps > 15
    seen = set()
    for at in range(1, steps + 1):
        folder = examples.write_dataset(tmp_path / f"{when}{at}" / "mine")
        with pytest.MonkeyPatch.context() as patch:
            Injector(patch, at, when, Crash())
            with pytest.raises(Crash):
                accept(at_home(change, folder), today=TODAY)
        k, files = settle(folder)
        assert files in (before, after), f"step {at} {when}"
        assert (k == 4) == (files == after)
        assert read_dataset(folder).notes == ()
        seen.add(k)
        if k == 3:  # what the crash left behind is in nobody's way
            accept(at_home(change, folder), today=TODAY)
            assert examples.contents(folder) == after
        assert not journal.is_pending(folder)
        assert journal.version_of(folder) == 2
        assert examples.contents(folder / ".history" / "1") == before
    assert seen == {3, 4}


@pytest.mark.parametrize("code", [errno.ENOSPC])
def test_an_error_of_the_system_at_any_step_is_one_sentence_and_no_half(tmp_path, outcome, code):
    before, after, change, steps = outcome
    for at in range(1, steps + 1):
        folder = examples.write_dataset(tmp_path / f"{code}-{at}" / "mine")
        with pytest.MonkeyPatch.context() as patch:
            Injector(patch, at, "halfway", OSError(code, os.strerror(code)))
            with pytest.raises(DataError) as caught:
                accept(at_home(change, folder), today=TODAY)
        assert os.strerror(code) in str(caught.value)
        if "Nothing was changed" in str(caught.value):
            assert examples.contents(folder) == before
            assert sorted(p.name for p in (folder / ".history").iterdir() if p.name in ("next", "keeping")) == []
            assert settle(folder)[1] == before
        else:
            assert "next" in str(caught.value)
            assert settle(folder)[1] == after


def test_a_killed_process_leaves_no_lock_and_no_half(tmp_path, new, outcome):
    before, after, _, _ = outcome
    script = textwrap.dedent("""
        import datetime, os, signal, sys
        from metamiq.datasets import journal
        from metamiq.living.dry_run import plan
        from metamiq.living.transaction import accept
        change = plan(sys.argv[1], sys.argv[2])
        real = journal.move
        def move(source, target):
            real(source, target)
            if target.name == sys.argv[3]:
                os.kill(os.getpid(), signal.SIGKILL)
        journal.move = move
        accept(change, today=datetime.date(2026, 1, 2))
    """)
    for name, expected in (("1", before), ("results.csv", after)):
        folder = examples.write_dataset(tmp_path / f"killed-{name}" / "mine")
        done = subprocess.run([sys.executable, "-c", script, str(folder), str(new), name], capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        assert settle(folder)[1] == expected


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
def test_a_disk_that_is_really_full(tmp_path, new):
    folder = examples.write_dataset(tmp_path / "full" / "mine")
    before = examples.contents(folder)
    script = textwrap.dedent("""
        import resource, signal, sys
        from metamiq.errors import DataError
        from metamiq.living.dry_run import plan
        from metamiq.living.transaction import accept
        change = plan(sys.argv[1], sys.argv[2])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        try:
            accept(change)
        except DataError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", script, str(folder), str(new)], capture_output=True, text=True)
    assert "Nothing was changed" in done.stdout, done.stderr
    assert examples.contents(folder) == before
    assert settle(folder)[1] == before


def test_a_folder_that_is_read_only(folder, new):
    change = plan(folder, new)
    before = examples.contents(folder)
    if os.geteuid() == 0:  # root may write anywhere: let the system say no in its place
        with pytest.MonkeyPatch.context() as patch:
            refused = OSError(errno.EROFS, os.strerror(errno.EROFS))
            patch.setattr("pathlib.Path.mkdir", lambda *a, **k: (_ for _ in ()).throw(refused))
            with pytest.raises(DataError, match="must be a folder that you can write"):
                accept(change)
    else:
        folder.chmod(0o500)
        try:
            with pytest.raises(DataError, match="must be a folder that you can write"):
                accept(change)
        finally:
            folder.chmod(0o700)
    assert examples.contents(folder) == before


def test_two_writers_at_once(folder, new, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(examples.NEW.replace("delta2020", "eps2021").replace("Delta 2020", "Eps 2021"), encoding="utf-8")
    plans = [plan(folder, new), plan(folder, other)]
    said, start = [], threading.Barrier(2)

    def write(change):
        start.wait()
        try:
            said.append(str(accept(change, today=TODAY)))
        except DataError as error:
            said.append(str(error))

    threads = [threading.Thread(target=write, args=(p,)) for p in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(s if s == "2" else "refused" for s in said) == ["2", "refused"]
    assert any("changed since" in s for s in said)
    assert len(read_dataset(folder).trials) == 4
    accept(plan(folder, other if "delta2020" in set(read_dataset(folder).trials["trial_id"]) else new))
    assert len(read_dataset(folder).trials) == 5


def test_a_writer_does_not_wait_for_ever(folder):
    with (
        journal.locked(folder),
        pytest.raises(DataError, match="Only one process at a time"),
        journal.locked(folder, 0.05),
    ):
        pass


def test_a_reader_never_gets_a_mixture(folder, new, monkeypatch):
    """The folder changes after the first table was read; what comes back is all new."""
    change = plan(folder, new)
    real = reading.read_csv_table
    read = []

    def read_then_change(path):
        table = real(path)
        read.append(path.name)
        if read == ["trials.csv"]:
            with journal.locked(folder):
                journal.commit(folder, change.tables, 2)
        return table

    monkeypatch.setattr(reading, "read_csv_table", read_then_change)
    ds = read_dataset(folder)
    assert read.count("trials.csv") == 2
    assert "delta2020" in set(ds.trials["trial_id"])
    assert "delta2020" in set(ds.results["trial_id"])

    def always_change(path):
        with journal.locked(folder):
            journal.commit(folder, change.tables, journal.version_of(folder) + 1)
        return real(path)

    monkeypatch.setattr(reading, "read_csv_table", always_change)
    with pytest.raises(DataError, match="it kept changing"):
        read_dataset(folder)


def test_a_reader_finishes_a_valid_change_and_refuses_a_forged_one(folder, new):
    change = plan(folder, new)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "finish", lambda folder: None)
        accept(change, today=TODAY)
    assert journal.is_pending(folder)
    staged = folder / ".history" / "next" / "results.csv"
    good = staged.read_bytes()
    staged.write_bytes(good.replace(b"10.50", b"99.99"))
    with pytest.raises(DataError, match="not what the journal says"):
        read_dataset(folder)
    staged.write_bytes(good)
    assert len(read_dataset(folder).trials) == 4
    record = {"version": 9, "files": {"../../evil.csv": "0" * 64}}
    (folder / ".history" / "journal.json").write_text(json.dumps(record), encoding="ascii")
    with pytest.raises(DataError, match=r"it names '\.\./\.\./evil\.csv'"):
        read_dataset(folder)
    (folder / ".history" / "journal.json").write_text("{", encoding="ascii")
    with pytest.raises(DataError, match="must be the journal of a change"):
        read_dataset(folder)


def test_an_accepted_change_writes_tables_provenance_and_history(folder, new):
    before = examples.contents(folder)
    version = accept(plan(folder, new), today=TODAY)
    assert version == 2
    assert examples.contents(folder / ".history" / "1") == before
    provenance = (folder / "provenance.csv").read_text(encoding="utf-8").splitlines()
    assert provenance[0] == "version,date,table,row,column,before,after,source,locator,by"
    assert "2,2026-01-02,trials,delta2020,n_cbt,,26,full text,p. 4,AB" in provenance
    assert "2,2026-01-02,results,delta2020-post,mean_mi,,10.50,full text,Table 2,AB" in provenance
    text = (folder / "CHANGES.md").read_text(encoding="utf-8")
    assert "## Version 2 (2026-01-02)" in text
    assert [line for line in text.splitlines() if line.startswith("### ")] == [
        "### Data: 2 rows added",
        "### Methods",
        "### Results",
    ]
    assert "k 3 -> 4 (points 1 -> 2, bounds 2 -> 2)" in text
    old, now = (
        path.read_text(encoding="utf-8").splitlines()
        for path in (folder / ".history/1/trials.csv", folder / "trials.csv")
    )
    assert [line for line in now if line in old] == old, "rows that did not change keep their text"
    assert now[2].startswith("beta2012")
    assert now[3].startswith("delta2020"), "a sorted table stays sorted"


def test_restore_brings_back_every_file_and_keeps_the_record(folder, new):
    (folder / "notes of mine.txt").write_text("keep", encoding="utf-8")
    before = examples.contents(folder)
    accept(plan(folder, new), today=TODAY)
    assert restore(folder, 1, why="a duplicate", today=TODAY) == 3
    now = examples.contents(folder)
    assert {name: now[name] for name in before} == before
    assert set(now) - set(before) == {"provenance.csv", "CHANGES.md"}
    assert b"Version 1 restored" in now["CHANGES.md"]
    assert b"## Version 2" in now["CHANGES.md"]
    assert diff(f"{folder}@1", folder).is_empty
    assert not diff(f"{folder}@2", folder).is_empty
    with pytest.raises(DataError, match=r"one that .* keeps \(1, 2\)"):
        restore(folder, 7, why="no")
    with pytest.raises(DataError, match="must have a reason"):
        restore(folder, 1, why=" ")


def test_a_trial_is_taken_out_in_a_transaction_that_can_be_taken_back(folder):
    before = examples.contents(folder)
    change = plan_removal(folder, ["alpha2010"], why="made up", by="AB")
    assert {(c.table, c.key, c.is_gone) for c in change.changes} == {
        ("trials", "alpha2010", True),
        ("results", "alpha2010-post", True),
    }
    assert examples.contents(folder) == before, "a plan writes nothing"
    assert accept(change, today=TODAY) == 2
    now = read_dataset(folder)
    assert "alpha2010" not in set(now.trials["trial_id"]) | set(now.results["trial_id"])
    assert "- trials `alpha2010`: removed." in (folder / "CHANGES.md").read_text(encoding="utf-8")
    assert "results,alpha2010-post,report,significant,,(removed),made up,AB" in (folder / "provenance.csv").read_text()
    restore(folder, 1, why="back", today=TODAY)
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_result_alone_may_go_and_its_trial_stays(folder):
    change = plan_removal(folder, ["beta2012-post"], why="made up")
    assert {(c.table, c.key) for c in change.changes} == {("results", "beta2012-post")}


@pytest.mark.parametrize(
    ("keys", "why", "words"),
    [
        (["nobody"], "x", "'nobody' is none"),
        ([], "x", "none was named"),
        (["../../x"], "x", "is none"),
        (["alpha2010"], " ", "must have a reason"),
        (["alpha2010"], "=HYPERLINK(1)", "must be plain text"),
        (["alpha2010", "beta2012", "gamma2015"], "x", "must keep at least one trial"),
    ],
)
def test_what_cannot_be_taken_out_is_said(folder, keys, why, words):
    before = examples.contents(folder)
    with pytest.raises(DataError) as caught:
        plan_removal(folder, keys, why=why)
    assert words in str(caught.value)
    assert examples.contents(folder) == before


def test_a_table_that_came_later_goes_when_the_old_version_returns(folder, tmp_path):
    file = tmp_path / "dropout.csv"
    file.write_text(
        "trial_id,stage,arm,n,dropouts,certainty,source,locator\nbeta2012,treatment,mi,30,3,reported,full text,p. 9\n",
        encoding="utf-8",
    )
    accept(plan(folder, file, why="dropout of the full text"))
    assert len(read_dataset(folder).dropout) == 1
    restore(folder, 1, why="wrong trial")
    assert not (folder / "dropout.csv").exists()


def test_a_plan_goes_stale_and_a_reason_is_needed(folder, new):
    change = plan(folder, new)
    (folder / "README.md").write_text("edited meanwhile", encoding="utf-8")
    with pytest.raises(DataError, match="has changed since"):
        accept(change)
    new.write_text(examples.NEW.replace('why = "A made-up new trial"', ""), encoding="utf-8")
    with pytest.raises(DataError, match="must have a reason"):
        accept(plan(folder, new))
    assert accept(plan(folder, new, why="said here")) == 2


def test_symbolic_links_and_the_installed_package_are_refused(folder, new, tmp_path, monkeypatch):
    target = tmp_path / "elsewhere.csv"
    target.write_bytes((folder / "results.csv").read_bytes())
    (folder / "results.csv").unlink()
    (folder / "results.csv").symlink_to(target)
    before = target.read_bytes()
    with pytest.raises(DataError, match=r"symbolic links: .*results\.csv"):
        accept(plan(folder, new))
    assert target.read_bytes() == before
    inside = examples.write_dataset(tmp_path / "package" / "_data" / "mine")
    monkeypatch.setattr("metamiq.living.folders._PACKAGE", tmp_path / "package")
    with pytest.raises(DataError, match="metamiq copy-dataset"):
        accept(plan(inside, new))
    assert not (inside / "CHANGES.md").exists()


def test_copies_are_new_folders(tmp_path):
    copy = copy_dataset("mi_cbt_anxiety", tmp_path / "a" / "mine")
    assert len(read_dataset(copy).trials) == 31
    with pytest.raises(DataError, match="must be new"):
        copy_dataset("mi_cbt_anxiety", copy)
    with pytest.raises(ValueError, match="bundled datasets"):
        copy_dataset("../../etc", tmp_path / "b")


def test_the_dictionary_follows_the_tables(tmp_path, new):
    copy = copy_dataset("mi_cbt_anxiety", tmp_path / "mine")
    text = examples.POINT.replace("alpha2010", "westra2009").replace(
        'result_id = "westra2009-post"', 'result_id = "westra2009-worry-post"'
    )
    file = tmp_path / "point.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"must not bring errors, but `check` finds N01 .*n_total = 76"):
        accept(plan(copy, file, replace=True))
    file.write_text(text.replace("n_cbt = 39", "n_cbt = 38"), encoding="utf-8")
    first = json.loads((copy / "datapackage.json").read_text(encoding="utf-8"))
    accept(plan(copy, file, replace=True))
    package = json.loads((copy / "datapackage.json").read_text(encoding="utf-8"))
    assert package["version"] != first["version"]
    header = (copy / "results.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    fields = next(r for r in package["resources"] if r["name"] == "results")["schema"]["fields"]
    assert [f["name"] for f in fields] == header


def test_what_there_is_to_restore_is_said(folder, tmp_path):
    with pytest.raises(DataError, match=r"The dataset must be a folder, but .*nosuch was not found"):
        restore(tmp_path / "nosuch", 1, why="x")
    with pytest.raises(DataError, match=r"keeps no version before the present one \(version 1\)"):
        restore(folder, 1, why="x")
