"""Whether workers die on whatever they are given, rather than on some of the trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from orchestrator.scheduling.work_queue import WorkQueue


class CircuitBreaker:
    """Counts the trials that cost workers until they were given up on, with nothing done between.

    A trial that kills its worker and a worker that dies of itself look the same. What tells them
    apart is that somebody does a chunk in between, so that ends the count. ``enough`` in a row, 8
    by default, prove that it is the workers. Each of them has cost ``attempts`` workers, 4 by
    default, so at least 32 were lost in a row. And before each is given up on, up to ``enough``
    chunks that nobody had tried before are lost too, most of them single trials from the other end
    of the group. So poisonous trials prove nothing, however many lie side by side, as long as
    others of their group can be done. With one worker it takes about 90 losses, with many
    somewhat more, since they are lost together.

    Two cases are no proof, however many are in a row:

    - Nothing fresh is left in the group. At the end of a campaign with many poisonous trials what
      waits is just these. Going on splits them down to the last; they can only become fewer.
    - Nothing of the group was ever done, though workers are well: its layer needs more than they
      have. Such a layer comes after all others and is hopeless after ``enough`` trials. It failed
      before others were done, or is new and one of few: there may be one such layer, or one for
      every four of which something was done. More layers that begin to fail together are proof.

    Earlier runs count as far as they have done trials of a group. A run that stops has given up on
    ``enough`` trials at least, so that the next one does not begin at the same ones.

    Args:
        groups: The work.
        enough: Trials.
    """

    def __init__(self, groups: Sequence[WorkQueue], enough: int) -> None:
        self._groups = groups
        self._open = {index for index, group in enumerate(groups) if group.waiting}
        self._enough = enough
        self._killed: Counter[int] = Counter()
        self._failing: set[int] = set()
        self._bad: set[int] = set()

    def opened(self, index: int) -> None:
        """Note that a group has work, which may have had none at first."""
        self._open.add(index)

    def done(self) -> None:
        """Note that a chunk was done, so that workers are well."""
        self._killed.clear()
        self._bad |= self._failing
        self._failing.clear()

    def failed(self, index: int) -> None:
        """Note that a chunk of a group failed."""
        self._failing.add(index)

    def killed(self, index: int) -> bool:
        """Note that a trial of a group cost workers and was given up on; return what is proved."""
        self._killed[index] += 1
        return self._killed.total() >= self._enough and (
            self._too_many_layers() or self._too_many_trials(index)
        )

    def _too_many_layers(self) -> bool:
        known = sum(group.any_done for group in self._groups)
        new = sum(
            not self._groups[index].any_done for index in self._open if index not in self._bad
        )
        return not known or new > max(1, known // 4)

    def _too_many_trials(self, index: int) -> bool:
        group = self._groups[index]
        return self._killed[index] >= self._enough and group.any_done and group.has_fresh
