"""URIs with credentials: masked wherever they stand, whole only for who connects."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from helpers import small_spec

from eprli_lab import masking
from eprli_lab.config.credentials import hide, hide_words, reveal
from eprli_lab.config.parse import parse_spec, parse_tracking
from eprli_lab.errors import UserError
from eprli_lab.sweeping.spec import storage_uri
from eprli_lab.tracking.provenance import command
from eprli_lab.tracking.uri import absolute, first_line, resolve_uri

URI = "http://ann:Kr4utsuppe@127.0.0.1:5000"
SHOWN = "http://ann:***@127.0.0.1:5000"


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test with an environment and a memory of its own."""
    monkeypatch.setattr(masking, "_known", set())
    for name in [*(k for k in os.environ if k.startswith("EPRLI_")), "EPRLI_TRACKING_URI"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "environ", os.environ.copy())


def test_a_spec_holds_a_masked_uri_and_connects_with_the_whole_one():
    spec = small_spec(f"tracking.uri='{URI}'")
    assert spec.tracking.uri == SHOWN and resolve_uri(spec.tracking.uri) == URI
    assert "Kr4utsuppe" not in json.dumps(spec.model_dump(mode="json")) + repr(spec) + str(spec.flat())
    assert parse_spec(json.loads(spec.model_dump_json())) == spec, "as a worker reads it"
    assert spec.fingerprint() == small_spec().fingerprint()
    assert first_line(RuntimeError(f"GET {URI}/api failed: Kr4utsuppe\nmore")) == f"GET {SHOWN}/api failed: ***"


def test_a_masked_uri_alone_never_connects(monkeypatch):
    with pytest.raises(UserError, match="tracking.uri: http://ann:\\*\\*\\*@127.0.0.1:5000 is without its password"):
        resolve_uri(SHOWN)
    with pytest.raises(UserError, match="EPRLI_STUDY_STORAGE"):
        storage_uri("postgresql://ann:***@127.0.0.1/lab")
    monkeypatch.setenv("EPRLI_TRACKING_URI", "http://ann:other@127.0.0.1:5001")
    with pytest.raises(UserError, match="EPRLI_TRACKING_URI"):
        resolve_uri(SHOWN)
    monkeypatch.setenv("EPRLI_TRACKING_URI", URI)
    assert resolve_uri(SHOWN) == URI


def test_two_uris_are_kept_apart():
    other = "postgresql://ann:Sp1tzwegerich@db/lab?sslpassword=Zw1ebelkuchen"
    assert [hide(URI), hide(other)] == [SHOWN, "postgresql://ann:***@db/lab?sslpassword=***"]
    assert [reveal(hide(URI)), reveal(hide(other)), storage_uri(other)] == [URI, other, other]
    assert masking.mask("Zw1ebelkuchen is no key, Sp1tzwegerich no password") == "*** is no key, *** no password"


@pytest.mark.parametrize(
    "uri", ["sqlite:///mlflow.db", "postgresql://ann@db/lab", "http://127.0.0.1:5000", "sqlite:////srv/a@b/x.db"]
)
def test_an_ordinary_uri_is_what_it_was(uri):
    assert hide(uri) == reveal(uri) == parse_tracking("tracking.uri", uri=uri).uri == uri
    assert not [name for name in os.environ if name.startswith("EPRLI_URI_")]


def test_the_environment_and_a_file_may_hold_it(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("where").write_text(f"{URI}\n")
    monkeypatch.setenv("STORE", URI)
    for reference in ("env:STORE", "file:where", f"file:{tmp_path}/where", f"file://{tmp_path}/where"):
        tracking = parse_tracking("tracking.uri", uri=reference)
        assert tracking.uri == reference and resolve_uri(reference) == URI
        assert storage_uri(reference) == URI
        assert masking.mask("Kr4utsuppe") == "***"
    assert absolute("file:where") == f"file:{tmp_path}/where"
    spec = small_spec("tracking.uri='${oc.env:STORE}'")
    assert spec.tracking.uri == SHOWN and resolve_uri(spec.tracking.uri) == URI


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("env:NOT_THERE", "the environment variable NOT_THERE is not set"),
        ("file:nowhere", "nowhere cannot be read \\(No such file"),
        ("file:empty", "empty holds no URI"),
        ("file:nonsense", "is no tracking URI"),
        ("ann:Kr4utsuppe@host", "'...@host' is no tracking URI"),
        ("htp://ann:Kr4utsuppe@host", "is no tracking URI"),
        ("http://ann:Kr4ut/suppe@host:5000", "write @ as %40, / as %2F"),
    ],
)
def test_what_cannot_be_a_uri_is_refused_without_its_password(tmp_path, monkeypatch, uri, sentence):
    monkeypatch.chdir(tmp_path)
    Path("empty").touch()
    Path("nonsense").write_text("ann:Kr4utsuppe@host")
    for parse in (lambda: small_spec(f"tracking.uri='{uri}'"), lambda: parse_tracking("tracking.uri", uri=uri)):
        with pytest.raises(UserError, match=sentence) as refusal:
            parse()
        assert "Kr4ut" not in str(refusal.value) and str(refusal.value).startswith("tracking.uri: ")


def test_hydra_is_given_masked_words():
    words = ["-m", f"tracking.uri={URI}", f"+study.storage='{URI}/it\\'s'", "seed=1", "tracking.uri=sqlite:///a.db"]
    shown = [
        "-m",
        f"tracking.uri='{SHOWN}'",
        f"+study.storage='{SHOWN}/it\\'s'",
        "seed=1",
        "tracking.uri=sqlite:///a.db",
    ]
    assert hide_words(words) == shown
    assert reveal(f"{SHOWN}/it's", "study.storage") == f"{URI}/it's"
    assert "Kr4ut" not in command(["python", "run.py", *words]) and "seed=1" in command(["python", "run.py", *words])
