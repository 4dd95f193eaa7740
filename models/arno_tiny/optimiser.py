"""The optimiser of the recipe: Muon for the matrices inside the network, AdamW for the rest.

Muon moves each direction of a matrix as far as any other. After the same number of scenes it is far
ahead of AdamW alone (measured over 200 steps of 32: the dense loss 1.8 instead of 2.6), and a step
takes a sixth longer on two cores.

Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

_MUON_RATE: Final = 2.0
"""Muon's learning rate over AdamW's; then both make steps of like size."""


class SplitOptimiser:
    """Steps two optimisers as one."""

    def __init__(self, whole: nn.Module, network: nn.Module, *, weight_decay: float) -> None:
        """Divide the parameters.

        Args:
            whole: Everything that is trained.
            network: The part of it whose linear layers go to Muon.
            weight_decay: Weight decay of both.
        """
        inner = [one.weight for one in network.modules() if isinstance(one, nn.Linear)]
        taken = {id(weight) for weight in inner}
        rest = [one for one in whole.parameters() if id(one) not in taken]
        self._muon = torch.optim.Muon(
            inner, lr=0.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self._muon.param_groups[0]["rate_scale"] = _MUON_RATE
        self._adamw = torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.98), weight_decay=weight_decay)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of parameters of both."""
        return self._muon.param_groups + self._adamw.param_groups

    def step(self) -> None:
        """Move all parameters along their gradients."""
        self._muon.step()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._adamw.step()

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        """Drop all gradients."""
        self._muon.zero_grad(set_to_none)
        self._adamw.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the states of both from a checkpoint."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])
