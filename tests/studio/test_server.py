"""Where a Studio listens, and under which names it may be found."""

import socket
import subprocess
import sys

import pytest

from siglum.errors import ConfigError
from siglum.studio import server


def listened(host: str, port: int = 0) -> tuple[server.Address, int]:
    address = server.listen(host, port)
    at = address.listening.getsockname()[1]
    address.listening.close()
    return address, at


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_alone_needs_no_token(host: str) -> None:
    address, port = listened(host)

    assert address.rules.token is None
    assert address.rules.hosts == {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
    assert address.url == f"http://{host}:{port}/"
    assert address.rules.origins == {f"http://{name}" for name in address.rules.hosts}


def test_loopback_of_the_newer_protocol() -> None:
    try:
        address, port = listened("::1")
    except ConfigError:
        pytest.skip("no IPv6 here")

    assert address.rules.token is None and address.url == f"http://[::1]:{port}/"


def test_what_others_can_reach_has_a_new_token_each_time() -> None:
    first, port = listened("0.0.0.0")
    second, _ = listened("0.0.0.0")

    assert first.rules.token and second.rules.token
    assert first.rules.token != second.rules.token and len(first.rules.token) == 32
    assert first.url.endswith(f":{port}/?token={first.rules.token}")
    assert f"127.0.0.1:{port}" in first.rules.hosts
    assert f"0.0.0.0:{port}" not in first.rules.hosts


def test_the_port_of_the_web_is_left_out() -> None:
    assert server._with_port("localhost", 80) == "localhost"
    assert server._with_port("::1", 80) == "[::1]"


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as error:
            server.listen("127.0.0.1", port)

    assert str(error.value) == (
        "host and port must be an address of this machine that is free, got '127.0.0.1' and "
        f"{port}: Address already in use. Leave out --port for a free one."
    )


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host.invalid", "", "a" * 300, "\ud800"])
def test_a_host_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="host and port must be an address of this machine"):
        server.listen(host, 0)


def test_the_studio_needs_neither_torch_nor_the_lab() -> None:
    heavy = "{'torch', 'scipy', 'sklearn', 'matplotlib', 'siglum.lab', 'siglum.report'}"
    code = (
        "import sys, siglum.cli.studio, siglum.studio.app, siglum.studio.analysis;"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout.strip() == "[]", done.stderr
