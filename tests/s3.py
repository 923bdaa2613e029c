"""A real S3 service on this machine, which forgets everything when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

AWS = {
    "AWS_ACCESS_KEY_ID": "key-of-the-tests",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
    "AWS_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def s3_server(log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run an S3 service with the bucket ``runs``; give its process and its URL."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=output,
            stderr=output,
            env={**os.environ, "NO_COLOR": "1"},
        ) as process,
    ):
        try:
            url = _announced_url(process, log)
            endpoint = url.removeprefix("http://")
            fs.S3FileSystem(
                access_key=AWS["AWS_ACCESS_KEY_ID"],
                secret_key=AWS["AWS_SECRET_ACCESS_KEY"],
                region="eu-central-1",
                scheme="http",
                endpoint_override=endpoint,
                allow_bucket_creation=True,
            ).create_dir("runs")
            yield process, url
        finally:
            process.kill()


def _announced_url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if "Running on http://" in line:
                return line.partition("Running on ")[2].split()[0]
        time.sleep(0.02)
    raise RuntimeError(f"the S3 service did not start: {log.read_text()}")
