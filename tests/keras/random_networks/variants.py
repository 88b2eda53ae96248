"""Programs that must end with the same bits as another one, by the numerical contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from random_networks.cases import Case
from random_networks.samples import FORMS, SPARSE
from random_networks.steps import COPIES


def forms(case: Case) -> Iterator[Case]:
    """Yields trainings with the same samples in other forms; `fit` alone takes sparse matrices."""
    takes_sparse = case.training.way == "fit" and case.network.reads_by_dense
    for form in FORMS:
        if form != case.samples.form and (form not in SPARSE or takes_sparse):
            yield replace(case, samples=replace(case.samples, form=form))


def loops(case: Case) -> Iterator[Case]:
    """Yields trainings whose loop is another one."""
    if case.training.way == "fit":
        yield replace(case, training=replace(case.training, way="batches"))


def copies(case: Case) -> Iterator[Case]:
    """Yields trainings of a copy of the model."""
    for copy in COPIES:
        yield replace(case, training=replace(case.training, copy=copy))


def threads(case: Case) -> Iterator[Case]:
    """Yields trainings on other numbers of threads."""
    for number in (1, 2, 3, 4):
        yield replace(case, training=replace(case.training, threads=number))
