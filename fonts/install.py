#!/usr/bin/env python3
"""Install the fonts of packages.csv into a folder: python fonts/install.py DIR

Each package is fetched by its own client (`npm pack`, `apt-get download`), compared with the
SHA-256 in the list where the version is the listed one, and only its fonts and its licence are
unpacked. What is there already is left as it is, so that a stopped installation goes on where it
was. Beside the fonts lies `files.csv`: every file with its package, licence and SHA-256.

    DIR/hand/<package>/...     what somebody wrote, or a face that looks so
    DIR/script/<package>/...   calligraphy: joined, slanted, ornate
    DIR/text/<package>/...     print
"""

import csv
import fnmatch
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LIST = Path(__file__).with_name("packages.csv")
ENDINGS = (".ttf", ".otf", ".ttc", ".woff2")
WEIGHTS = ("400", "700")  # of @fontsource's packages, which hold each weight as files of its own
LICENCES = ("LICENSE", "LICENSE.md", "copyright", "package.json", "metadata.json")


class Package(NamedTuple):
    """One line of the list."""

    kind: str  # hand, script or text
    system: str  # npm or debian
    package: str
    version: str
    sha256: str  # of the archive
    licence: str  # SPDX
    files: str  # patterns of the names to keep, with "|" between them; all when empty
    faces: str  # how many, as `siglum data fonts:DIR` counts them
    scripts: str  # with how many characters of `siglum.images.alphabets`


def main(arguments: list[str]) -> int:
    """Install what is listed; return 1 if anything is missing."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__.partition("\n")[0], file=sys.stderr)
        return 2
    root = Path(arguments[0])
    root.mkdir(parents=True, exist_ok=True)
    packages = [Package(*row) for row in csv.reader(LIST.open(encoding="utf-8"))][1:]
    missing = []
    for number, package in enumerate(packages, start=1):
        try:
            said = install(package, root / package.kind / package.package)
        except Missing as error:
            missing.append(f"{package.package} ({package.system}): {error}")
            said = f"missing: {error}"
        place = f"{number:4} of {len(packages)}  {package.kind:6}"
        print(f"{place} {package.package}: {said}", flush=True)
    count, size = write_files(root, packages)
    print(f"{count} files, {size / 2**20:.0f} MB, listed in {root / 'files.csv'}")
    if missing:
        print(f"{len(missing)} packages are missing:", *missing, sep="\n  ", file=sys.stderr)
    return 1 if missing else 0


class Missing(Exception):
    """A package could not be had; the message says why."""


def install(package: Package, folder: Path) -> str:
    """Fetch and unpack one package, unless its folder holds that version already."""
    note = folder / "package.txt"
    if note.exists():
        version, _, *files = note.read_text().split()
        if package.version in ("", version) and " ".join(files) == package.files:
            return "is there"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as place:
        archive, version = FETCH[package.system](package, Path(place))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if version == package.version and digest != package.sha256:
            raise Missing(f"SHA-256 must be {package.sha256} for version {version}, got {digest}")
        new = Path(place) / "new"
        new.mkdir()
        count = 0
        for name, data in members(package, archive):
            target = new / name
            while target.exists() and target.read_bytes() != data:
                target = target.with_name(f"{target.stem}_{target.suffix}")
            target.write_bytes(data)
            count += Path(name).suffix.lower() in ENDINGS
        if not count:
            raise Missing(f"version {version} must hold fonts {package.files or ENDINGS}, got none")
        (new / note.name).write_text(f"{version} {digest} {package.files}\n")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    other = f", listed is {package.version}" if package.version not in ("", version) else ""
    return f"version {version}{other}, {count} files"


def fetch_npm(package: Package, place: Path) -> tuple[Path, str]:
    """Have npm put a package's archive into `place`."""
    run(["npm", "pack", "--loglevel=error", f"{package.package}@{package.version}"], place)
    (archive,) = place.glob("*.tgz")
    with tarfile.open(archive) as tar:
        about = tar.extractfile("package/package.json")
        assert about is not None, archive
        return archive, json.load(about)["version"]


def fetch_debian(package: Package, place: Path) -> tuple[Path, str]:
    """Have apt put a package into `place`, in whichever version this Debian has."""
    run(["apt-get", "download", "-q", package.package], place)
    (archive,) = place.glob("*.deb")
    return archive, run(["dpkg-deb", "-f", str(archive), "Version"], place).strip()


FETCH = {"npm": fetch_npm, "debian": fetch_debian}


def run(command: list[str], place: Path) -> str:
    """Return what a command printed."""
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=600)
    except FileNotFoundError:
        raise Missing(f"{command[0]} must be installed") from None
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} must answer within 600 seconds") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(f"{' '.join(command)} failed: {'; '.join(said[:2]) or done.returncode}")
    return done.stdout


def members(package: Package, archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the fonts that are wanted and of the licence."""
    if package.system == "debian":
        data = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", str(archive)], capture_output=True, check=True
        ).stdout
    else:
        data = archive.read_bytes()
    patterns = package.files.split("|") if package.files else ["*"]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            path = Path(member.name)
            wanted = path.name in LICENCES and (package.system == "npm" or "doc" in path.parts)
            if path.suffix.lower() in ENDINGS:
                wanted = any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)
                weight = re.search(r"-(\d00)-(normal|italic)\.woff2$", path.name)
                if package.system == "npm" and weight and not package.files:
                    wanted = weight[1] in WEIGHTS and weight[2] == "normal"
            file = tar.extractfile(member) if wanted and member.isfile() else None
            if file is not None:
                yield path.name, file.read()


def write_files(root: Path, packages: list[Package]) -> tuple[int, int]:
    """List every font file in files.csv; return their number and bytes."""
    licences = {(package.kind, package.package): package for package in packages}
    count = size = 0
    with (root / "files.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "kind", "registry", "package", "version", "licence", "sha256"])
        for note in sorted(root.glob("*/**/package.txt")):
            folder = note.parent
            name = str(folder.relative_to(root / folder.relative_to(root).parts[0]))
            package = licences.get((folder.relative_to(root).parts[0], name))
            if package is None:
                continue
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in ENDINGS:
                    data = path.read_bytes()
                    digest = hashlib.sha256(data).hexdigest()
                    version = note.read_text().split()[0]
                    where = str(path.relative_to(root))
                    about = (package.kind, package.system, name, version, package.licence)
                    rows.writerow([where, *about, digest])
                    count, size = count + 1, size + len(data)
    return count, size


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
