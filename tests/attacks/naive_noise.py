"""A round as Opacus makes it out of the box: its own floating-point noise from torch's generator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer

Floats = NDArray[np.float64]


def optimizer(
    parameters: list[torch.nn.Parameter], *, noise_multiplier: float, generator: torch.Generator | None = None
) -> DPOptimizer:
    """Opacus' optimizer with clipping norm 1."""
    return DPOptimizer(
        torch.optim.SGD(parameters, lr=1.0),
        noise_multiplier=noise_multiplier,
        max_grad_norm=1.0,
        expected_batch_size=None,
        loss_reduction="sum",
        generator=generator,
    )


def noised(total: Floats, *, noise_multiplier: float, generator: torch.Generator) -> Floats:
    """One sum of clipped gradients with noise, as it is released."""
    parameter: Any = torch.nn.Parameter(torch.zeros(len(total)))
    release = optimizer([parameter], noise_multiplier=noise_multiplier, generator=generator)
    parameter.summed_grad = torch.tensor(total, dtype=torch.float32)
    release.add_noise()
    released: Floats = parameter.grad.double().numpy()
    return released


def training_script(
    rows: Floats, labels: NDArray[np.int64], *, noise_multiplier: float
) -> tuple[Floats, Floats]:
    """The clipped sum and the noised one of a script that begins, as scripts do, with a global seed."""
    torch.manual_seed(42)
    head: Any = torch.nn.Linear(rows.shape[1], 1)
    module = GradSampleModule(head, loss_reduction="sum")
    release = optimizer(list(head.parameters()), noise_multiplier=noise_multiplier)
    inputs = torch.tensor(rows, dtype=torch.float32).requires_grad_()
    targets = torch.tensor(labels, dtype=torch.float32)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        module(inputs).squeeze(1), targets, reduction="sum"
    )
    torch.autograd.backward(loss)
    release.clip_and_accumulate()
    clipped = head.weight.summed_grad.clone()
    release.add_noise()
    return clipped.numpy().ravel(), head.weight.grad.numpy().ravel()
