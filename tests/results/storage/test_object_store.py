"""What is particular to object storage; what it has in common is in ``test_storage``."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest

from results import TRIALS, ResultsError, RunHeader, RunWriter, open_run
from results.run_folder.parts import find_ids, read_rows
from results.storage.object_store import ObjectStorage
from results.writing.recovery import recover
from tests.results.conftest import trial_id_of, write_part

Table = Callable[..., pa.Table]


class Relay:
    """A way to a service on loopback that a test can close, or cut after some bytes."""

    def __init__(self, url: str) -> None:
        self._service = (urlsplit(url).hostname, urlsplit(url).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.budget = 10**12
        self.cuts = 0
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more, and let nothing more through."""
        self.budget = 0
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(self._service)
            threading.Thread(target=self._pass_on, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(far, near, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with source, target:
            try:
                while data := source.recv(65536):
                    if counted:
                        if data.startswith((b"PUT ", b"POST ")):
                            self.requests.append(data.partition(b"\r\n")[0])
                        self.budget -= len(data)
                        if self.budget < 0:
                            self.cuts += 1
                            return
                    target.sendall(data)
            except OSError:
                return
            finally:
                for end in (source, target):
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        continue


@pytest.fixture
def relay(s3_url: str) -> Iterator[Relay]:
    relay = Relay(s3_url)
    yield relay
    relay.close()


@pytest.fixture
def storage(s3: str) -> ObjectStorage:
    return ObjectStorage.from_uri(s3)


def through(relay: Relay, uri: str) -> str:
    return f"{uri}?scheme=http&endpoint_override={relay.endpoint}"


def refusal(call: Callable[[], object]) -> ResultsError:
    with pytest.raises(ResultsError) as caught:
        call()
    return caught.value


def test_what_is_small_is_a_single_put(relay: Relay, s3: str) -> None:
    storage = ObjectStorage.from_uri(through(relay, s3))
    for size in (0, 1, 5 * 2**20 + 1):
        storage.publish("a", bytes(size))
    assert len(relay.requests) == 3
    assert all(request.startswith(b"PUT ") for request in relay.requests)
    assert not any(b"partNumber=" in request for request in relay.requests)


@pytest.mark.parametrize("size", [1_000_000, 25_000_000])
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_upload_that_is_cut_publishes_nothing(
    relay: Relay, s3: str, storage: ObjectStorage, size: int, share: float
) -> None:
    storage.publish("a", b"old")
    cut = ObjectStorage.from_uri(through(relay, s3))
    relay.budget = int(size * share)
    error = refusal(lambda: cut.publish("a", bytes(size)))
    assert relay.cuts > 0
    assert error.place == f"{s3}/a"
    assert error.message.startswith("the object could not be written: ")
    assert "run the same command to resume" in str(error.hint)
    assert storage.read("a") == b"old"
    assert storage.files() == ["a"]


def test_service_that_goes_away_ends_the_run_with_everything_published_intact(
    relay: Relay, s3: str, header: RunHeader, trials: Table, injections: Table
) -> None:
    with pytest.raises(ResultsError) as caught:  # noqa: SIM117, PT012
        with RunWriter.open(
            through(relay, s3), header, flush_seconds=1e9, patience_seconds=0
        ) as writer:
            writer.append(trials(0, 1), injections(0, 1))
            writer.flush()
            writer.append(trials(2), injections(2))
            relay.close()
            writer.flush()
    assert "NETWORK_CONNECTION" in caught.value.message
    assert "See that the endpoint is right" in str(caught.value.hint)
    assert {*open_run(s3).trials()["trial_id"]} == {trial_id_of(0), trial_id_of(1)}
    for file in ObjectStorage.from_uri(s3).files("lock"):  # as if the writer had died
        ObjectStorage.from_uri(s3).remove(f"lock/{file}")
    with RunWriter.open(s3, header) as writer:
        assert writer.done_ids().tolist() == sorted([trial_id_of(0), trial_id_of(1)])
        assert writer.warnings == []
        writer.append(trials(2), injections(2))
    assert {*open_run(s3).trials()["trial_id"]} == {trial_id_of(number) for number in range(3)}
    assert len(open_run(s3).injections()) == 6


def test_missing_bucket_is_told(s3: str) -> None:
    error = refusal(lambda: ObjectStorage.from_uri(s3.replace("runs", "nowhere")).publish("a", b""))
    assert "NO_SUCH_BUCKET" in error.message
    assert error.hint == "Create the bucket, or correct its name."


def test_wrong_credentials_are_told_and_not_shown(
    s3: str, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def authenticate(after: str) -> None:
        connection = http.client.HTTPConnection(urlsplit(s3_url).netloc)
        connection.request("POST", "/moto-api/reset-auth", body=after)
        assert connection.getresponse().status == 200
        connection.close()

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong-key")
    authenticate("0")
    try:
        storage = ObjectStorage.from_uri(s3)
        calls: list[Callable[[], object]] = [
            lambda: storage.publish("a", b""),
            lambda: storage.read("a"),
            storage.files,
            storage.is_file,
            lambda: storage.remove("a"),
            lambda: storage.rename("a", "b"),
        ]
        for call in calls:
            error = refusal(call)
            assert "AWS_ACCESS_KEY_ID" in str(error.hint)
            assert "wrong-key" not in str(error)
    finally:
        authenticate("inf")


def test_endpoint_where_nobody_answers_is_told_within_seconds(s3: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    storage = ObjectStorage.from_uri(f"{s3}?scheme=http&endpoint_override={endpoint}")
    error = refusal(lambda: storage.read("campaign.json"))
    assert "NETWORK_CONNECTION" in error.message
    assert error.place == f"{s3}/campaign.json"


def test_torn_and_damaged_parts_are_told_apart_from_a_refusal(
    storage: ObjectStorage, relay: Relay, s3: str, header: RunHeader, trials: Table
) -> None:
    names = [f"trials/part-{number:06d}-0a1b2c3d.parquet" for number in (1, 2, 3)]
    for number, name in enumerate(names):
        write_part(storage, name, trials(number), header.identity)
    whole = storage.read(names[1])
    storage.publish(names[1], whole[:-20])
    found = find_ids(storage, "trials", TRIALS, header.identity)
    assert [ids is None for ids in found.values()] == [False, True, False]
    away = ObjectStorage.from_uri(through(relay, s3))
    relay.close()
    error = refusal(lambda: read_rows(away, names[:1], TRIALS))
    assert "NETWORK_CONNECTION" in error.message
    recovered = recover(storage, header)
    assert recovered.done_ids.tolist() == [trial_id_of(2), trial_id_of(0)]
    assert ".part-000002-0a1b2c3d.parquet.torn" in storage.files("trials")
    assert storage.read("trials/.part-000002-0a1b2c3d.parquet.torn") == whole[:-20]
    assert f"{s3}/{names[1]} cannot be read and was renamed" in recovered.warnings[0]


def test_many_parts_are_scanned(storage: ObjectStorage, header: RunHeader, trials: Table) -> None:
    for number in range(40):
        name = f"trials/part-{number + 1:06d}-0a1b2c3d.parquet"
        write_part(storage, name, trials(*range(number * 3, number * 3 + 3)), header.identity)
    recovered = recover(storage, header)
    assert recovered.next_sequence == 41
    expected = np.sort(np.array([trial_id_of(number) for number in range(120)], np.uint64))
    np.testing.assert_array_equal(recovered.done_ids, expected)


def test_service_that_uploads_in_steps_gets_the_object_aside_first(
    storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ObjectStorage, "_uploads_in_steps", True)
    uploads = []
    upload = storage._upload

    def tell(name: str, contents: bytes) -> None:
        uploads.append(name)
        upload(name, contents)

    monkeypatch.setattr(storage, "_upload", tell)
    storage.publish("trials/a", b"one")
    assert storage.read("trials/a") == b"one"
    assert storage.files("trials") == ["a"]
    (aside,) = uploads
    assert aside.startswith("trials/.a.")
    upload("trials/.a.ffffffff.tmp", b"half")
    upload(".campaign.json.ffffffff.tmp", b"half")
    storage.sweep()
    assert (storage.files("trials"), storage.files()) == (["a"], ["trials"])


def test_run_is_written_gone_on_with_and_read(
    s3: str, tmp_path: Path, header: RunHeader, trials: Table, injections: Table
) -> None:
    for path in (s3, str(tmp_path / "run")):
        for numbers in ((0, 1, 2), (3, 4)):
            with RunWriter.open(path, header) as writer:
                writer.append(trials(*numbers), injections(*numbers))
    near, far = open_run(tmp_path / "run"), open_run(s3)
    assert far.trials().equals(near.trials())
    assert far.injections().equals(near.injections())
    assert far.trial(trial_id_of(3)) == near.trial(trial_id_of(3))
    assert far.status().done == 5
