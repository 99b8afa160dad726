"""The memory of a search: an Optuna study, asked for configurations and told their outcomes.

In Optuna's words, a *study* is a search and a *trial* a configuration. Its parameters are the dimensions that apply; of
a choice, the label. States: COMPLETE with its values; PRUNED with its intermediate values, or because constraints kept
it from training; FAIL with its reason; RUNNING while it trains, and after its process was killed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from experiments.search.plan import SearchPlan
from experiments.search.space import Value
from experiments.tracking.databases import without_driver
from reports.search.told import Told
from trainer.errors import UserError
from trainer.full_disk import is_full

from ..storage import shown_storage, storage_file
from .beginning import begun, enqueue_starts, is_shared
from .behind import WrittenBehind
from .importance import importances_of
from .opening import close, opened
from .processes import is_dead, living, sign
from .samplers import at_random, learns_of_refusals, pruner_of, sampler_of
from .values import DROPPED, REASON, TRIALS, as_told, suggested

_PATIENCE = 30.0
"""Seconds for which a call to a storage that does not answer is repeated."""

_ROOM = 300.0
"""Seconds for which it is repeated while the disk is full, so that somebody can notice and make room."""

_TRIES = 5
"""How often Optuna itself tries to add a trial to a locked file."""

_STUCK = 3
"""After so many useless suggestions in a row one is drawn at random, as the sampler might repeat itself for ever."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Configuration:
    """A suggestion of the sampler."""

    number: int
    """Counted from 0, which is the recipe itself."""

    point: Mapping[str, Value]


