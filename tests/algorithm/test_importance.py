"""The weights of the correction at their bounds."""

from __future__ import annotations

import torch

from eprli_lab.algorithm.importance import correction, importance_weights
from eprli_lab.records import CorrectionSettings


def test_on_a_bound_is_inside():
    weights = torch.tensor([0.25, 0.5, 1.0, 2.0, 4.0])
    factor, cut = correction(weights, CorrectionSettings("tis", cap=2.0))
    assert factor.tolist() == [0.25, 0.5, 1.0, 2.0, 2.0] and cut.tolist() == [False] * 4 + [True]
    factor, cut = correction(weights, CorrectionSettings("icepop", low=0.5, high=2.0))
    assert factor.tolist() == [0.0, 0.5, 1.0, 2.0, 0.0] and cut.tolist() == [True, False, False, False, True]


def test_weights_have_no_gradient_and_are_exactly_one_where_both_agree():
    trainer = torch.tensor([-1.5, -0.25], requires_grad=True)
    weights = importance_weights(trainer, trainer.detach())
    assert weights.tolist() == [1.0, 1.0] and not weights.requires_grad
    for kind in ("tis", "icepop"):
        assert correction(weights, CorrectionSettings(kind))[0].tolist() == [1.0, 1.0]
