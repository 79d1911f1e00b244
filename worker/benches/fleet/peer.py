"""The same trivial clip jobs through Celery: the peer of `make bench-fleet`.

Same broker and the same Redis, JSON messages with the same contents, a chord (a group and a callback over all
results). Set up as Celery's own guides recommend for many short tasks: a large prefetch, no rate limits, no events, no
gossip, mingle or heartbeat, and the `solo` pool, which passes nothing between processes; a worker more is a process
more, as with ours. Tasks are acknowledged after their result is stored, as ours are. The queue is a quorum queue.

Two runs: publishing that waits for the broker's confirms, as ours does, and publishing that waits for nothing.

    PEER_BROKER=… PEER_BACKEND=… PEER_CONFIRMS=yes|no peer.py JOBS_FILE ROUNDS WORKERS...

One line of JSON per number of workers, with the best of the rounds.
"""

import json
import os
import subprocess
import sys
import time

from celery import Celery, chord, group

confirms = os.environ["PEER_CONFIRMS"] == "yes"
app = Celery("peer", broker=os.environ["PEER_BROKER"], backend=os.environ["PEER_BACKEND"])
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    task_ignore_result=False,
    task_default_delivery_mode="persistent",
    task_default_queue="peer",
    task_default_queue_type="quorum",
    broker_transport_options={"confirm_publish": confirms},
    worker_prefetch_multiplier=256,
    worker_concurrency=1,
    worker_disable_rate_limits=True,
    result_expires=600,
)


@app.task(name="judge")
def judge(job):
    """Says that the clip is missing, as our worker does for an empty bucket."""
    return {
        "interval": job["interval"],
        "hotkey": job["hotkey"],
        "row": job["row"],
        "verdict": ["missing_clip", "missing_first_frame"],
    }


@app.task(name="gather")
def gather(reports):
    return len(reports)


def start(count):
    command = [sys.executable, "-m", "celery", "-A", "peer", "worker", "--pool", "solo", "-l", "ERROR",
               "--without-gossip", "--without-mingle", "--without-heartbeat"]
    here = os.path.dirname(os.path.abspath(__file__))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    workers = [subprocess.Popen([*command, "-n", f"peer{n}@local"], cwd=here, **quiet) for n in range(count)]
    deadline = time.monotonic() + 120
    while len(app.control.ping(timeout=1.0) or []) < count:
        if time.monotonic() > deadline:
            raise SystemExit("the workers of Celery did not come up")
    return workers


def stop(workers):
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait()


def once(jobs):
    began = time.perf_counter()
    outcome = chord(group(judge.s(job) for job in jobs))(gather.s())
    published = time.perf_counter()
    assert outcome.get(timeout=600) == len(jobs)
    ended = time.perf_counter()
    return {"end_to_end": len(jobs) / (ended - began), "publish": len(jobs) / (published - began)}


def measure(jobs, count, rounds):
    workers = start(count)
    try:
        once(jobs[:50])  # Whatever is set up at the first use is not measured.
        best = max((once(jobs) for _ in range(rounds)), key=lambda rates: rates["end_to_end"])
    finally:
        stop(workers)
    return {"workers": count, **best}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        jobs = [json.loads(line) for line in file]
    for count in map(int, sys.argv[3:]):
        print(json.dumps(measure(jobs, count, int(sys.argv[2]))), flush=True)


if __name__ == "__main__":
    main()
