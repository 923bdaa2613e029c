"""From the URI of a run directory on object storage to a ``pyarrow.fs.FileSystem``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from results.errors import ResultsError
from results.shown import AZURE, shown_address

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "az")
"""Kinds of URI that are known; ``az`` is another word for ``abfs``."""

_S3_OPTIONS = ("region", "scheme", "endpoint_override")
_PATIENCE = 20
_SECRET_LENGTH = 8


@dataclass(frozen=True)
class Connection:
    """Where a run directory on object storage is.

    Args:
        filesystem: A ``pyarrow.fs.FileSystem``.
        base: The path of the run directory in it: bucket and folder.
        shown: The URI for messages: without credentials and options.
        uri: The URI itself.
    """

    filesystem: Any
    base: str
    shown: str
    uri: str = field(repr=False)

    def told(self, reason: str) -> str:
        """Return what a service says, without the credentials and the options of the URI."""
        return _redacted(reason, self.uri)


def connect(uri: str) -> Connection:
    """Return the file system that ``uri`` names and the run directory's place in it.

    Credentials come from the environment, as each service's own tools find them, or from the
    URI. Nothing is read; but where S3 is given no region, it is asked for the bucket's.

    Raises:
        ResultsError: The URI is of an unknown kind or cannot be understood, or the bucket's
            region cannot be found out.
    """
    scheme = uri.partition("://")[0].lower()
    shown = shown_address(uri)
    if scheme not in SCHEMES:
        raise ResultsError(
            f"the run directory is {shown}, expected a local path or a URI that begins with one "
            f"of {', '.join(f'{known}://' for known in SCHEMES)}",
            hint="Choose another --output.",
        )
    make = {"s3": _s3, "gs": _google, "gcs": _google}.get(scheme, _azure)
    try:
        filesystem, base = make(uri)
    except (OSError, ValueError) as error:  # its message may hold the URI, and so the secrets
        raise ResultsError(
            f"the object storage cannot be reached: {_redacted(str(error), uri)}",
            place=shown,
            hint=f"Write --output as {_EXAMPLES[scheme]}, and see that the network is there.",
        ) from None
    return Connection(filesystem, base.strip("/"), shown.rstrip("/"), uri)


_S3_EXAMPLE = "s3://BUCKET/FOLDER"
_GOOGLE_EXAMPLE = "gs://BUCKET/FOLDER"
_AZURE_EXAMPLE = "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER"
_EXAMPLES = {
    "s3": _S3_EXAMPLE,
    **dict.fromkeys(("gs", "gcs"), _GOOGLE_EXAMPLE),
    **dict.fromkeys(AZURE, _AZURE_EXAMPLE),
}


def _redacted(text: str, uri: str) -> str:
    """Return ``text`` with the credentials and the options of ``uri`` taken out."""
    text = text.replace(uri, shown_address(uri))
    parts = urlsplit(uri)
    secrets = {*re.split("[:@]", parts.netloc.rpartition("@")[0]), parts.query}
    secrets |= {value for _, value in parse_qsl(parts.query) if len(value) >= _SECRET_LENGTH}
    for secret in sorted(secrets - {""}, key=len, reverse=True):
        for spelling in (secret, unquote(secret)):
            text = text.replace(spelling, "...")
    return text


def _s3(uri: str) -> tuple[Any, str]:
    """Connect to S3 or to what speaks its language; retries end after seconds, not minutes."""
    from pyarrow import fs

    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query))
    unknown = [name for name in options if name not in _S3_OPTIONS]
    if unknown:
        raise ValueError(
            f"the option {unknown[0]!r} is not known, expected {', '.join(_S3_OPTIONS)}"
        )
    if not parts.hostname:
        raise ValueError("the URI names no bucket")
    bucket = parts.netloc.rpartition("@")[2]
    if ":" in bucket:
        raise ValueError("the name of the bucket holds a ':'; in a secret, / is written as %2F")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "endpoint_override" not in options:
        scheme, _, options["endpoint_override"] = endpoint.rstrip("/").rpartition("://")
        options["scheme"] = scheme or "https"
    regions = ("AWS_REGION", "AWS_DEFAULT_REGION")
    if not {"region", "endpoint_override"} & {*options} and not any(map(os.environ.get, regions)):
        options["region"] = fs.resolve_s3_region(bucket)
    filesystem = fs.S3FileSystem(
        access_key=unquote(parts.username) if parts.username else None,
        secret_key=unquote(parts.password) if parts.password else None,
        allow_delayed_open=True,  # what is small is then a single PUT
        connect_timeout=5,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=3),
        **options,
    )
    return filesystem, bucket + parts.path


def _google(uri: str) -> tuple[Any, str]:
    from pyarrow import fs

    if "retry_limit_seconds=" not in uri:  # pyarrow's own is a quarter of an hour
        uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds={_PATIENCE}"
    filesystem, base = fs.FileSystem.from_uri(uri)
    return filesystem, base


def _azure(uri: str) -> tuple[Any, str]:
    from pyarrow import fs

    scheme, _, rest = uri.partition("://")
    filesystem, base = fs.FileSystem.from_uri(f"{scheme.replace('az', 'abfs')}://{rest}")
    return filesystem, base
