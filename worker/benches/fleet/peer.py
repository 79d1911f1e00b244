"""The same trivial clip jobs through Celery: the peer of `make bench-fleet`.

Same broker and the same Redis, JSON messages with the same contents, a chord (a group and a callback over all
results). Tasks are acknowledged after their result is stored and publishing waits for the broker's confirms, as in
our own queue. Workers use the `solo` pool with a large prefetch, the fastest that Celery has for tasks this small.

    PEER_BROKER=… PEER_BACKEND=… peer.py JOBS_FILE WORKERS...     one line of JSON per number of workers
"""

import json
import os
import subprocess
import sys
import time

from celery import Celery, chord, group

app = Celery("peer", broker=os.environ["PEER_BROKER"], backend=os.environ["PEER_BACKEND"])
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    task_default_delivery_mode="persistent",
    task_default_queue="peer",
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=256,
    worker_concurrency=1,
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


def measure(jobs, count):
    workers = start(count)
    try:
        # Whatever is set up at the first use is not measured.
        chord(group(judge.s(job) for job in jobs[:50]))(gather.s()).get(timeout=120)
        began = time.perf_counter()
        outcome = chord(group(judge.s(job) for job in jobs))(gather.s())
        published = time.perf_counter()
        assert outcome.get(timeout=600) == len(jobs)
        ended = time.perf_counter()
    finally:
        stop(workers)
    return {
        "workers": count,
        "end_to_end": len(jobs) / (ended - began),
        "publish": len(jobs) / (published - began),
    }


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        jobs = [json.loads(line) for line in file]
    for count in map(int, sys.argv[2:]):
        print(json.dumps(measure(jobs, count)), flush=True)


if __name__ == "__main__":
    main()
