"""The optimiser of a run: Muon for the matrices inside the network, AdamW for the rest.

Muon's steps are whole: each direction of a matrix moves as far as any other. After as many scenes
it is far ahead of AdamW alone (measured over 200 steps of 32: the dense loss 1.8 instead of 2.6),
and costs a sixth of a step more on two cores.

Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

_MUON_RATE: Final = 2.0
"""Muon's learning rate over AdamW's; both make steps of like size then."""


class SplitOptimiser:
    """Steps two optimisers as one."""

    def __init__(self, whole: nn.Module, network: nn.Module, *, weight_decay: float) -> None:
        """Divide the parameters.

        Args:
            whole: All that is trained.
            network: The part of it whose linear layers are Muon's.
            weight_decay: Of both.
        """
        inner = [one.weight for one in network.modules() if isinstance(one, nn.Linear)]
        taken = {id(weight) for weight in inner}
        rest = [one for one in whole.parameters() if id(one) not in taken]
        self._muon = torch.optim.Muon(
            inner, lr=0.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self._adamw = torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.98), weight_decay=weight_decay)

    def step(self, learning_rate: float) -> None:
        """Move all parameters along their gradients."""
        self._muon.param_groups[0]["lr"] = learning_rate * _MUON_RATE
        self._adamw.param_groups[0]["lr"] = learning_rate
        self._muon.step()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._adamw.step()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        self._muon.zero_grad()
        self._adamw.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])
