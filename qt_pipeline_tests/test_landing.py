import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from adlfs import AzureBlobFileSystem
from azure.storage.blob import BlobServiceClient
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from qt_pipeline.errors import ConfigurationError, TransientError
from qt_pipeline.landing import (
    MANUAL,
    Draft,
    Landed,
    LandedFileChangedError,
    Landing,
    LandingUnavailableError,
    Manifest,
    NothingLandedError,
    Provenance,
    Source,
)
from qt_pipeline.landing.landed import DATA
from qt_pipeline.landing.store import uri_of
from qt_pipeline.values import utc_now
from qt_pipeline_tests.azurite import running_azurite
from qt_pipeline_tests.examples import few_examples

DATASET = "d-one"
CSV = b"Reference,Amount\n" + b"007,1.25\n" * 1000


@pytest.fixture(scope="module")
def blob_account() -> Iterator[str]:
    """The connection string of an account with a container `files`."""
    # The account that every Azurite has, and its published key.
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    with running_azurite("blob") as address:
        account = f"AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint={address}/devstoreaccount1;"
        BlobServiceClient.from_connection_string(account).create_container("files")
        yield account


@pytest.fixture(params=["folder", "object store", "azure blob"])
def landing(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Landing:
    if request.param == "folder":
        return Landing(str(tmp_path / "landing"))
    if request.param == "object store":
        return Landing(f"memory://landing-{uuid.uuid4()}")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", request.getfixturevalue("blob_account"))
    return Landing(f"az://files/{uuid.uuid4()}/landing")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "landing"


def provenance(run_id: str, *, through_seq: int = 0) -> Provenance:
    if run_id.startswith(MANUAL):
        return Provenance(run_id, run_id, "", 0, None, source=Source(uri="file:///a.csv", modified_at=utc_now()))
    return Provenance(run_id, f"trace of {run_id}", "inbox-1", through_seq, "event-1" if through_seq else None)


def fill(draft: Draft, *pieces: bytes) -> None:
    with draft.sink() as sink:
        for piece in pieces:
            sink.write(piece)


def land(landing: Landing, run_id: str, csv: bytes = CSV, *, dataset_id: str = DATASET, through_seq: int = 0) -> Landed:
    with landing.draft(dataset_id, run_id) as draft:
        fill(draft, csv)
        return draft.commit(provenance(run_id, through_seq=through_seq))


def content(landed: Landed) -> bytes:
    with landed.open() as stream:
        return stream.read()


def break_off(draft: Draft, data: bytes) -> None:
    """A try of a download that fails midway."""
    with pytest.raises(ConnectionError), draft.sink() as sink:  # noqa: PT012  # the error must pass through the sink
        sink.write(data)
        raise ConnectionError


def folders(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / DATASET).iterdir())


def test_a_landed_file_is_the_csv_as_it_came_and_knows_where_from(landing: Landing) -> None:
    before = utc_now()
    landed = land(landing, "run-1", through_seq=7)
    manifest = landed.manifest
    assert content(landed) == CSV
    assert content(landed) == CSV
    assert (manifest.bytes, manifest.sha256) == (len(CSV), hashlib.sha256(CSV).hexdigest())
    assert (manifest.dataset_id, manifest.number, manifest.run_id, manifest.trace_id) == (
        *(DATASET, 1),
        *("run-1", "trace of run-1"),
    )
    assert (manifest.inbox_id, manifest.through_seq, manifest.event_id) == ("inbox-1", 7, "event-1")
    assert before <= manifest.landed_at <= utc_now()
    assert manifest.landed_at.tzinfo is not None
    assert landing.newest(DATASET) == landed


