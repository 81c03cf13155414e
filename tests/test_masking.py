"""Credentials are hidden in whatever text they stand."""

from __future__ import annotations

import pytest

from eprli_lab import masking
from eprli_lab.errors import UserError
from eprli_lab.masking import mask, masked, remember


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://ann:s3cret@db:5432/lab", "postgresql://ann:***@db:5432/lab"),
        ("postgresql+psycopg://ann:p@ss/w:rd@db/lab was lost", "postgresql+psycopg://ann:***@db/lab was lost"),
        ("{'uri': 'https://ann:s3cret@host', 'b': 'c@d'}", "{'uri': 'https://ann:***@host', 'b': 'c@d'}"),
        ("http://:s3cret@host", "http://:***@host"),
        ("https://host/mlflow?user=ann&password=s3cret&x=1", "https://host/mlflow?user=ann&password=***&x=1"),
        ("https://host/?sslpassword=a&X-Amz-Signature=b", "https://host/?sslpassword=***&X-Amz-Signature=***"),
        ("host=db password=s3cret dbname=lab", "host=db password=*** dbname=lab"),
        ("host=db password = 'a b' dbname=lab", "host=db password = *** dbname=lab"),
        ('{"user": "ann", "password": "a \\"b", "x": 1}', '{"user": "ann", "password": "***", "x": 1}'),
        ("{'api_key': 'abc', 'seed': 1}", "{'api_key': '***', 'seed': 1}"),
        ('"{\\"secret\\": \\"abc\\", \\"a\\": 1}"', '"{\\"secret\\": \\"***\\", \\"a\\": 1}"'),
        ("uri: x\npassword: s3cret\nseed: 1", "uri: x\npassword: ***\nseed: 1"),
        ("https://dapi0123abc@adb.net/api", "https://***@adb.net/api"),
        ("postgresql://ann@db/lab", "postgresql://ann@db/lab"),
        ("Authorization: Bearer abcdef.0123456", "Authorization: Bearer ***"),
        ("AccountKey=abc==;Endpoint=x", "AccountKey=***;Endpoint=x"),
        ("Basic arithmetic, Authorization: Basic YW5uOnMzY3JldA==", "Basic arithmetic, Authorization: Basic ***"),
        ("the token budget: 5, secret of success", "the token budget: 5, secret of success"),
        ("http://127.0.0.1:5000/#/experiments", "http://127.0.0.1:5000/#/experiments"),
        ("sqlite:////srv/a@b/mlflow.db", "sqlite:////srv/a@b/mlflow.db"),
        ("budget.amount=5 tokens=3 max_tokens=4 tokenizer=a", "budget.amount=5 tokens=3 max_tokens=4 tokenizer=a"),
    ],
)
def test_a_credential_is_masked_and_nothing_else(text, masked):
    assert mask(text) == masked
    assert mask(masked) == masked
    assert str(UserError(text)) == masked


def test_a_remembered_secret_is_masked_where_a_library_quotes_it(monkeypatch):
    monkeypatch.setattr(masking, "_known", set())
    remember("hunter2")
    remember("abc")  # too short
    remember("postgres")  # would tear holes into postgresql://
    remember(None)
    assert mask('password authentication failed for "hunter2", abc') == 'password authentication failed for "***", abc'
    assert mask("a postgres, hunter22") == "a postgres, hunter22", "shorter than 8: only as a word"
    remember("p%40ss/word")
    assert mask("p%40ss/word p@ss/word p%40ss%2Fword") == "*** *** ***"


def test_a_tree_is_masked_value_by_value():
    tree = {
        "uri": "http://ann:s3cret@host",
        "list": ["a", "?token=x", 1.5, None],
        "of": {"db_password": "as a value", "eos_token": "x"},
    }
    assert masked(tree) == {
        "uri": "http://ann:***@host", "list": ["a", "?token=***", 1.5, None], "of": {"db_password": "***", "eos_token": "x"},
    }  # fmt: skip
