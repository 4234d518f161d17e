"""Which schedule a resumed run follows: that of its config, whatever the checkpoint was trained by.

MMEngine takes the schedulers of the checkpoint as they are, with their length and rate, and so a
resumed run of more iterations would stay at the rate that the old one ended with.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from casvit_mm.errors import InputError, first_names

__all__ = ['ResumedScheduleHook', 'check_length']

# What changes in a scheduler while it runs; all else of it is what the config asked for.
_PROGRESS = {
    'last_step',
    '_global_step',
    '_last_value',
    *('best', 'num_bad_epochs', 'cooldown_counter'),  # of ReduceOnPlateauLR
}


def check_length(cfg: Config, content: dict[str, Any], path: str) -> list[str]:
    """Compare the length of a run with where its checkpoint is; return notes for the log.

    Raises:
        InputError: If the checkpoint is beyond the end of the run.
    """
    meta = content.get('meta', {})
    begun = content['message_hub'].get('runtime_info', {}).get('batches_done', 0)
    for unit, key in (('epoch', 'max_epochs'), ('iter', 'max_iters')):
        end, done = cfg.train_cfg.get(key), meta.get(unit)
        if end is None or done is None:
            continue
        name = dict(epoch='epoch', iter='iteration')[unit]
        if done > end or (unit == 'epoch' and done == end and begun):
            raise InputError(
                f'--resume: {path} is {"in" if begun else "at the end of"} {name} '
                f'{done + bool(begun and unit == "epoch")}, and this run ends after {end} '
                f'(train_cfg.{key}). Ask for more, or name an earlier checkpoint.'
            )
        if done == end:
            return [f'--resume: {path} is the end of this run, {name} {end}: nothing is trained']
    return []


@HOOKS.register_module()
class ResumedScheduleHook(Hook):
    """Follow the schedule of the config from the resumed step on, where the checkpoint's differs.

    The rates are then those that a run by the new config would have had at that step. Where the
    schedules are the same, the checkpoint's state is taken as it is.
    """

    _begin: list[tuple[Any, list[dict]]] | None = None  # optimizers, their groups at step 0
    _changes = ''

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the schedulers that the config gave if those of the checkpoint are others.

        Raises:
            InputError: If the new schedule follows from validations that were not made by it.
        """
        if not runner._resume:
            return
        own, stored = _listed(runner.param_schedulers), _listed(checkpoint.get('param_schedulers'))
        changes = _changes(own, stored) if own or stored else _other_rates(runner, checkpoint)
        if not changes:
            return
        self._changes = first_names(changes, 4)
        if any(getattr(scheduler, 'need_val_args', False) for scheduler in own):
            raise InputError(
                '--resume: the schedule of this config is not that of the checkpoint '
                f'({self._changes}), and what it would be now depends on validations of the past. '
                'Go on by the schedule of the checkpoint, or start anew from its weights: '
                '--finetune CKPT'
            )
        checkpoint.pop('param_schedulers', None)
        names = _scheduled(own)
        self._begin = [
            (optimizer, [{k: group[k] for k in names & set(group)} for group in groups])
            for optimizer, groups in _optimizers(runner)
        ]

    def before_train(self, runner: Runner) -> None:
        """Bring the schedulers of the config to the resumed step."""
        if self._begin is None:
            return
        for optimizer, at_begin in self._begin:
            for group, values in zip(optimizer.param_groups, at_begin, strict=True):
                group.update(values)
        _advance(_listed(runner.param_schedulers), list(_steps_done(runner)))
        self._begin = None
        rates = {name: rate[0] for name, rate in runner.optim_wrapper.get_lr().items()}
        runner.logger.info(
            'the schedule of this config is not that of the checkpoint and is followed from here '
            f'on: {self._changes}; now ' + ', '.join(f'{k} {v:g}' for k, v in rates.items())
        )


def _listed(schedulers: Any) -> list[Any]:
    """Return the schedulers of one optimizer, or of several by name, as one list."""
    if isinstance(schedulers, dict):
        return [scheduler for part in schedulers.values() for scheduler in part]
    return list(schedulers or ())


def _optimizers(runner: Runner) -> Iterator[tuple[Any, list[dict]]]:
    wrapper: Any = runner.optim_wrapper
    for part in wrapper.values() if isinstance(wrapper, dict) else [wrapper]:
        yield part, part.param_groups


