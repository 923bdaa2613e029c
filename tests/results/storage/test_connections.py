import os

import pytest

from results.errors import ResultsError
from results.shown import shown_address
from results.storage.connections import connect
from results.storage.local import LocalStorage
from results.storage.opening import open_storage

ACCOUNT = "account.dfs.core.windows.net"


@pytest.fixture(autouse=True)
def _no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("uri", "kind", "base"),
    [
        ("s3://bucket/a/run?region=eu-west-1", "s3", "bucket/a/run"),
        ("s3://bucket/a/run/?region=eu-west-1", "s3", "bucket/a/run"),
        ("gs://bucket/a/run", "gcs", "bucket/a/run"),
        ("gcs://bucket/a/run", "gcs", "bucket/a/run"),
        (f"abfs://container@{ACCOUNT}/a/run", "abfs", "container/a/run"),
        (f"abfss://container@{ACCOUNT}/a/run", "abfs", "container/a/run"),
        (f"az://container@{ACCOUNT}/a/run", "abfs", "container/a/run"),
    ],
)
def test_uri_leads_to_its_file_system(uri: str, kind: str, base: str) -> None:
    connection = connect(uri)
    assert (connection.filesystem.type_name, connection.base) == (kind, base)
    assert open_storage(uri).path("trials/a") == shown_address(uri).rstrip("/") + "/trials/a"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:9000", "http://127.0.0.1:9000/"])
def test_endpoint_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    given = connect("s3://bucket/run?endpoint_override=127.0.0.1:9000&scheme=http").filesystem
    monkeypatch.setenv(name, url)
    assert connect("s3://bucket/run").filesystem == given


def test_path_is_local() -> None:
    assert isinstance(open_storage("runs/a"), LocalStorage)


def test_unknown_kind_of_uri_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ResultsError) as caught:
        open_storage("hdfs://user:hidden@host/run")
    assert str(caught.value) == (
        "the run directory is hdfs://host/run, expected a local path or a URI that begins with "
        "one of s3://, gs://, gcs://, abfs://, abfss://, az://\n  Choose another --output."
    )


@pytest.mark.parametrize(
    ("uri", "reason", "example"),
    [
        ("s3://bucket/run?regoin=x", "the option 'regoin' is not known", "s3://BUCKET/FOLDER"),
        ("s3:///run?region=x", "the URI names no bucket", "s3://BUCKET/FOLDER"),
        ("gs://bucket/run?nonsense=x", "nonsense", "gs://BUCKET/FOLDER"),
        ("az://container/run", "account name", "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net"),
    ],
)
def test_incomplete_uri_is_refused_with_an_example(uri: str, reason: str, example: str) -> None:
    with pytest.raises(ResultsError) as caught:
        open_storage(uri)
    assert caught.value.place == shown_address(uri)
    assert reason in caught.value.message
    assert example in str(caught.value.hint)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://hidden%2Fkey:hidden%2Fsecret@bucket/run?hidden=x",
        "gs://hidden@bucket/run?nonsense=hidden-value",
        f"az://container:hidden@{ACCOUNT}/run?nonsense=hidden-value",
    ],
)
def test_credentials_are_not_in_messages(uri: str) -> None:
    with pytest.raises(ResultsError) as caught:
        connect(uri)
    shown = str(caught.value).replace("the option 'hidden'", "")
    assert "hidden" not in shown
    assert caught.value.__cause__ is None
