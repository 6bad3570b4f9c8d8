"""A small made-up dataset of evidence, and proposals for it. Every number here is invented."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from metamiq.living.bundle import verify
from metamiq.living.table_bundle import bundle_table
from metamiq.living.table_settings import TableAnalysis

TRIALS = """trial_id,label,year,disorder,role,published_by_2018_04,mi_sessions,n_mi,n_cbt,n_total,reason,note
alpha2010,Alpha 2010,2010,GAD,candidate,yes,3,40,41,81,,Open full text: nowhere.
beta2012,Beta 2012,2012,OCD,candidate,yes,1,30,30,60,,
gamma2015,Gamma 2015,2015,SAD,candidate,yes,4,,,50,,
"""
RESULTS = """result_id,trial_id,domain,timepoint,report,favours,value,n_mi,n_cbt,certainty,source,note
alpha2010-post,alpha2010,symptoms,post,significant,mi,,,,reported,abstract,
beta2012-post,beta2012,symptoms,post,d,mi,0.30,30,30,reported,abstract,
gamma2015-post,gamma2015,symptoms,post,nonsignificant,,,,,reported,abstract,
"""
CLAIMS = """claim_id,quantity,reported,source,note
pooled-g,pooled g,0.59,a made-up review,
"""
NEW = """[proposal]
why = "A made-up new trial"
by = "AB"

[[trials]]
trial_id = "delta2020"
label = "Delta 2020"
year = 2020
disorder = "GAD"
role = "candidate"
published_by_2018_04 = "no"
n_mi = 25
n_cbt = { value = 26, locator = "p. 4" }
source = "full text"
locator = "p. 3"

[[results]]
result_id = "delta2020-post"
trial_id = "delta2020"
domain = "symptoms"
timepoint = "post"
report = "means"
favours = "mi"
mean_mi = "10.50"
sd_mi = 5.2
mean_cbt = 13
sd_cbt = 6
n_mi = 25
n_cbt = 26
certainty = "reported"
source = "full text"
locator = "Table 2"
"""
POINT = """[proposal]
why = "The tables of the full text"

[[results]]
result_id = "alpha2010-post"
trial_id = "alpha2010"
report = "means"
mean_mi = 20.1
sd_mi = 7.5
mean_cbt = 25.2
sd_cbt = 8.1
n_mi = 38
n_cbt = 39
source = "full text"
locator = "Table 3, p. 7"
"""


def write_dataset(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, text in (("trials", TRIALS), ("results", RESULTS), ("claims", CLAIMS)):
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every visible file of a folder."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def opened(content: bytes) -> dict[str, bytes]:
    """The files of a bundle."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def closed(files: dict[str, bytes], mend_sums: bool = True) -> bytes:
    """A bundle of files, with checksums that fit them."""
    if mend_sums:
        files = {name: content for name, content in files.items() if name != "SHA256SUMS"}
        sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
        files["SHA256SUMS"] = sums.encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def changed(
    content: bytes, changes: dict[str, Callable[[bytes], bytes] | bytes | None], mend_sums: bool = True
) -> bytes:
    """A bundle with some files changed, added, or left out (None)."""
    files = opened(content)
    for name, change in changes.items():
        if change is None:
            del files[name]
        else:
            files[name] = change(files[name]) if callable(change) else change
    return closed(files, mend_sums)


def edited(path: list[str], value: object) -> Callable[[bytes], bytes]:
    """A change of one value of a JSON file: to a value, or by a function."""

    def change(content: bytes) -> bytes:
        whole = json.loads(content)
        inner = whole
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value(inner[path[-1]]) if callable(value) else value
        return json.dumps(whole).encode()

    return change


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """A change of a text, which must be there."""

    def change(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new, 1)

    return change


# A study table, and bundles of it

HEADER = "Author,m1i,sd1i,n1i,m2i,sd2i,n2i,disorder,weeks\n"
ROWS = """Alpha 2010,10.5,4.2,30,12.1,4.0,31,GAD,6
Beta 2012,9.75,3.9,25,11.0,4.4,24,OCD,8
Gamma 2013,11.2,5.1,40,11.9,4.8,42,GAD,12
Delta 2015,8.8,4.4,22,11.3,4.1,20,OCD,10
Epsilon 2019,10.1,4.0,55,10.9,4.3,53,GAD,16
"""
ANALYSIS = TableAnalysis(measure="SMD", subgroups=("disorder",), moderators=("weeks",), better="lower")
SKIPPED = "Zeta 2020,,,12,,,12,OCD,4\n"


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    file = tmp_path_factory.mktemp("table") / "trials.csv"
    file.write_text(HEADER + ROWS + SKIPPED)
    return bundle_table(file, ANALYSIS).content


@pytest.fixture
def check(tmp_path):
    def run(content):
        file = tmp_path / "bundle.zip"
        file.write_bytes(content)
        return verify(file)

    return run


def places(found):
    return set(found.faults["place"])


def as_object(content, name="results.json"):
    return json.loads(opened(content)[name])
