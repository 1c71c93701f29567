"""A real server of S3's protocol on loopback."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pyarrow.fs

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def s3_server() -> Iterator[str]:
    """Start the server, with a bucket called ``bucket``; yields the options that a URI needs, from ``?`` on."""
    from moto.server import ThreadedMotoServer  # which takes a second to import

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    options = f"?scheme=http&endpoint_override={host}:{port}&region=us-east-1"
    with mock.patch.dict(os.environ, CREDENTIALS):
        store = pyarrow.fs.S3FileSystem(
            scheme="http", endpoint_override=f"{host}:{port}", region="us-east-1", allow_bucket_creation=True
        )
        store.create_dir("bucket")
        yield options
    server.stop()