def _changes(own: list[Any], stored: list[dict]) -> list[str]:
    """Return what differs between the schedulers of a config and the states of a checkpoint's."""
    changes = []
    if len(own) != len(stored):
        changes.append(f'{len(stored)} -> {len(own)} schedulers')
    for scheduler, old in zip(own, stored, strict=False):
        new, kind = scheduler.state_dict(), type(scheduler).__name__
        for key in [*new, *(key for key in old if key not in new)]:
            if key not in _PROGRESS and new.get(key) != old.get(key):
                changes.append(f'{kind} {key} {_short(old.get(key))} -> {_short(new.get(key))}')
    return changes


def _short(value: Any) -> Any:
    """Return a value for a message; of those of all groups of parameters, the last is the base."""
    return f'{value[-1]:g}' if isinstance(value, list) and value else value


def _other_rates(runner: Runner, checkpoint: dict) -> list[str]:
    """Return how a constant rate differs from that of the checkpoint."""
    groups = checkpoint['optimizer'].get('param_groups', ())
    pairs = zip((g['lr'] for _, part in _optimizers(runner) for g in part), groups, strict=False)
    return [f'lr {old["lr"]:g} -> {new:g}' for new, old in pairs if new != old['lr']][:1]


def _scheduled(schedulers: list[Any]) -> set[str]:
    """Return the keys of a group of parameters that belong to the schedule."""
    names = {'lr', *(scheduler.param_name for scheduler in schedulers)}
    keys = {prefix + name for name in names for prefix in ('', 'initial_', 'max_', 'min_')}
    return keys | ({'betas'} if 'momentum' in names else set())


def _steps_done(runner: Runner) -> Iterator[tuple[int, bool]]:
    """Yield iterations that were trained, and whether an epoch ended with them."""
    if not isinstance(runner.train_loop, EpochBasedTrainLoop):
        yield runner.iter, False
        return
    length = len(runner.train_dataloader)
    for _ in range(runner.epoch):
        yield length, True
    # As the loop goes on: after the same share of the epoch.
    hub = runner.message_hub
    begun = hub.get_info('batches_done', 0)
    yield begun * length // (hub.get_info('epoch_batches') or length), False


class _Groups:
    """What schedulers change, in the place of an optimizer: one of each kind of group."""

    def __init__(self, optimizer: Any, names: set[str]) -> None:
        self.groups = optimizer.param_groups
        kinds = [tuple(sorted((k, v) for k, v in g.items() if k in names)) for g in self.groups]
        distinct = list(dict.fromkeys(kinds))
        self.kind_of = [distinct.index(kind) for kind in kinds]
        self.first = [kinds.index(kind) for kind in distinct]
        self.param_groups = [
            {k: v for k, v in self.groups[i].items() if k != 'params'} for i in self.first
        ]
        self._global_step = 0  # asked by schedulers, as is _with_counter

    def step(self) -> None:
        pass

    step._with_counter = True  # type: ignore[attr-defined]


def _advance(schedulers: list[Any], steps: list[tuple[int, bool]]) -> None:
    """Bring schedulers, and the optimizers that they change, from step 0 to after ``steps``.

    A rate follows from the one before it, so each step is made; but with one group of parameters
    of each kind, where a model may have hundreds.
    """
    names = _scheduled(schedulers)
    groups: dict[int, _Groups] = {}
    twins = []
    for scheduler in schedulers:
        key = id(scheduler.optimizer)
        groups[key] = groups.get(key) or _Groups(scheduler.optimizer, names)
        twin = copy.copy(scheduler)
        twin.optimizer = groups[key]
        twin.base_values = [scheduler.base_values[i] for i in groups[key].first]
        twins.append(twin)
    for iterations, epoch_ends in steps:
        for _ in range(iterations):
            for twin in twins:
                if not twin.by_epoch:
                    twin.step()
        for twin in twins:
            if twin.by_epoch and epoch_ends:
                twin.step()
    for part in groups.values():
        for group, kind in zip(part.groups, part.kind_of, strict=True):
            group.update({k: part.param_groups[kind][k] for k in names & set(group)})
    for scheduler, twin in zip(schedulers, twins, strict=True):
        scheduler.last_step, scheduler._global_step = twin.last_step, twin._global_step
        name, whole = scheduler.param_name, scheduler.optimizer.param_groups
        scheduler._last_value = [group[name] for group in whole]
