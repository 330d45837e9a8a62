"""How long to leave drift alone that comes back at once: whoever undoes repairs would be met by a storm of them."""

from __future__ import annotations

_FREE = 4  # repairs of the same thing that cost no pause
_FIRST, _LONGEST = 0.1, 30.0  # seconds
_FORGOTTEN = 2 * _LONGEST
_MERCY = 0.5  # what a repair of something else takes off: changes at random are not somebody's fight


def pause(times: int) -> float:
    """Give the pause after so many failures in a row: from 100 ms to 30 s, doubled each time."""
    return min(_LONGEST, _FIRST * 2 ** min(times - 1, 16)) if times > 0 else 0.0


class Backoff:
    """Counts how often the same thing had to be repaired."""

    def __init__(self) -> None:
        self._scores: dict[str, float] = {}
        self._last = 0.0

    def repaired(self, what: str, now: float) -> float:
        """Note a repair; give the pause before the next one."""
        if now - self._last > _FORGOTTEN:
            self._scores.clear()
        self._last = now
        scores = {key: score if key == what else score - _MERCY for key, score in self._scores.items()}
        scores[what] = scores.get(what, 0.0) + 1
        self._scores = {key: score for key, score in scores.items() if score > 0}
        return pause(int(scores[what]) - _FREE)

    def forget(self) -> None:
        """Begin anew."""
        self._scores.clear()
