"""Install free fonts and strokes, and find the package, licence and kind of each face.

`install` downloads the packages of packages.csv, compares SHA-256, and copies fonts and licences:

    FOLDER/hand/<package>/...     handwriting
    FOLDER/script/<package>/...   calligraphy: joined, slanted, ornate
    FOLDER/text/<package>/...     print
    FOLDER/stroke/<package>/...   lines of a pen instead of outlines

Each package's folder has a file package.txt with its version.
"""

import csv
import fnmatch
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
        download, files, new = (Path(temporary) / name for name in ("download", "files", "new"))
        for step in (download, files, new):
            step.mkdir()
        archive, version = _download(package, download)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if version == package.version and digest != package.sha256:
            raise NotInstalledError(f"SHA-256 must be {package.sha256}, got {digest}")
        _unpack(package, archive, files)
        count = 0
        for path in sorted(files.rglob("*")):
            if path.is_file() and not path.is_symlink():
                has_glyphs = _has_glyphs(package, path.name)
                if has_glyphs or _is_licence(package, path.relative_to(files)):
                    count += has_glyphs
                    target = new / path.name
                    while target.exists() and target.read_bytes() != path.read_bytes():
                        target = target.with_name(f"{target.stem}_{target.suffix}")
                    shutil.copyfile(path, target)
        if not count:
            raise NotInstalledError(f"version {version} has no fonts {package.files}")
        (new / NOTE).write_text(version)
        new.rename(folder)
    return f"version {version}, {count} files"


def _download(package: Package, folder: Path) -> tuple[Path, str]:
    """Download a package into an empty folder; return its archive and its version."""
    name, version = package.package, package.version
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    commands = {
        "npm": ["npm", "pack", "--loglevel=error", f"{name}@{version}"],
        "debian": ["apt-get", "download", "-q", name],
        "pypi": [*pip, f"{name}=={version}"],
    }
    _run(commands[package.registry], folder)
    (archive,) = folder.iterdir()
    if package.registry == "debian":  # only the release's own version can be downloaded
        version = _run(["dpkg-deb", "-f", str(archive), "Version"], folder).strip()
    return archive, version


def _unpack(package: Package, archive: Path, folder: Path) -> None:
    if package.registry == "debian":
        _run(["dpkg-deb", "-x", str(archive), str(folder)], folder)
    elif package.registry == "pypi":
        shutil.unpack_archive(archive, folder, "zip")
    else:
        shutil.unpack_archive(archive, folder, "gztar", filter="data")


def _run(command: list[str], folder: Path) -> str:
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, timeout=600, check=True, text=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", "") or str(error)
        raise NotInstalledError(" ".join(str(reason).split())[:200]) from None


def _has_glyphs(package: Package, name: str) -> bool:
    """Whether a file holds fonts or strokes that are wanted."""
    suffixes = sources.SUFFIXES if package.kind == "stroke" else SUFFIXES
    if not name.lower().endswith(suffixes):
        return False
    if package.files:
        return any(fnmatch.fnmatch(name, pattern) for pattern in package.files.split("|"))
    weight = re.search(r"-(\d00)-(normal|italic)\.woff2$", name)
    if package.registry != "npm" or not weight:
        return True
    return weight[1] in WEIGHTS and weight[2] == "normal"


def _is_licence(package: Package, path: Path) -> bool:
    return path.name in LICENCES and (package.registry != "debian" or "doc" in path.parts)
