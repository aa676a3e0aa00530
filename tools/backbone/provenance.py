"""Install free fonts, and find the package, licence and kind of each face.

`install` fetches what packages.csv lists by `npm pack` and `apt-get download`, compares SHA-256,
and unpacks fonts and licences:

    FOLDER/hand/<package>/...     handwriting
    FOLDER/script/<package>/...   calligraphy: joined, slanted, ornate
    FOLDER/text/<package>/...     print
    FOLDER/files.csv              every font file with package, licence and SHA-256
"""

import csv
import fnmatch
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from siglum.errors import DataError, SiglumError
from tools.backbone.fonts import ENDINGS, Face

PACKAGES = Path(__file__).with_name("packages.csv")
LIST = "files.csv"
NOTE = "package.txt"  # beside an installed package: version, SHA-256, patterns
WEIGHTS = ("400", "700")  # of npm packages that hold each weight as a file
LICENCES = ("LICENSE", "LICENSE.md", "copyright", "package.json", "metadata.json")


@dataclass(frozen=True)
class Origin:
    """Where a face comes from; "" where it is unknown."""

    kind: str  # such as "hand": as the list says, else the first folder below the fonts
    package: str  # with its version
    licence: str  # SPDX


class Package(NamedTuple):
    """One line of packages.csv."""

    kind: str
    registry: str  # npm or debian
    package: str
    version: str
    sha256: str  # of the archive
    licence: str
    files: str  # patterns of file names, separated by "|"; all when empty
    faces: str
    scripts: str


class NotInstalled(SiglumError):
    """A package cannot be fetched or is not the listed one."""


def origins(folder: Path, faces: Sequence[Face]) -> dict[str, Origin]:
    """Return the origin of every face, by its first file."""
    listed: dict[Path, Origin] = {}
    if (folder / LIST).is_file():
        try:
            with (folder / LIST).open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    package = f"{row['package']} {row['version']}"
                    path = (folder / row["file"]).absolute()
                    listed[path] = Origin(row["kind"], package, row["licence"])
        except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
            raise DataError(f"Cannot read {folder / LIST}: {error}. Install again.") from None
    result = {}
    for face in faces:
        path = Path(face.parts[0].path)
        inner = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
        unlisted = Origin(inner[0] if len(inner) > 1 else "", "", "")
        result[face.name] = listed.get(path.absolute(), unlisted)
    return result


def install(folder: Path) -> list[str]:
    """Install all listed packages; return those that are missing, with reasons.

    Installed packages stay as they are, so that a stopped installation continues.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with PACKAGES.open(encoding="utf-8", newline="") as file:
        packages = [Package(*row) for row in csv.reader(file)][1:]
    missing = []
    for number, package in enumerate(packages, start=1):
        try:
            outcome = _install(package, folder / package.kind / package.package)
        except NotInstalled as error:
            missing.append(f"{package.package} ({package.registry}): {error}")
            outcome = f"missing: {error}"
        print(f"{number:4} of {len(packages)}  {package.package}: {outcome}", flush=True)
    _write_list(folder, packages)
    return missing


def _install(package: Package, folder: Path) -> str:
    note = folder / NOTE
    if note.exists():
        version, _, *patterns = note.read_text().split()
        if package.version in ("", version) and " ".join(patterns) == package.files:
            return "installed"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as temporary:
        fetch = _fetch_npm if package.registry == "npm" else _fetch_debian
        archive, version = fetch(package, Path(temporary))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if version == package.version and digest != package.sha256:
            raise NotInstalled(f"SHA-256 must be {package.sha256}, got {digest}")
        new = Path(temporary) / "new"
        new.mkdir()
        count = 0
        for name, data in _members(package, archive):
            target = new / name
            while target.exists() and target.read_bytes() != data:
                target = target.with_name(f"{target.stem}_{target.suffix}")
            target.write_bytes(data)
            count += Path(name).suffix.lower() in ENDINGS
        if not count:
            raise NotInstalled(f"version {version} has no fonts {package.files}")
        (new / NOTE).write_text(f"{version} {digest} {package.files}\n")
        shutil.rmtree(folder, ignore_errors=True)
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
    return archive, _run(["dpkg-deb", "-f", str(archive), "Version"], folder).strip()


def _run(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    except FileNotFoundError:
        raise NotInstalled(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"{command[0]} did not answer within 600 s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalled(f"{' '.join(command)} failed: {'; '.join(lines[:2])}")
    return done.stdout


def _members(package: Package, archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and bytes of the wanted fonts and of the licence."""
    data = archive.read_bytes()
    if package.registry == "debian":
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        data = subprocess.run(command, capture_output=True, check=True).stdout
    patterns = package.files.split("|") if package.files else ["*"]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            path = Path(member.name)
            wanted = path.name in LICENCES and (package.registry == "npm" or "doc" in path.parts)
            if path.suffix.lower() in ENDINGS:
                wanted = any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)
                weight = re.search(r"-(\d00)-(normal|italic)\.woff2$", path.name)
                if package.registry == "npm" and weight and not package.files:
                    wanted = weight[1] in WEIGHTS and weight[2] == "normal"
            file = tar.extractfile(member) if wanted and member.isfile() else None
            if file is not None:
                yield path.name, file.read()


def _write_list(folder: Path, packages: Sequence[Package]) -> None:
    by_name = {(package.kind, package.package): package for package in packages}
    with (folder / LIST).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "kind", "registry", "package", "version", "licence", "sha256"])
        for note in sorted(folder.glob(f"*/**/{NOTE}")):
            kind, *inner = note.parent.relative_to(folder).parts
            package = by_name.get((kind, "/".join(inner)))
            for path in sorted(note.parent.iterdir()) if package else ():
                if package and path.suffix.lower() in ENDINGS:
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    version = note.read_text().split()[0]
                    about = (kind, package.registry, package.package, version, package.licence)
                    rows.writerow([str(path.relative_to(folder)), *about, digest])
