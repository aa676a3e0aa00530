"""Install free fonts and strokes, and find the package, licence and kind of each face.

`install` fetches what packages.csv lists by `npm pack`, `apt-get download` and `pip download`,
compares SHA-256, and unpacks fonts and licences:

    FOLDER/hand/<package>/...     handwriting
    FOLDER/script/<package>/...   calligraphy: joined, slanted, ornate
    FOLDER/text/<package>/...     print
    FOLDER/stroke/<package>/...   lines of a pen instead of outlines

Each package's folder has a file package.txt with its version.
"""

import csv
import fnmatch
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zipfile import ZipFile

from siglum.errors import SiglumError
from tools.backbone import sources
from tools.backbone.fonts import SUFFIXES, Face

PACKAGES = Path(__file__).with_name("packages.csv")
NOTE = "package.txt"
WEIGHTS = ("400", "700")  # of npm packages that hold each weight as a file
LICENCES = ("LICENSE", "LICENSE.md", "COPYING", "copyright", "package.json", "metadata.json")


@dataclass(frozen=True)
class Package:
    """One line of packages.csv; of a font that is not listed, the kind alone is known."""

    kind: str  # hand, script, text or stroke: the first folder below the fonts
    registry: str = ""  # npm, debian or pypi
    package: str = ""
    version: str = ""
    sha256: str = ""  # of the archive
    licence: str = ""  # SPDX
    files: str = ""  # patterns of file names, separated by "|"; all when empty
    faces: str = ""
    scripts: str = ""


class NotInstalledError(SiglumError):
    """A package cannot be fetched or is not the listed one."""


def read_packages() -> list[Package]:
    """Return the listed packages."""
    with PACKAGES.open(encoding="utf-8", newline="") as file:
        return [Package(**row) for row in csv.DictReader(file)]


def origins(folder: Path, faces: Sequence[Face]) -> dict[str, Package]:
    """Return the package of every face, with its installed version, by its first file's folder."""
    packages = {f"{one.kind}/{one.package}": one for one in read_packages()}
    result = {}
    for face in faces:
        inner = Path(face.parts[0].path).relative_to(folder).parent
        note, package = folder / inner / NOTE, Package(kind=inner.parts[0] if inner.parts else "")
        if note.exists() and inner.as_posix() in packages:
            package = replace(packages[inner.as_posix()], version=note.read_text().strip())
        result[face.name] = package
    return result


def install(folder: Path) -> list[str]:
    """Install all listed packages; return those that are missing, with reasons.

    Installed packages stay as they are, so that a stopped installation continues.
    """
    packages, missing = read_packages(), []
    for number, package in enumerate(packages, start=1):
        try:
            outcome = _install(package, folder / package.kind / package.package)
        except NotInstalledError as error:
            missing.append(f"{package.package} ({package.registry}): {error}")
            outcome = f"missing: {error}"
        print(f"{number:4} of {len(packages)}  {package.package}: {outcome}", flush=True)
    return missing


def _install(package: Package, folder: Path) -> str:
    if (folder / NOTE).exists():
        return "installed"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as temporary:
        archive, version = FETCH[package.registry](package, Path(temporary))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if version == package.version and digest != package.sha256:
            raise NotInstalledError(f"SHA-256 must be {package.sha256}, got {digest}")
        new = Path(temporary) / "new"
        new.mkdir()
        for name, data in _members(package, archive):
            target = new / name
            while target.exists() and target.read_bytes() != data:
                target = target.with_name(f"{target.stem}_{target.suffix}")
            target.write_bytes(data)
        count = sum(path.suffix.lower() in _suffixes(package) for path in new.iterdir())
        if not count:
            raise NotInstalledError(f"version {version} has no fonts {package.files}")
        (new / NOTE).write_text(version)
        new.rename(folder)
    return f"version {version}, {count} files"


def _fetch_npm(package: Package, folder: Path) -> tuple[Path, str]:
    _run(["npm", "pack", "--loglevel=error", f"{package.package}@{package.version}"], folder)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as tar:
        about = tar.extractfile("package/package.json")
        assert about is not None, archive
        return archive, json.load(about)["version"]


def _fetch_debian(package: Package, folder: Path) -> tuple[Path, str]:
    _run(["apt-get", "download", "-q", package.package], folder)
    (archive,) = folder.glob("*.deb")
    return archive, _run(["dpkg-deb", "-f", str(archive), "Version"], folder).decode().strip()


def _fetch_pypi(package: Package, folder: Path) -> tuple[Path, str]:
    name = f"{package.package}=={package.version}"
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", name]
    _run(pip, folder)
    (archive,) = folder.glob("*.whl")
    return archive, package.version


FETCH = {"npm": _fetch_npm, "debian": _fetch_debian, "pypi": _fetch_pypi}


def _suffixes(package: Package) -> tuple[str, ...]:
    return sources.SUFFIXES if package.kind == "stroke" else SUFFIXES


def _run(command: list[str], folder: Path) -> bytes:
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, timeout=600, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", b"") or str(error).encode()
        raise NotInstalledError(" ".join(reason.decode(errors="replace").split())[:200]) from None


def _members(package: Package, archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and bytes of the wanted fonts and of the licence."""
    patterns = package.files.split("|") if package.files else ["*"]
    for path, read in _files(package, archive):
        wanted = path.name in LICENCES and (package.registry != "debian" or "doc" in path.parts)
        if path.suffix.lower() in _suffixes(package):
            wanted = any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)
            weight = re.search(r"-(\d00)-(normal|italic)\.woff2$", path.name)
            if package.registry == "npm" and weight and not package.files:
                wanted = weight[1] in WEIGHTS and weight[2] == "normal"
        if wanted:
            yield path.name, read()


def _files(package: Package, archive: Path) -> Iterator[tuple[Path, Callable[[], bytes]]]:
    """Yield every file of an archive, and a function that reads it."""
    if package.registry == "pypi":
        with ZipFile(archive) as wheel:
            for name in wheel.namelist():
                yield Path(name), partial(wheel.read, name)
        return
    data = archive.read_bytes()
    if package.registry == "debian":
        data = _run(["dpkg-deb", "--fsys-tarfile", str(archive)], archive.parent)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if file := tar.extractfile(member) if member.isfile() else None:
                yield Path(member.name), file.read
