"""PyTorch as its experts use it: data in tensors, fused optimizers, no DataLoader.

The variant "compile" compiles the forward pass, loss and metric with `torch.compile`, and so the backward pass too. "cuda"
trains on a GPU with all data there; "cuda-compile" does so with `torch.compile` in its mode "max-autotune", and "cuda-graphs"
replays a step that was captured once. "cuda-tf32" multiplies in TensorFloat32, and "cuda-bfloat16" in bfloat16 by autocast.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from bench.contenders import Float32, Training, UnsupportedError, call_among
from bench.data import Data
from bench.tasks import Call, Product, Program, Task

MODULES = ("torch", "numpy")

VARIANTS = ("", "compile", "cuda", "cuda-compile", "cuda-graphs", "cuda-tf32", "cuda-bfloat16")


class Words(nn.Module):
    """A linear layer for rows in CSR form. An `EmbeddingBag` with weights takes a fifth longer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Any) -> torch.Tensor:
        parts = map(torch.from_numpy, (x.indptr, x.indices, x.data))
        return torch.sparse_csr_tensor(*parts, x.shape, check_invariants=False) @ self.weight + self.bias


class Network:
    def __init__(self, task: Task, data: Data, variant: str) -> None:
        torch.set_num_threads(task.threads)
        self.device = torch.device("cuda" if variant.startswith("cuda") else "cpu")
        self.captures = variant == "cuda-graphs"
        self.casts = variant == "cuda-bfloat16"
        if variant == "cuda-tf32":
            torch.set_float32_matmul_precision("high")
        self.task = task
        self.loss = task.problem.loss
        data = data.as_float32()
        self.x_test = data.x_test
        self.sparse = task.data == "words"
        self.x = data.x if self.sparse else torch.from_numpy(data.x).to(self.device)
        self.y = torch.from_numpy(self.targets(data.y)).to(self.device)
        layers: list[Any] = []
        for inputs, outputs in pairwise(task.problem.widths):
            kind = Words if self.sparse and not layers else nn.Linear
            layers += [kind(inputs, outputs), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1]).to(self.device)
        modes = {"compile": "default", "cuda-compile": "max-autotune"}
        self.forward = (
            torch.compile(self.judge, dynamic=False, mode=modes[variant]) if variant in modes else self.judge
        )
        self.reset()

    def targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Returns the targets in the dtype and shape that the loss takes."""
        if self.loss == "sparse_categorical_crossentropy":
            return y.astype(np.int64)
        return y.astype(np.float32).reshape(len(y), -1)

    def reset(self) -> None:
        for layer in self.model:
            if isinstance(layer, (nn.Linear, Words)):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        parameters = self.model.parameters()
        if self.task.optimizer == "adam":
            self.optimizer = torch.optim.Adam(
                parameters, lr=0.001, eps=1e-7, fused=True, capturable=self.captures
            )
        else:
            self.optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, fused=True)
        if self.captures:
            self.capture()

    def capture(self) -> None:
        """Captures a step of a full batch, whose rows are those in `self.rows`, in a graph of CUDA's."""
        self.rows = torch.zeros(self.task.batch, dtype=torch.int64, device=self.device)
        before = copy.deepcopy((self.model.state_dict(), self.optimizer.state_dict()))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # allocates what a step needs
                self.step(self.rows)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.captured = self.step(self.rows)
        self.model.load_state_dict(before[0])
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()

    def step(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Trains on rows of the data, and returns their mean loss and how many are correct."""
        x = self.x[rows.numpy()] if self.sparse else self.x.index_select(0, rows)
        loss, hits = self.forward(x, self.y.index_select(0, rows))
        self.optimizer.zero_grad(set_to_none=not self.captures)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), hits

    def replayed(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The same by the captured step, where the batch is full."""
        if not self.captures or len(rows) < self.task.batch:
            return self.step(rows)
        self.rows.copy_(rows)
        self.graph.replay()
        loss, hits = self.captured
        return loss.clone(), None if hits is None else hits.clone()

    def judge(self, x: Any, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns the mean loss and the number of correct rows."""
        with torch.autocast("cuda", torch.bfloat16) if self.casts else nullcontext():
            z = self.model(x)
        if self.loss == "mse":
            return functional.mse_loss(z, y), None
        if self.loss == "binary_crossentropy":
            return functional.binary_cross_entropy_with_logits(z, y), ((z > 0) == y).sum()
        return functional.cross_entropy(z, y), (z.argmax(1) == y).sum()

    def train(self, epochs: int) -> Training:
        samples = len(self.y)
        for _ in range(epochs):
            losses: list[torch.Tensor] = []
            right: list[Any] = []
            for rows in torch.randperm(samples, device=self.device).split(self.task.batch):
                loss, hits = self.replayed(rows)
                losses.append(loss)  # all losses are read together after the epoch
                right.append(hits)
            weights = torch.full((len(losses),), float(self.task.batch))
            weights[-1] = samples - self.task.batch * (len(losses) - 1)
            mean = float(torch.stack(losses).cpu() @ weights) / samples
            accuracy = float(torch.stack(right).sum()) / samples if self.task.problem.classifies else None
        return Training(mean, accuracy)

    def predict(self) -> NDArray[Any]:
        return self.outputs(self.x_test)

    def predict_one(self) -> NDArray[Any]:
        return self.outputs(self.x_test[:1])

    def outputs(self, x: Any) -> NDArray[Any]:
        with torch.inference_mode():
            z = self.model(x if self.sparse else torch.from_numpy(x).to(self.device))
            return np.asarray(self.activated(z).cpu().numpy())

    def activated(self, z: torch.Tensor) -> torch.Tensor:
        if self.loss == "mse":
            return z
        return z.sigmoid() if self.loss == "binary_crossentropy" else z.softmax(1)


def prepare(task: Task, data: Data, variant: str) -> Network:
    if variant not in VARIANTS:
        msg = f"torch:{variant} is none of {', '.join(filter(None, VARIANTS))}"
        raise UnsupportedError(msg)
    if variant.startswith("cuda") and not torch.cuda.is_available():
        msg = "this PyTorch finds no GPU"
        raise UnsupportedError(msg)
    return Network(task, data, variant)


def small_call(task: Call) -> Callable[[], Any]:
    from bench.calls.torch import CALLS

    torch.set_num_threads(task.threads)
    return call_among(CALLS, task)


def multiply(task: Product, a: Float32, b: Float32, out: Float32) -> Callable[[], object]:
    torch.set_num_threads(task.threads)
    torch.set_grad_enabled(False)
    first, second, product = map(torch.from_numpy, (a, b, out))
    if task.transpose_a:
        first = first.T
    if task.transpose_b:
        second = second.T
    return lambda: torch.mm(first, second, out=product)


def command(task: Program, folder: Path, variant: str) -> list[str]:
    if task.what != "import" or variant:
        msg = "the textbook script needs Keras"
        raise UnsupportedError(msg)
    return [sys.executable, "-c", "import torch"]
