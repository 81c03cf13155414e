"""flash-attn's padding helpers, which are plain torch there too: what OpenRLHF packs its microbatches with.

Inputs and results as theirs: a padded batch [B, T, ...] with its mask [B, T], and the tokens of it in one row [N, ...].
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange as rearrange


def index_first_axis(x: Any, indices: Any) -> Any:
    """Rows of x."""
    return x[indices]


def unpad_input(hidden: Any, mask: Any, unused_mask: Any = None) -> Any:
    """(tokens [N, ...], their places in the flattened batch [N], cumulative lengths [B + 1], longest, lengths [B])."""
    if unused_mask is not None:
        raise NotImplementedError("a rehearsal keeps no unused places")
    lengths = mask.sum(-1, dtype=torch.int32)
    indices = mask.flatten().nonzero().flatten()
    ends = F.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    return hidden.flatten(0, 1)[indices], indices, ends, int(lengths.max()), lengths


def pad_input(hidden: Any, indices: Any, batch: int, seqlen: int) -> Any:
    """The tokens back in their places [B, T, ...], zeros elsewhere."""
    out = hidden.new_zeros(batch * seqlen, *hidden.shape[1:])
    out[indices] = hidden
    return out.view(batch, seqlen, *hidden.shape[1:])
