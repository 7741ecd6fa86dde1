"""The example with rasters: a GeoTIFF becomes a Cloud Optimized GeoTIFF, in workers."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import rasterio
from azure.storage.blob import ContainerClient
from local_cloud import details, submit
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from worker_process import EXAMPLES, started

from lastlight import Client

# That of Azurite, which is no secret.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_SIZE, _BANDS = 2048, 3
_CRS, _TRANSFORM = "EPSG:4326", from_origin(6.0, 51.0, 0.001, 0.001)


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Iterator[ContainerClient]:
    """Return a new container, whose account handlers find in the environment."""
    endpoint = os.environ.get("AZURITE_BLOB_ENDPOINT")
    assert endpoint, (
        "AZURITE_BLOB_ENDPOINT is not set: run this with scripts/python-test or scripts/test, or "
        'after eval "$(scripts/services up)"'
    )
    connection = f"AccountName=devstoreaccount1;AccountKey={_KEY};BlobEndpoint={endpoint}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
    name = f"raster-{uuid.uuid4().hex}"
    with ContainerClient.from_connection_string(connection, name) as container:
        container.create_container()
        yield container
        container.delete_container()


def _image() -> numpy.ndarray:
    """Return hills with noise, always the same."""
    place = numpy.arange(_SIZE) / 100
    hills = 100 * (2 + numpy.sin(place)[:, None] + numpy.cos(place)[None, :])
    noise = numpy.random.default_rng(7).normal(0, 20, (_BANDS, _SIZE, _SIZE))
    return (hills + noise).clip(0, 1000).astype(numpy.uint16)


def _geotiff(pixels: numpy.ndarray) -> bytes:
    bands, height, width = pixels.shape
    with MemoryFile() as file:
        with file.open(
            driver="GTiff",
            count=bands,
            height=height,
            width=width,
            dtype=pixels.dtype,
            crs=_CRS,
            transform=_TRANSFORM,
        ) as image:
            image.write(pixels)
        content: bytes = file.read()
        return content


def test_a_geotiff_becomes_a_cog(
    url: str, client: Client, container: ContainerClient, tmp_path: Path
) -> None:
    pixels = _image()
    container.upload_blob("source.tif", _geotiff(pixels))
    arguments = ["--concurrency", "2", "--worker-id", "raster"]
    with started(url, tmp_path, *arguments, worker="raster:worker", cwd=EXAMPLES) as worker:
        job = submit(
            client,
            "raster_to_cog",
            container=container.container_name,
            source="source.tif",
            target="cog.tif",
            # The last row and the last column of tiles are smaller.
            tile=600,
        )
        job.wait(timeout=300).result()
        worker.signal(signal.SIGTERM)
        assert worker.code() == 0
    tasks = {task.answer["task_type"]: task for task in job.tasks()}
    assert [stage.completed for stage in job.status().stages if stage.name == "tiles"] == [16]
    assert {task.attempt for task in job.tasks()} == {1}
    assert details(url, job.job_id, tasks["assemble"].task_id)["task"]["worker_id"] == "raster"
    assert tasks["validate"].result["result"] == {
        "overviews": [2, 4, 8],
        "crs": _CRS,
        "shape": [_SIZE, _SIZE],
    }
    with MemoryFile(container.download_blob("cog.tif").readall()) as file, file.open() as cog:
        assert cog.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert cog.profile["tiled"]
        assert cog.block_shapes == [(256, 256)] * _BANDS
        assert [cog.overviews(band) for band in cog.indexes] == [[2, 4, 8]] * _BANDS
        assert cog.crs == rasterio.CRS.from_string(_CRS)
        assert cog.transform.almost_equals(_TRANSFORM)
        numpy.testing.assert_array_equal(cog.read(), pixels)
        smaller = cog.read(1, out_shape=(_SIZE // 8, _SIZE // 8))
        assert abs(float(smaller.mean()) - float(pixels[0].mean())) < 1, "of an overview"


def test_a_source_that_is_missing_fails_the_job_with_its_name(
    url: str, client: Client, container: ContainerClient, tmp_path: Path
) -> None:
    with started(url, tmp_path, worker="raster:worker", cwd=EXAMPLES):
        job = submit(
            client,
            "raster_to_cog",
            container=container.container_name,
            source="missing.tif",
            target="cog.tif",
        )
        status = job.wait(timeout=300).status()
    assert status.status == "failed"
    assert status.error is not None
    assert "missing.tif" in status.error
    (plan,) = job.tasks(stage=1)
    assert plan.attempt == 1, "it is not tried again"