class Memory:
    """One search in its storage. Every call raises UserError if the storage does not answer."""

    def __init__(self, search: SearchPlan, url: str, fingerprint: str, *, prunes: bool) -> None:
        """Opens the search or begins it. Raises UserError if it was begun with another meaning.

        fingerprint: of the recipe's data. prunes: whether `is_hopeless` will be asked; else Ray decides.
        """
        self.search = search
        self.url = url
        self._trials: dict[int, optuna.Trial] = {}
        with self._speaking():
            storage = self._storage = opened(url, _PATIENCE / _TRIES)
            study = self._study = begun(search, storage, url, {**search.meaning(), "data": fingerprint})
            study.pruner = pruner_of(search) if prunes else optuna.pruners.NopPruner()
            study.sampler = sampler_of(search, len(study.get_trials(deepcopy=False)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([objective.metric for objective in search.objectives])
            enqueue_starts(search, study)
            # only for a file: on a server, other machines may run the same search
            self._behind = WrittenBehind(study, storage, self._write_out) if storage_file(url) else None
            if self._behind is not None:
                self._study = optuna.load_study(
                    study_name=study.study_name, storage=self._behind, sampler=study.sampler, pruner=study.pruner
                )

    @property
    def is_shared(self) -> bool:
        """Whether other working folders may run the same search."""
        return is_shared(self.url)

    def left_running(self) -> list[Configuration]:
        """Unfinished configurations of dead processes, for the caller to take up; each is returned once.

        The caller holds the folder's lock of this search. So in a file, any that this process has not asked for is left
        over; on a server, those of processes that have been silent for so long that they count as dead.
        """
        with self._speaking():
            running = self._study.get_trials(False, (TrialState.RUNNING,))
            others = [trial for trial in running if trial.number not in self._trials]
            alive = living() if self.is_shared and others else set()
            found = []
            for trial in others:
                if not self.is_shared or is_dead(trial, alive):
                    # another machine may have taken it up as well, and ended it since
                    with suppress(optuna.exceptions.UpdateFinishedTrialError):
                        found.append(self._taken(optuna.Trial(self._study, trial._trial_id)))
            return found

    def ask(self, refused: int = 0, repeated: int = 0) -> Configuration:
        """The next configuration, given everything told so far.

        refused, repeated: how many of the last suggestions broke a constraint, or were known already.
        """
        with self._speaking():
            sampler = self._study.sampler
            if repeated >= _STUCK or (refused >= _STUCK and not learns_of_refusals(self.search.sampler)):
                self._study.sampler = at_random(self.search, len(self._study.get_trials(deepcopy=False)))
            try:
                return self._taken(self._study.ask())
            finally:
                self._study.sampler = sampler

    def _taken(self, trial: optuna.Trial) -> Configuration:
        if self.is_shared:
            sign(trial)
        point: dict[str, Value] = {}
        for dimension in self.search.space.dimensions:
            if dimension.applies(point):
                point[dimension.name] = suggested(trial, dimension)
        self._trials[trial.number] = trial
        return Configuration(trial.number, point)

    def note_trials(self, number: int, ids: Mapping[int, str]) -> None:
        """Store which trials (by seed) a configuration consists of, for readers of the storage."""
        self._told(lambda: self._trials[number].set_user_attr(TRIALS, {str(seed): id for seed, id in ids.items()}))
        if self._behind is not None:
            self._behind.write()

    def report(self, number: int, epoch: int, value: float) -> None:
        """Store the objective after an epoch of a configuration's first seed, unless that epoch has one already."""
        known = self._trials[number].storage.get_trial(self._trials[number]._trial_id).intermediate_values
        if epoch not in known:
            self._told(lambda: self._trials[number].report(value, epoch))

    def is_hopeless(self, number: int) -> bool:
        """Whether Optuna's pruner would end the configuration, judging by what was reported."""
        return bool(self._told(lambda: self._trials[number].should_prune()))

    def complete(self, number: int, values: Sequence[float]) -> None:
        """A configuration has ended with these objectives, means over its seeds."""
        self._told(lambda: self._study.tell(self._trials[number], list(values), skip_if_finished=True))

    def pruned(self, number: int, reason: str) -> None:
        """A configuration was ended early."""
        self._end(number, TrialState.PRUNED, reason)

    def refused(self, number: int, excesses: Mapping[str, float]) -> None:
        """A configuration is not trained. excesses: constraint to the share of its limit by which it is exceeded.

        Those above 0 are broken.
        """
        for constraint, excess in excesses.items():
            self._told(partial(self._trials[number].set_constraint, constraint, excess))
        broken = ", ".join(name for name, excess in excesses.items() if excess > 0)
        self._end(number, TrialState.PRUNED, f"not trained: it breaks {broken}")

    def within(self, number: int, excesses: Mapping[str, float]) -> None:
        """A configuration keeps the constraints. excesses: as in `refused`, all at most 0."""
        with warnings.catch_warnings():
            # of a configuration that is taken up again these are stored already
            warnings.filterwarnings("ignore", "The constraint value is ignored")
            for constraint, excess in excesses.items():
                self._told(partial(self._trials[number].set_constraint, constraint, excess))

    def failed(self, number: int, reason: str) -> None:
        """A configuration has no result, for this reason."""
        self._end(number, TrialState.FAIL, reason)

    def _end(self, number: int, state: TrialState, reason: str) -> None:
        self._told(lambda: self._trials[number].set_user_attr(REASON, reason))
        self._told(lambda: self._study.tell(self._trials[number], state=state, skip_if_finished=True))

    def history(self) -> list[Told]:
        """Every configuration so far, in the order of their numbers, without those that are only enqueued."""
        with self._speaking():
            trials = self._study.get_trials(deepcopy=False)
        return [as_told(t) for t in trials if t.state != TrialState.WAITING and DROPPED not in t.user_attrs]

    def waiting(self) -> int:
        """How many starting points have not had their turn."""
        with self._speaking():
            return len(self._study.get_trials(False, (TrialState.WAITING,)))

    def keep(self) -> None:
        """Return once everything that was suggested and told would survive the death of this process."""
        if self._behind is not None:
            self._behind.flush()

    def close(self) -> None:
        """Write everything and close the storage."""
        if self._behind is not None:
            self._behind.close()
        close(self._storage)

    def importances(self) -> dict[str, float]:
        """Dimension to its part in reaching the best tenth, adding up to 1 (PED-ANOVA); empty before ten results."""
        with self._speaking():
            return importances_of(self._study)

    def _told(self, call: Callable[[], Found]) -> Found | None:
        """What a call returns; it is repeated for a while if the storage does not answer, longer if its disk is full.

        None if another machine has told the configuration's outcome already: two may take up what a dead one left.
        """
        begin = time.monotonic()
        while True:
            try:
                return call()
            except optuna.exceptions.UpdateFinishedTrialError:
                if not self.is_shared:
                    raise
                return None
            except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
                if time.monotonic() - begin > (_ROOM if is_full(error) else _PATIENCE):
                    with self._speaking():
                        raise
                time.sleep(0.5)

    def _write_out(self, write: Callable[[], object]) -> None:
        """Like `_told`; any other error means that another program has changed the file."""
        try:
            self._told(write)
        except UserError:
            raise
        except Exception as error:
            with self._speaking():
                raise optuna.exceptions.StorageInternalError(f"changed meanwhile: {error}") from None

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Inside, errors of the storage become UserErrors."""
        try:
            yield
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError) as error:
            if is_full(error):
                place = shown_storage(self.url)
                raise UserError(f"no space left for the search's storage at {place}; make room there") from error
            cause = error.__cause__ or error
            if isinstance(cause, ModuleNotFoundError):
                what = "; ".join(without_driver(cause))
                raise UserError(f"the search's storage at {shown_storage(self.url)}: {what}") from error
            said = " ".join(str(getattr(cause, "orig", None) or cause).split())
            reason = said.replace(self.url, shown_storage(self.url))[:160]
            raise UserError(
                f"the search's storage at {shown_storage(self.url)} can't be used: {reason}; expected a database that "
                f"answers (ABLATE_OPTUNA_STORAGE names another)"
            ) from error
