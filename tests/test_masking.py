"""Credentials are hidden in whatever text they stand."""

from __future__ import annotations

import pytest

from eprli_lab import masking
from eprli_lab.errors import UserError
from eprli_lab.masking import mask, remember


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
    remember(None)
    assert mask('password authentication failed for "hunter2", abc') == 'password authentication failed for "***", abc'
