"""Timing the sides against each other: alternated, repeated, minimum as location.

Noise only adds time, so the minimum of repetitions locates a side (BenchmarkTools.jl); both sides
are timed in turn, so that what drifts drifts for both. A spin probe between the rounds sees a busy
machine.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import repeat
from types import FunctionType
from typing import Any, NamedTuple

from fast_axolotl.dispatch.policy import RUST, THREADS, Sizes

from .fit import Point

# Times a number of calls: nanoseconds for all of them.
Timer = Callable[[int], float]

# A probe or a measurement that got less of a core than this shared it with somebody.
_SHARE = 0.85
# A probe this much slower than the fastest one was disturbed. Less is everyday on a virtual
# machine, where the other half of a core may belong to somebody else, and hits both sides alike.
_SLOWER = 2.5
# A machine is too noisy where more than this part of the probes was disturbed.
_DISTURBED = 0.5
# The part of the passes that count where several threads are timed.
_QUIET = 0.5
# Seconds between the calls of a real program, in which the pool falls asleep.
_ASLEEP = 0.001


class BusyError(Exception):
    """The machine is too busy to measure on."""


class Case(NamedTuple):
    """One size of one cell, ready to be timed.

    Attributes:
        cell: name of the cell.
        sizes: rows, elements, elements of the result.
        role: what the point will be used for.
        timers: implementation -> timer; several threads are timed apart, by `Asleep`.
    """

    cell: str
    sizes: Sizes
    role: str
    timers: dict[str, Timer]


def timer(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Timer:
    """Return what times a number of calls of a function, the results freed within the loop."""
    timed = _maker(len(args), tuple(kwargs))(function, *args, *kwargs.values())
    # With code of its own: the interpreter adapts a call to what it calls, as in a real program.
    code = timed.__code__.replace()
    return FunctionType(code, timed.__globals__, closure=timed.__closure__)


@cache
def _maker(count: int, keywords: tuple[str, ...]) -> Callable[..., FunctionType]:
    # Compiled for the call as a caller writes it: packing arguments would cost as much as the call.
    names = [f"a{i}" for i in range(count)]
    given = [f"k{i}" for i in range(len(keywords))]
    arguments = names + [f"{name}={value}" for name, value in zip(keywords, given)]
    source = (
        f"def make({', '.join(['function', *names, *given])}):\n"
        "    def time_calls(number):\n"
        "        begin = clock()\n"
        "        for _ in repeat(None, number):\n"
        f"            function({', '.join(arguments)})\n"
        "        return clock() - begin\n"
        "    return time_calls\n"
    )
    scope: dict[str, Any] = {"clock": time.perf_counter_ns, "repeat": repeat}
    exec(compile(source, "<calibration>", "exec"), scope)
    return scope["make"]  # type: ignore[no-any-return]


class Probe:
    """Watches for others on this machine while something is measured.

    A probe spins for about a millisecond. It is disturbed when it was off the core for part of
    that time, or ran slower than the fastest probe.
    """

    def __init__(self, spin: Callable[[], tuple[float, float]] | None = None) -> None:
        self._spin = spin or _spin
        self._times: list[float] = []
        self._shares: list[float] = []
        self._again = 0

    def look(self) -> bool:
        """Probe once; true where the machine is quiet."""
        wall, cpu = self._spin()
        self._times.append(wall)
        self._shares.append(cpu / wall if wall else 1.0)
        return self._quiet(-1)

    def watched(self, wall: float, cpu: float) -> bool:
        """Note how much of a core a measurement got; true where it was quiet."""
        self._times.append(min(self._times, default=0.0))
        self._shares.append(cpu / wall if wall > 0 else 1.0)
        return self._quiet(-1)

    def patience(self) -> int:
        """Return 1 where a round is to be done again, 0 where that was done often enough."""
        self._again += 1
        return int(self._again <= 20)

    def _quiet(self, i: int) -> bool:
        return self._shares[i] >= _SHARE and self._times[i] <= min(self._times) * _SLOWER

    @property
    def disturbed(self) -> float:
        """The part of the probes that was disturbed."""
        count = len(self._times)
        return sum(not self._quiet(i) for i in range(count)) / count if count else 0.0

    @property
    def share(self) -> float:
        """The mean part of a core that this process got."""
        return sum(self._shares) / len(self._shares) if self._shares else 1.0

    def check(self, least: int = 40) -> None:
        """Stop where the machine is too busy.

        Args:
            least: observations that it takes to say so.

        Raises:
            BusyError: it is.
        """
        if len(self._times) >= least and (self.disturbed > _DISTURBED or self.share < 0.8):
            raise BusyError(
                f"the machine is busy: {self.disturbed:.0%} of the probes were disturbed, this "
                f"process got {self.share:.0%} of a core"
            )


def _spin() -> tuple[float, float]:
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    total = 0
    for i in range(15_000):
        total += i
    return float(time.perf_counter_ns() - wall), float(time.thread_time_ns() - cpu)


def measure(
    cases: list[Case],
    seconds: float,
    floor: float,
    probe: Probe,
    rounds: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, float]]:
    """Time every side of every case.

    Args:
        cases: what to time.
        seconds: when to stop; twice that where `rounds` rounds take longer.
        floor: nanoseconds that one timing should last, by repetition of the call.
        probe: looked at between rounds.
        rounds: the number of rounds to try for.
        clock: what `seconds` is measured by.

    Returns:
        For each case, the lowest time of each side, in nanoseconds a call.

    Raises:
        BusyError: the machine stays too busy.
    """
    begin = clock()
    best: list[dict[str, float]] = [{} for _ in cases]
    numbers = [_numbers(case, floor, found) for case, found in zip(cases, best)]
    done = turn = 0
    while (
        done == 0
        or (done < rounds and clock() - begin < 2 * seconds)
        or (clock() - begin < seconds and done < 100)
    ):
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        for i, case in enumerate(cases):
            sides = [side for side in case.timers if side != THREADS]
            for side in sides if turn % 2 else reversed(sides):
                number = numbers[i][side]
                best[i][side] = min(best[i][side], case.timers[side](number) / number)
            spent = clock() - begin
            if spent >= seconds and (done >= rounds or (done and spent >= 2 * seconds)):
                break
        quiet = probe.watched(time.perf_counter_ns() - wall, time.thread_time_ns() - cpu)
        if not quiet and not probe.look():
            time.sleep(0.005)  # let a short disturbance pass, and widen
            done -= probe.patience()
        done += 1
        turn += 1
    probe.look()
    probe.check()
    return best


def _numbers(case: Case, floor: float, best: dict[str, float]) -> dict[str, int]:
    numbers = {}
    for side, run in case.timers.items():
        if side == THREADS:
            continue
        once = max(run(1), 1.0)
        if once < 1e6:
            once = max(run(1), 1.0)  # the first call warms up
        best[side] = once
        numbers[side] = max(1, round(floor / once))
    return numbers


class Asleep:
    """Times one thread against several, call by call, each after a time in which the pool sleeps.

    The caller works meanwhile, as a program does between two calls: a caller that slept too would
    wake on whichever core is free, and the pool's threads behind it on the same one. How long they
    take to come differs from call to call, and others on the machine only ever add to it: so the
    minimum locates where several threads cross one, and the median tells what is usual.

    For seconds at a time a virtual machine's second processor may be no help at all, when its host
    has somebody else on it: a probe on one thread does not see that. So the cases are timed in
    passes over all of them, spread over a calibration, and what counts are the passes in which
    several threads did best on the whole.
    """

    def __init__(self, passes: int) -> None:
        """Take the number of passes over all cases that are to be made."""
        self._passes = passes
        self._cases: list[Case] = []
        self._found: list[list[tuple[float, float]]] = []

    def add(self, case: Case) -> int:
        """Add a case, before the first pass; return its number."""
        self._cases.append(case)
        self._found.append([])
        return len(self._cases) - 1

    def advance(self, part: float) -> None:
        """Go on until this part (up to 1) of all passes is made."""
        count = len(self._cases)
        done = sum(map(len, self._found))
        for step in range(done, round(part * count * self._passes)):
            turn, i = divmod(step, count)
            self._cases[i].timers[RUST](1)  # the rows back into the caches, for both
            times = {}
            for side in (RUST, THREADS) if turn % 2 else (THREADS, RUST):
                work_between()
                times[side] = self._cases[i].timers[side](1)
            self._found[i].append((times[RUST], times[THREADS]))

    def go_on(self, until: float) -> None:
        """Make more passes, while this time (of `time.perf_counter`) is not reached."""
        while self._cases and time.perf_counter() < until:
            self._passes += 1
            self.advance(1.0)

    def gains(self) -> list[tuple[float, float]]:
        """Return for each case its time on several threads as a part of that on one.

        Returns:
            For each: the part at best, and the usual part.
        """
        if not self._cases:
            return []
        quiet = self._quiet_passes()
        gains = []
        for found in self._found:
            one, many = zip(*(found[turn] for turn in quiet))
            usual = _median(one)
            gains.append((min(many) / usual, _median(many) / usual))
        return gains

    def _quiet_passes(self) -> list[int]:
        gains = [[many / one for one, many in found] for found in self._found]
        # The longer half of the calls: there several threads tell whether they came at all.
        lengths = [_median([one for one, _ in found]) for found in self._found]
        usual = _median(lengths)
        told = [found for found, length in zip(gains, lengths) if length >= usual]
        scores = [sum(found[turn] for found in told) for turn in range(self._passes)]
        keep = max(min(3, self._passes), round(_QUIET * self._passes))
        return sorted(range(self._passes), key=scores.__getitem__)[:keep]


def _median(values: Sequence[float]) -> float:
    # Of an even number the lower of the two: what disturbs a call makes it longer.
    return sorted(values)[(len(values) - 1) // 2]


def work_between() -> None:
    """Keep this thread, and no other, at work for as long as a pool needs to fall asleep."""
    end = time.perf_counter() + _ASLEEP
    while time.perf_counter() < end:
        pass


def points(cases: list[Case], times: list[dict[str, float]]) -> list[Point]:
    """Return measured cases as points."""
    return [Point(case.sizes, found, case.role) for case, found in zip(cases, times)]