@few_examples()
@given(st.lists(st.binary(max_size=5000), max_size=20))
def test_the_pieces_it_came_in_leave_no_trace(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    landing = Landing(str(tmp_path_factory.mktemp("landing")))
    whole = b"".join(pieces)
    with landing.draft(DATASET, "run-1") as draft:
        fill(draft, *pieces)
        landed = draft.commit(provenance("run-1"))
    assert content(landed) == whole
    assert (landed.manifest.bytes, landed.manifest.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())


def test_the_stored_file_is_plain_zstd_and_smaller(folder: Path) -> None:
    landed = land(Landing(str(folder)), "run-1")
    stored = Path(landed.uri).read_bytes()
    assert Path(landed.uri).name == "data.csv.zst"
    assert stored.startswith(b"\x28\xb5\x2f\xfd")  # RFC 8878, 3.1.1
    assert pa.CompressedInputStream(pa.BufferReader(stored), "zstd").read() == CSV
    assert landed.manifest.stored_bytes == len(stored) < len(CSV)


def test_the_manifest_can_be_read_by_people(folder: Path) -> None:
    landed = land(Landing(str(folder)), "run-1")
    text = (Path(landed.uri).parent / "manifest.json").read_text("utf-8")
    assert Manifest.model_validate_json(text) == landed.manifest
    assert json.loads(text)["landed_at"].endswith("Z")
    assert landed.manifest.landed_at.astimezone(UTC) == landed.manifest.landed_at


def test_nothing_counts_before_the_commit(landing: Landing) -> None:
    with landing.draft(DATASET, "run-1") as draft:
        with pytest.raises(NothingLandedError):
            landing.newest(DATASET)
        fill(draft, CSV)
        with pytest.raises(NothingLandedError):
            landing.newest(DATASET)
        assert landing.of_run(DATASET, "run-1") is None
        landed = draft.commit(provenance("run-1"))
        assert landing.newest(DATASET) == landed


def test_a_draft_that_is_left_leaves_nothing(folder: Path) -> None:
    landing = Landing(str(folder))
    with suppress(ConnectionError), landing.draft(DATASET, "run-1") as draft:
        fill(draft, CSV)
        raise ConnectionError
    with landing.draft(DATASET, "run-2"):
        pass
    assert folders(folder) == []


def test_a_commit_stands_whatever_comes_after(landing: Landing) -> None:
    with suppress(ConnectionError), landing.draft(DATASET, "run-1") as draft:
        fill(draft, CSV)
        draft.commit(provenance("run-1"))
        raise ConnectionError
    assert content(landing.newest(DATASET)) == CSV


def test_a_sink_that_is_begun_anew_forgets_the_earlier_try(landing: Landing) -> None:
    with landing.draft(DATASET, "run-1") as draft:
        break_off(draft, b"the beginning of something much longer " * 1000)
        fill(draft, b"a\n", b"1\n")
        landed = draft.commit(provenance("run-1"))
    assert content(landed) == b"a\n1\n"
    assert (landed.manifest.bytes, landed.manifest.sha256) == (4, hashlib.sha256(b"a\n1\n").hexdigest())


def test_a_sink_that_failed_cannot_be_committed(landing: Landing) -> None:
    with landing.draft(DATASET, "run-1") as draft:
        with pytest.raises(RuntimeError, match="without an error"):
            draft.commit(provenance("run-1"))
        fill(draft, CSV)
        break_off(draft, b"a\n")
        with pytest.raises(RuntimeError, match="without an error"):
            draft.commit(provenance("run-1"))
    with pytest.raises(NothingLandedError):
        landing.newest(DATASET)


@pytest.mark.parametrize("size", [100, 5_000_000], ids=["at the end", "in the middle"])
def test_a_disk_that_is_full_is_told_and_may_have_space_later(folder: Path, size: int) -> None:
    with Landing(str(folder)).draft(DATASET, "run-1") as draft:
        (next(folder.glob("*/*")) / "data.csv.zst").symlink_to("/dev/full")
        with pytest.raises(LandingUnavailableError, match="No space left on device") as refusal:
            fill(draft, os.urandom(size))
    assert isinstance(refusal.value, TransientError)
    assert "space" in refusal.value.hint
    assert list(folder.glob("*/*")) == []


def test_a_folder_that_cannot_be_made_is_told(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(LandingUnavailableError, match="Not a directory"), Landing(str(folder)).draft(DATASET, "run-1"):
        pass


def test_the_newest_is_the_one_landed_last(landing: Landing) -> None:
    landed = [land(landing, f"run-{number}", f"a\n{number}\n".encode()) for number in range(12)]
    assert [one.manifest.number for one in landed] == list(range(1, 13))
    assert landing.newest(DATASET) == landed[-1]
    assert [content(one) for one in landed] == [f"a\n{number}\n".encode() for number in range(12)]


def test_each_run_finds_its_own(landing: Landing) -> None:
    # Equal at the beginning, as far as the folder's name shows a run.
    first, second, third = "12345678-first", "12345678-second", "87654321-third"
    landed = {run: land(landing, run, run.encode()) for run in (first, second, third)}
    assert {run: landing.of_run(DATASET, run) for run in landed} == landed
    assert landing.of_run(DATASET, "12345678-fourth") is None
    assert landing.of_run(DATASET, "") is None


def test_the_last_try_of_a_run_counts(landing: Landing) -> None:
    land(landing, "run-1", b"a\n1\n")
    again = land(landing, "run-1", b"a\n2\n")
    assert landing.of_run(DATASET, "run-1") == again


def test_datasets_have_nothing_to_do_with_each_other(landing: Landing) -> None:
    one = land(landing, "run-1")
    other = land(landing, "run-2", dataset_id="d-two")
    assert (landing.newest(DATASET), landing.newest("d-two")) == (one, other)
    assert other.manifest.number == 1
    with pytest.raises(NothingLandedError, match=r"^Dataset d-three: No landed file"):
        landing.newest("d-three")


# Lands up to a point, says so, and waits to be killed.
STOP_AT = """
import sys, time
from pathlib import Path
from qt_pipeline import landing
from qt_pipeline.landing import Landing, Provenance

url, point = sys.argv[1:]

def stop(at):
    if at == point:
        print("ready", flush=True)
        time.sleep(60)

replace = Path.replace
Path.replace = lambda path, to: stop("before the manifest counts") or replace(path, to)
with Landing(url).draft("d-one", "dead-run") as draft:
    with draft.sink() as sink:
        sink.write(b"a" * 100_000)
        stop("within the download")
    stop("before the commit")
    draft.commit(Provenance("dead-run", "trace", "inbox-1", 1, None))
    stop("after the commit")
"""


def kill_at(point: str, folder: Path) -> None:
    command = [sys.executable, "-c", STOP_AT, str(folder), point]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
        assert process.wait(20) == -signal.SIGKILL


@pytest.mark.parametrize("point", ["within the download", "before the commit", "before the manifest counts"])
def test_a_kill_before_the_manifest_leaves_nothing_that_counts_and_is_swept(folder: Path, point: str) -> None:
    landing = Landing(str(folder))
    earlier = land(landing, "run-1")
    kill_at(point, folder)
    assert len(folders(folder)) == 2
    assert landing.newest(DATASET) == earlier
    assert landing.of_run(DATASET, "dead-run") is None
    later = land(landing, "run-2")
    assert folders(folder) == ["00000001-run-1", "00000003-run-2"]
    assert landing.newest(DATASET) == later


def test_a_kill_after_the_manifest_leaves_the_whole_landing(folder: Path) -> None:
    kill_at("after the commit", folder)
    assert content(Landing(str(folder)).newest(DATASET)) == b"a" * 100_000


def test_what_is_not_a_landing_is_left_alone(folder: Path) -> None:
    landing = Landing(str(folder))
    landed = land(landing, "run-1")
    (folder / DATASET / "notes").mkdir()
    (folder / DATASET / "00000009.txt").write_text("not a landing")
    assert landing.newest(DATASET) == landed
    assert land(landing, "run-2").manifest.number == 2
    assert folders(folder) == ["00000001-run-1", "00000002-run-2", "00000009.txt", "notes"]


def test_a_probe_leaves_nothing_and_tells_what_is_free_where_that_is_known(landing: Landing, folder: Path) -> None:
    free = landing.probe()
    # An object store knows no empty folder.
    assert not landing._root.exists() or list(landing._root.iterdir()) == []
    assert (free is not None and free > 0) if folder.exists() else free is None


def test_a_probe_tells_of_a_landing_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LandingUnavailableError, match="cannot be written"):
        Landing(str(tmp_path / "file" / "landing")).probe()


@pytest.mark.parametrize("url", ["nope://container/landing", "s3://bucket/landing"])
def test_a_store_that_nothing_can_reach_is_a_matter_of_configuration(url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{url.partition(':')[0]}://"):
        Landing(url).probe()


def test_a_file_that_is_as_it_was_landed_passes_and_any_other_does_not(landing: Landing) -> None:
    landed, other = land(landing, "run-1"), land(landing, "run-2", b"a\n1\n")
    landed.verify()
    stored = landed.folder / "data.csv.zst"
    for content_of in ((other.folder / "data.csv.zst").read_bytes, lambda: b"torn", lambda: b""):
        stored.write_bytes(content_of())
        with pytest.raises(LandedFileChangedError, match=f"^Dataset {DATASET}: The landed file"):
            landed.verify()
    stored.unlink()
    with pytest.raises(LandedFileChangedError, match="cannot be read"):
        landed.verify()


def test_a_landing_that_is_removed_is_gone_with_all_that_is_beside_it(landing: Landing) -> None:
    gone, kept = land(landing, "run-1"), land(landing, "run-2")
    gone.write_beside("invalid-values-run-1.csv", "line\n")
    landing.remove(gone)
    assert list(landing.complete(DATASET)) == [kept]
    assert not gone.folder.exists()
    assert land(landing, "run-3").manifest.number == 3


def test_the_landing_knows_which_datasets_it_has(landing: Landing) -> None:
    assert landing.datasets() == []
    for dataset_id in ("d-two", "d-one"):
        land(landing, "run-1", dataset_id=dataset_id)
    assert landing.datasets() == ["d-one", "d-two"]


def test_a_download_that_is_refused_before_its_first_byte_is_told_as_it_was(landing: Landing) -> None:
    with pytest.raises(RuntimeError, match="refused"), landing.draft(DATASET, "run-1"):
        raise RuntimeError("refused")
    assert list(landing.complete(DATASET)) == []


# --- by hand, beside a run


def by_hand() -> str:
    return f"{MANUAL}{uuid.uuid4()}"


def test_a_draft_by_hand_and_one_of_a_run_leave_each_other_alone(landing: Landing) -> None:
    # Each begins while the other is at it, and what an object store shows of a draft is its file.
    earlier, later = by_hand(), by_hand()
    with ExitStack() as drafts:
        begun: dict[str, Draft] = {}
        for run_id in (earlier, "run-1", later):
            begun[run_id] = drafts.enter_context(landing.draft(DATASET, run_id))
            fill(begun[run_id], run_id.encode())
        landed = {run_id: draft.commit(provenance(run_id)) for run_id, draft in begun.items()}
    assert {run_id: content(one) for run_id, one in landed.items()} == {run_id: run_id.encode() for run_id in begun}
    assert {run_id: landing.of_run(DATASET, run_id) for run_id in begun} == landed


def test_two_that_get_one_number_are_two_landings(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = landing._folders(DATASET)
    monkeypatch.setattr(landing, "_folders", lambda _: looked)
    runs = ["run-1", by_hand(), by_hand()]
    landed = {run_id: land(landing, run_id, run_id.encode()) for run_id in runs}
    monkeypatch.undo()
    assert {one.manifest.number for one in landed.values()} == {1}
    assert {run_id: landing.of_run(DATASET, run_id) for run_id in runs} == landed
    assert landing.newest(DATASET) == landed["run-1"]
    assert list(landing.complete(DATASET)) == list(landing.complete(DATASET))
    landing.remove(landed[runs[1]])
    assert {one.manifest.run_id for one in landing.complete(DATASET)} == {runs[0], runs[2]}
    assert land(landing, "run-2").manifest.number == 2


def left(folder: Path, run_id: str, *, age: timedelta = timedelta()) -> str:
    """The name of a draft whose process was killed, some time ago."""
    landing, known = Landing(str(folder)), set(folders(folder))
    with landing.draft(DATASET, run_id) as draft:
        fill(draft, CSV)
        [name] = set(folders(folder)) - known
        shutil.copytree(folder / DATASET / name, folder / "killed")
    number, dash, rest = name.partition("-manual-")
    _, _, letters = rest.partition("-")
    then = f"{utc_now() - age:%Y%m%dT%H%M%SZ}"
    name = f"{number}{dash}{then}-{letters}" if dash else name
    return str((folder / "killed").rename(folder / DATASET / name).name)


@pytest.mark.parametrize("sweeper", ["run-9", f"{MANUAL}12345678"], ids=["a run", "one by hand"])
def test_a_draft_by_hand_that_was_left_goes_after_a_day(folder: Path, sweeper: str) -> None:
    landing = Landing(str(folder))
    kept = Path(land(landing, by_hand()).folder).name
    today = left(folder, by_hand(), age=timedelta(hours=23))
    yesterday = left(folder, by_hand(), age=timedelta(hours=25))
    with landing.draft(DATASET, sweeper):
        found = folders(folder)
    assert {kept, today} < set(found)
    assert yesterday not in found
    assert len(found) == 3


def test_a_draft_of_a_run_is_for_the_next_run_to_sweep(folder: Path) -> None:
    landing = Landing(str(folder))
    land(landing, "run-0")
    of_run = left(folder, "dead-run")
    land(landing, by_hand())
    assert of_run in folders(folder)
    land(landing, "run-1")
    assert of_run not in folders(folder)


def test_a_complete_landing_by_hand_is_never_swept(folder: Path) -> None:
    landing = Landing(str(folder))
    landed = land(landing, by_hand())
    old = Path(landed.folder).with_name(f"00000001-manual-20200101T000000Z-{'0' * 8}")
    Path(landed.folder).rename(old)
    land(landing, "run-1")
    assert (old / DATA).exists()


def test_the_newest_is_always_a_download(landing: Landing) -> None:
    land(landing, by_hand())
    with pytest.raises(NothingLandedError, match="landed files were loaded manually"):
        landing.newest(DATASET)
    download = land(landing, "run-1")
    land(landing, by_hand())
    assert landing.newest(DATASET) == download
    assert [one.is_manual for one in landing.complete(DATASET)] == [True, False, True]


def test_a_manifest_of_before_files_were_landed_by_hand_is_that_of_a_download(folder: Path) -> None:
    landed = land(Landing(str(folder)), "run-1")
    manifest = Path(landed.folder) / "manifest.json"
    known = json.loads(manifest.read_text())
    assert known.pop("source") is None
    manifest.write_text(json.dumps(known))
    assert Landing(str(folder)).newest(DATASET) == landed


def test_what_an_object_store_refuses_in_its_own_words_is_told_as_of_the_landing(
    blob_account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_key = re.sub("AccountKey=[^;]*", f"AccountKey={'A' * 86}==", blob_account)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", wrong_key)
    # It would remember the right key.
    AzureBlobFileSystem.clear_instance_cache()
    with pytest.raises(LandingUnavailableError, match=r"landing az://files/elsewhere.* cannot be ") as refusal:
        land(Landing("az://files/elsewhere"), "run-1")
    assert "AAAA" not in str(refusal.value)
    AzureBlobFileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sftp://files.example.com/landing", "sftp://files.example.com/landing"),
        ("sftp://loader:hunter2@files.example.com:2222/landing", "sftp://files.example.com:2222/landing"),
        ("memory://box/landing", "memory://box/landing"),
    ],
)
def test_the_address_of_a_store_has_its_host_and_no_secret(url: str, shown: str) -> None:
    assert uri_of(UPath(url)) == shown
    assert uri_of(UPath(url) / "d-one" / "data.csv.zst") == f"{shown}/d-one/data.csv.zst"
