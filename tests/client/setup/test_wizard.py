"""From the invitation to an enrolled company, and what stops on the way."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
from connect_proxy import connect_proxy

from noren_client import config
from noren_client.outbound import NetworkSettings
from noren_client.setup import wizard
from noren_client.setup.wizard import SetupState
from noren_core.errors import ConfigurationError, DataError
from noren_core.season.participation import agreement_text


@dataclass
class Person:
    """Somebody at a terminal, with her answers by option."""

    answers: dict[str, str]
    agrees_with: bool = True
    asked: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    text_seen: str = ""

    def text(self, option: str, question: str, default: str = "") -> str:
        self.asked.append(option)
        return self.answers.get(option, default)

    def agrees(self, text: str) -> bool:
        self.text_seen = text
        return self.agrees_with

    def say(self, sentence: str) -> None:
        self.heard.append(sentence)


def no_pause(_: float) -> None:
    """Nobody waits."""


def test_a_script_enrols_in_two_calls(site: Any) -> None:
    """The first asks and gives the fingerprint, the second collects; a third changes nothing."""
    waiting = wizard.set_up(site.directory, site.given(), wizard.Nobody(), sleep=no_pause)
    assert (waiting.company, waiting.state) == (site.company, SetupState.WAITING)
    site.platform.approve(site.company, waiting.fingerprint)
    enrolled = wizard.set_up(site.directory, wizard.Given(), wizard.Nobody(), sleep=no_pause)
    assert (enrolled.state, enrolled.fingerprint) == (SetupState.ENROLLED, waiting.fingerprint)
    before = {path: path.read_bytes() for path in site.directory.rglob("*") if path.is_file()}
    assert wizard.set_up(site.directory, wizard.Given(), wizard.Nobody()).state is SetupState.ENROLLED
    assert before == {path: path.read_bytes() for path in site.directory.rglob("*") if path.is_file()}


def test_a_person_is_asked_what_was_not_given(site: Any) -> None:
    """She sees the whole agreement, and hears the fingerprint that she is to read out."""
    person = Person({"--invitation": str(site.given().invitation), "--declared-size": "40"})
    outcome = wizard.set_up(site.directory, wizard.Given(), person, sleep=no_pause)
    assert person.asked == ["--invitation", "--proxy", "--corporate-ca", "--declared-size"]
    assert person.text_seen == agreement_text()
    assert any(outcome.fingerprint in sentence for sentence in person.heard)


def test_who_does_not_agree_leaves_nothing(site: Any) -> None:
    """Not agreeing, another text's hash, and nobody to ask: nothing is written and nothing sent."""
    given = site.given(agreement="")
    for asking in (Person({}, agrees_with=False), wizard.Nobody()):
        with pytest.raises(ConfigurationError) as caught:
            wizard.set_up(site.directory, given, asking)
        assert caught.value.code in {"AGREEMENT_NOT_ACCEPTED", "SETUP_ANSWER_MISSING"}
    with pytest.raises(ConfigurationError) as caught:
        wizard.set_up(site.directory, site.given(agreement="ab" * 32), wizard.Nobody())
    assert caught.value.code == "AGREEMENT_NOT_ACCEPTED"
    assert not site.directory.exists()


@pytest.mark.parametrize("size", [0, -1, 1 << 16])
def test_a_size_out_of_bounds_leaves_nothing(site: Any, size: int) -> None:
    """The size is public and for good, so it is checked before anything else happens."""
    with pytest.raises(ConfigurationError, match="--declared-size"):
        wizard.set_up(site.directory, site.given(declared_size=size), wizard.Nobody())
    assert not site.directory.exists()


def test_what_is_missing_is_named(site: Any) -> None:
    """Where nobody can be asked, the error names the option."""
    with pytest.raises(ConfigurationError, match="--invitation") as caught:
        wizard.set_up(site.directory, wizard.Given(), wizard.Nobody())
    assert caught.value.code == "SETUP_ANSWER_MISSING"
    with pytest.raises(DataError):
        wizard.set_up(
            site.directory,
            site.given(invitation=site.platform.platform.directory / "config.toml"),
            wizard.Nobody(),
        )


def test_it_stops_where_the_platform_is_not_reached(site: Any) -> None:
    """A proxy that does not answer is told with the line for IT, and nothing was written."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        network = NetworkSettings.from_texts(proxy=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(ConfigurationError, match="proxy") as caught:
            wizard.set_up(site.directory, site.given(network=network), wizard.Nobody())
    assert caught.value.code == "NETWORK_NOT_READY"
    assert not site.directory.exists()


def test_enrolling_through_a_proxy(site: Any) -> None:
    """Every connection goes through the CONNECT proxy, with its password, and the settings are kept."""
    with connect_proxy(account="taro:p%40ss") as proxy:
        network = NetworkSettings.from_texts(proxy=f"http://taro:p%2540ss@{proxy.address}")
        waiting = wizard.set_up(site.directory, site.given(network=network), wizard.Nobody(), sleep=no_pause)
        site.platform.approve(site.company, waiting.fingerprint)
        found = wizard.set_up(site.directory, wizard.Given(), wizard.Nobody(), sleep=no_pause)
        assert found.state is SetupState.ENROLLED
        addresses = site.platform.platform.config.addresses
        assert {addresses.enrolment, addresses.service, addresses.fleet} <= set(proxy.asked)
    kept = config.load(site.directory).network
    assert kept == network
    assert "p%2540ss" not in repr(kept)


def test_a_setting_of_the_network_is_changed_later(enrolled: Any) -> None:
    """Set up again with another proxy: the configuration has it, limits edited by hand stay."""
    path = enrolled.directory / "config.toml"
    path.write_text(path.read_text().replace("max_rounds = ", "max_rounds = 7 # was "))
    network = NetworkSettings.from_texts(proxy="none")
    wizard.set_up(enrolled.directory, wizard.Given(network=network), wizard.Nobody())
    assert config.load(enrolled.directory).network == network
    assert config.load(enrolled.directory).limits.max_rounds == 7


@pytest.mark.parametrize(
    ("language", "question"), [("en_US.UTF-8", "The invitation file"), ("ja_JP.UTF-8", "招待ファイル")]
)
def test_a_terminal(site: Any, language: str, question: str) -> None:
    """In a terminal the program asks in its language on stderr; stdout has the result alone."""
    typed = [str(site.given().invitation), "", "", "AGREE", "40"]
    program, terminal = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "noren_client.cli", "--directory", str(site.directory), "--json", "setup"],
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
            env={**os.environ, "LC_ALL": language},
        )
        os.close(terminal)
        os.write(program, "".join(f"{line}\n" for line in typed).encode())
        shown = bytearray()
        with contextlib.suppress(OSError):  # the terminal is gone with the program
            while part := os.read(program, 65536):
                shown += part
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0, shown.decode()
        result = json.loads(said)
    finally:
        os.close(program)
    assert (result["company"], result["state"]) == (site.company, "waiting-for-approval")
    assert question in shown.decode()
    assert result["fingerprint"] in shown.decode()
    assert "NOREN PARTICIPATION AGREEMENT" in shown.decode()
