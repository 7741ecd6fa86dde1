"""Turns a GeoTIFF into a Cloud Optimized GeoTIFF (COG), tile by tile, in workers.

`raster.yaml` has the workflow: plan, tiles, made, assemble, validate. All pixels are in a container
of Azure Blob Storage; tasks hand on the names of blobs.

    pip install lastlight rasterio azure-storage-blob
    export AZURE_STORAGE_CONNECTION_STRING=…     # GDAL reads it, too
    lastlight-worker raster:worker --concurrency 4
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

# GDAL's cache of blocks grows to 5 % of the machine's memory in each process that runs a handler,
# which is too much for several of them in a container. In MiB, and read when GDAL is loaded.
os.environ.setdefault("GDAL_CACHEMAX", "64")
# Blobs are opened by their names, so GDAL needs no list of what is beside them.
os.environ.setdefault("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR")
# GDAL remembers what it has read, also that a blob was missing, and processes are used again: what
# an earlier task read must not stand for what is there now.
os.environ.setdefault("CPL_VSIL_CURL_NON_CACHED", "/vsiaz/")

import rasterio
from azure.storage.blob import ContainerClient
from rasterio.errors import RasterioIOError
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.windows import Window

from lastlight import Permanent, TaskContext, Worker

worker = Worker(queue="raster")


def _open(container: str, name: str) -> Any:
    """Open a blob; only the parts that are needed are read."""
    try:
        return rasterio.open(f"/vsiaz/{container}/{name}")
    except RasterioIOError as error:
        # GDAL does not say which blob. For a FileNotFoundError, no other attempt is made.
        kind = FileNotFoundError if "404" in str(error) else OSError
        raise kind(f"{container}/{name}: {error}") from error


def _write(container: str, name: str, content: Any) -> None:
    """Write a blob. GDAL could do it, too, but raises no error if an upload fails at its end."""
    connection = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    with ContainerClient.from_connection_string(connection, container) as client:
        client.upload_blob(name, content, overwrite=True)


# An attempt that uses more than memory_limit ends with that reason. Without a limit, the system
# chooses what it kills once the container's memory is used up, and that may be the worker itself.
# It must hold the arrays of the handler, GDAL_CACHEMAX, and about 100 MiB of Python and GDAL.
@worker.handler("raster_plan", timeout=60, memory_limit="512MiB")
def plan(params: Any) -> Any:
    """Divide the image into windows of at most `tile` by `tile` pixels."""
    size = params["tile"]
    with _open(params["container"], params["source"]) as image:
        columns, rows = range(0, image.width, size), range(0, image.height, size)
        whole = Window(0, 0, image.width, image.height)
        windows = [Window(x, y, size, size).intersection(whole) for y in rows for x in columns]
    return {"windows": [window.todict() for window in windows]}


@worker.handler("raster_tile", timeout=600, memory_limit="512MiB")
def make_tile(params: Any, context: TaskContext) -> Any:
    """Write a window as a blob of its own. A real handler would compute something here."""
    window = Window(**params["window"])
    with _open(params["container"], params["source"]) as image:
        pixels = image.read(window=window)
        profile = {"count": image.count, "dtype": image.dtypes[0], "crs": image.crs}
        profile["transform"] = image.window_transform(window)
    # Each attempt writes the same blob, so one that is repeated leaves nothing behind.
    name = f"{context.job_id}/{window.row_off}-{window.col_off}.tif"
    with MemoryFile() as file:
        size = {"width": window.width, "height": window.height}
        with file.open(driver="GTiff", compress="deflate", **size, **profile) as tile:
            tile.write(pixels)
        _write(params["container"], name, file)
    return {"window": params["window"], "name": name}


@worker.handler("raster_assemble", timeout=3600, memory_limit="1GiB")
def assemble(params: Any, context: TaskContext) -> Any:
    """Put the tiles together, and write them as a COG with overviews."""
    container, tiles = params["container"], [one["result"] for one in params["tiles"]]
    with tempfile.TemporaryDirectory() as folder:
        whole, cog = Path(folder, "whole.tif"), Path(folder, "cog.tif")
        with _open(container, params["source"]) as source:
            profile = {**source.profile, "driver": "GTiff", "bigtiff": "if_safer"}
        profile.update(tiled=True, blockxsize=256, blockysize=256)
        with rasterio.open(whole, "w", **profile) as image:
            for number, tile in enumerate(tiles):
                context.progress(0.8 * number / len(tiles), f"tile {number + 1} of {len(tiles)}")
                with _open(container, tile["name"]) as part:
                    image.write(part.read(), window=Window(**tile["window"]))
        context.progress(0.8, "overviews")
        copy(whole, cog, driver="COG", compress="deflate", blocksize=256, overviews="auto")
        context.progress(0.9, "upload")
        with cog.open("rb") as file:
            _write(container, params["target"], file)
        return {"name": params["target"], "bytes": cog.stat().st_size}


@worker.handler("raster_validate", timeout=600, memory_limit="512MiB")
def validate(params: Any) -> Any:
    """Look whether the result is a COG with the size and the place of its source."""
    container = params["container"]
    with _open(container, params["source"]) as source, _open(container, params["target"]) as made:
        overviews = made.overviews(1)
        layout = made.tags(ns="IMAGE_STRUCTURE").get("LAYOUT")
        wrong = {
            "its layout is not that of a COG": layout != "COG",
            "it is not tiled": not made.profile["tiled"],
            "it has no overviews": not overviews and max(made.shape) > 256,
            "its size differs": (made.shape, made.count) != (source.shape, source.count),
            "its coordinate system differs": made.crs != source.crs,
            "its place differs": not made.transform.almost_equals(source.transform),
        }
        if any(wrong.values()):
            reasons = "; ".join(reason for reason, is_wrong in wrong.items() if is_wrong)
            raise Permanent(f"{params['target']}: {reasons}")
        return {"overviews": overviews, "crs": made.crs.to_string(), "shape": made.shape}
