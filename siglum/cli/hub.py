"""`siglum push` and `siglum pull`: share bundles on the Hugging Face Hub."""

import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from siglum.cli import light, terminal
from siglum.errors import ConfigError, DataError, SiglumError, require_extra
from siglum.files import write_atomic
from siglum.formatting import rate_and_interval
from siglum.recogniser import bundle as bundles
from siglum.recogniser.predict import load


def push(bundle: Path, repository: str, /, *, public: bool = False) -> None:
    """Upload a bundle, with a model card, to a repository of the Hugging Face Hub.

    A new repository is private, unless --public is given. A bundle contains its drawings.

    Example: siglum push greek.siglum hf:anna/greek

    Args:
        bundle: A file whose name ends in .siglum.
        repository: hf:USER/NAME. Log in with 'hf auth login', or set HF_TOKEN.
        public: Allow everybody to download the bundle.
    """
    with redirect_stdout(io.StringIO()) as facts:
        light.info(bundle)
    with _hub(repository) as (hub, name, file):
        from huggingface_hub import CommitOperationAdd
        from jinja2 import Template

        card, template = load(bundle).bundle.card, Path(__file__).with_name("model_card.md")
        texts = {"name": name, "file": file, "facts": facts.getvalue(), "card": card}
        text = Template(template.read_text("utf-8")).render(texts, rate=rate_and_interval)
        files = [CommitOperationAdd("README.md", text.encode())]
        files += [CommitOperationAdd(file, bundle.expanduser())]
        hub.create_repo(name, private=not public, exist_ok=True)
        private = hub.model_info(name).private
        if not private and not public:
            raise ConfigError(f"{repository} is public. Add --public to publish the bundle.")
        hub.create_commit(name, files, commit_message=f"Upload {file}")
    terminal.print_line(f"{hub.endpoint}/{name} is {'private' if private else 'public'}.")


def pull(repository: str, /, *, out: terminal.Out = None) -> None:
    """Download a bundle from a repository of the Hugging Face Hub, and check it.

    Example: siglum pull hf:anna/greek

    Args:
        repository: hf:USER/NAME, which has NAME.siglum. A private one needs a login, as for push.
        out: The bundle to write; by default NAME.siglum.
    """
    with _hub(repository) as (hub, name, file), tempfile.TemporaryDirectory() as folder:
        out = (out or Path(file)).expanduser()
        bundles.check_new(out)
        hub.model_info(name)  # fails at once without a network; a download retries for 24 s
        path = Path(hub.hf_hub_download(name, file, local_dir=folder))
        load(path)
        write_atomic(out, path.read_bytes())
    terminal.print_line(f"{out} is checked. Use it: siglum predict {out} photo.png")


@contextmanager
def _hub(repository: str) -> Iterator[tuple[Any, str, str]]:
    """Yield a client of the hub, USER/NAME and NAME.siglum; turn errors into DataError."""
    match = re.fullmatch(r"hf:([\w.-]+/([\w.-]+))", repository, re.ASCII)
    if not match:
        raise ConfigError(f"repository must be hf:USER/NAME, got {repository!r}.")
    # Read when the client is imported, which would report the versions of other packages.
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    os.environ["HF_HUB_VERBOSITY"] = "error"
    try:
        with require_extra("The Hugging Face Hub", "hub"):
            from huggingface_hub import HfApi

        yield HfApi(), match[1], match[2] + bundles.SUFFIX
    except SiglumError:
        raise
    except Exception as error:  # of the client and its packages; that of a header has the token
        reason = re.sub("Bearer .*|\n.*", "", str(error.__cause__ or error)).rstrip(".")
        remedy = "Check the name, your login ('hf auth login' or HF_TOKEN) and the network."
        raise DataError(f"Cannot use {repository}: {reason}. {remedy}") from error
