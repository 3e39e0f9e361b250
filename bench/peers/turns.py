"""Candidates that take turns: each is a process of its own that answers `run N` with N wall times; only one computes at a
time. `spatialmamba bench --interactive` speaks the same language: one line of JSON when ready, a list for each `run N`,
and after `end` an object with the peak memory."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any


def peak_rss_mb() -> float:
    """Of this process since its exec. (`ru_maxrss` starts at the parent's.)"""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def serve(step: Callable[[], object], ready: dict[str, Any]) -> None:
    """The child's side."""
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        match line.split():
            case ["run", count]:
                print(json.dumps([timed(step) for _ in range(int(count))]), flush=True)
            case ["end"]:
                print(json.dumps({"peak_rss_mb": peak_rss_mb()}), flush=True)
                break


def timed(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def processor_seconds(pid: int) -> float:
    """What all threads of a process have used. Unlike wall time it hardly suffers from a busy machine; with one thread
    it is what a run takes on a quiet one. With several it holds what they spin while they wait for each other."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) * 1e-9


class Candidate:
    """The parent's side."""

    def __init__(self, name: str, command: Sequence[str], **popen: Any):
        self.name = name
        self.seconds = list[float]()  # of every run
        self.processor = list[float]()  # mean of every burst
        self.peak_rss_mb = float("nan")
        start = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **popen)
        self.ready = self.read()
        self.start_s = time.perf_counter() - start

    def read(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, line: str) -> Any:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.read()

    def run(self, count: int = 1) -> list[float]:
        return self.ask(f"run {count}")

    def measure(self, count: int) -> None:
        before = processor_seconds(self.process.pid)
        self.seconds += self.run(count)
        self.processor.append((processor_seconds(self.process.pid) - before) / count)

    def finish(self) -> None:
        self.peak_rss_mb = self.ask("end")["peak_rss_mb"]
        self.process.wait()

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def busy_processors(sample_s: float = 0.05) -> float:
    """How many processors others use now, processes of lowered priority left out."""

    def ticks() -> int:
        user, _, system = pathlib.Path("/proc/stat").read_text().split()[1:4]
        return int(user) + int(system)

    before = ticks()
    time.sleep(sample_s)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / sample_s


def wait_for_quiet(at_most_s: float) -> None:
    """Returns when nobody else computes, or after `at_most_s`. The first sample also lets the threads of the candidate
    before fall asleep."""
    end = time.perf_counter() + at_most_s
    while busy_processors() > 0.25 and time.perf_counter() < end:
        pass


def take_turns(candidates: Sequence[Candidate], burst_s: float, total_s: float, patience_s: float = 1.0) -> None:
    """A B C ... A B C ..., each for about `burst_s`, until about `total_s` have passed; at least three rounds. The first
    run of a burst finds another candidate's data in the caches and is not counted where a burst holds several."""
    counts = {c.name: max(1, round(burst_s / min(c.run(2)))) for c in candidates}
    end = time.perf_counter() + total_s
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        for candidate in candidates:
            wait_for_quiet(patience_s)
            if counts[candidate.name] > 1:
                candidate.run()
            candidate.measure(counts[candidate.name])
        rounds += 1
