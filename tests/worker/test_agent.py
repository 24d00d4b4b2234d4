"""An agent's whole way with a trial: a real broker, a real object store, real processes, made-up services around it."""

import asyncio
import json
import os
import signal
from pathlib import Path

from services.worker import checkpoints
from services.worker.patience import Patience
from shared import objectstore, tracing
from shared.events import (
    AgentJoined,
    AgentLeft,
    AgentLost,
    CheckpointRefused,
    CheckpointSaved,
    GPUAllocated,
    MetricReported,
    Outcome,
    PreemptionReason,
    PreemptionRequested,
    TrialExited,
    TrialPreempted,
    TrialStarted,
)
from shared.ids import AllocationId, CheckpointId, ExperimentId, TrialId
from tests.support.eventually import eventually
from tests.support.fixtures import on_each_store
from tests.worker.cluster import AGENT, POOL, Cluster
from tests.worker.scripts import script


async def test_a_trial_runs_to_its_end_and_every_event_says_what_caused_it(tm: Cluster) -> None:
    await tm.submit(script('say("validation", step=3, metrics={"loss": 0.5})\nsay("bye", outcome="completed", step=3)'))
    async with tm.agent():
        await tm.allocate()
        exited = await tm.wait_for(TrialExited)
    assert (exited.outcome, exited.exit_code, exited.error) == (Outcome.COMPLETED, 0, None)
    allocated, started = tm.recorded_of(GPUAllocated), tm.recorded_of(TrialStarted)
    assert started.envelope.causes == (allocated.seq,)
    assert tm.recorded_of(MetricReported).envelope.causes == (started.seq,)
    assert tm.recorded_of(TrialExited).envelope.causes == (started.seq,)
    assert tm.events(MetricReported)[0].metrics == {"loss": 0.5}


async def test_a_rank_sees_its_place_its_settings_and_none_of_ours(tm: Cluster) -> None:
    body = """
welcome.pop("checkpoint_directory")
names = "RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR OMP_NUM_THREADS GREETING".split()
print(json.dumps({"environment": {name: os.environ[name] for name in names}, "argv": sys.argv, "cwd": os.listdir(),
    "platform": [name for name in os.environ if name.startswith("TM_")], "welcome": welcome,
    "modules": [name for name in sys.modules if name.startswith(("services", "shared"))]}))
"""
    more = "environment: {environment_variables: [GREETING=hello]}"
    await tm.submit(script(body), entrypoint="\"python main.py --flag 'two words'\"", more=more)
    async with tm.agent():
        allocation_id = await tm.allocate()
        _, stream, line = await tm.wait_for_line("environment")
    seen = json.loads(line)
    assert stream == "stdout"
    assert seen["environment"] == {
        "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1",
        "GREETING": "hello",
    }  # fmt: skip
    assert seen["argv"] == ["main.py", "--flag", "two words"]
    assert sorted(seen["cwd"])[-2:] == ["main.py", "talk.py"]
    assert sorted(seen["platform"]) == [
        "TM_AGENT_DIRECTORY",
        "TM_EXPERIMENT_ID",
        "TM_HYPERPARAMETERS",
        "TM_SOCKET",
        "TM_TRIAL_ID",
    ]
    assert seen["modules"] == []
    assert seen["welcome"] == {
        "type": "welcome", "trial_id": "exp-1", "experiment_id": "exp", "allocation_id": allocation_id, "index": 1,
        "hyperparameters": {"lr": 0.1}, "seed": 7, "max_length": {"unit": "batches", "count": 10},
        "may_continue": False,
        "records_per_epoch": 0, "deepspeed": None, "rank": 0, "world_size": 1, "local_rank": 0, "local_world_size": 1,
        "resume": None, "checkpoint_policy": "best", "metric": "loss", "smaller_is_better": True,
        "stall_timeout_s": 1800,
    }  # fmt: skip


async def test_a_program_that_is_no_python_script_runs_too(tm: Cluster) -> None:
    await tm.submit({"run.sh": "echo cold $RANK; exit 3\n"}, entrypoint="[bash, run.sh]")
    async with tm.agent():
        await tm.allocate()
        exited = await tm.wait_for(TrialExited)
    assert not tm.events(TrialStarted)[0].warm
    assert (exited.outcome, exited.exit_code) == (Outcome.FAILED, 3)
    assert exited.error == "rank 0 exited with code 3"


async def test_a_trial_and_what_is_said_of_it_belong_to_the_trace_of_its_allocation(tm: Cluster) -> None:
    await tm.submit({"run.sh": "echo traced $TRACEPARENT\n"}, entrypoint="[bash, run.sh]")
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with tm.agent():
        with tracing.span("a decision", traceparent):
            await tm.allocate()
        await tm.wait_for(TrialExited)
        assert (await tm.wait_for_line("traced"))[2] == f"traced {traceparent}"
    for kind in (GPUAllocated, TrialStarted, TrialExited):
        assert tm.recorded_of(kind).envelope.traceparent == traceparent
    assert tm.recorded_of(AgentJoined).envelope.traceparent is None


async def test_a_crash_is_told_with_its_traceback(tm: Cluster) -> None:
    await tm.submit({"main.py": "def train():\n    raise ValueError('no such layer')\n\ntrain()\n"})
    async with tm.agent():
        await tm.allocate()
        exited = await tm.wait_for(TrialExited)
    assert (exited.outcome, exited.exit_code) == (Outcome.FAILED, 1)
    assert exited.error is not None
    lines = exited.error.splitlines()
    assert lines[0] == "rank 0 exited with code 1"
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: no such layer"
    assert "zygote" not in exited.error and "runpy" not in exited.error
    assert [line for line in tm.lines if "no such layer" in line[2]] == [
        (0, "stderr", "    raise ValueError('no such layer')"),
        (0, "stderr", "ValueError: no such layer"),
    ]
    assert [line for line in tm.lines if line[1] == "agent"] == [(0, "agent", "rank 0 exited with code 1")]


async def test_a_failing_rank_ends_the_others_and_is_the_cause(tm: Cluster) -> None:
    body = """
if RANK == 1:
    sys.exit("rank one is the culprit")
signal.pause()
"""
    await tm.submit(script(body), slots=2)
    async with tm.agent():
        await tm.allocate((AGENT, (0, 1)))
        exited = await tm.wait_for(TrialExited)
    assert exited.error == "rank 1 exited with code 1\nrank one is the culprit"


async def test_a_rank_killed_by_a_signal_says_so(tm: Cluster) -> None:
    await tm.submit(script("os.kill(os.getpid(), signal.SIGKILL)"))
    async with tm.agent():
        await tm.allocate()
        exited = await tm.wait_for(TrialExited)
    assert (exited.outcome, exited.exit_code) == (Outcome.FAILED, -9)
    assert exited.error is not None and exited.error.startswith("rank 0 was killed by signal 9 (SIGKILL)")


@on_each_store
async def test_a_preempted_trial_saves_stops_and_resumes_where_it_was(tm: Cluster) -> None:
    body = """
if welcome["resume"]:
    print("resumed", open(os.path.join(welcome["resume"]["directory"], "weights")).read(), welcome["resume"]["step"])
    say("bye", outcome="completed", step=5)
    sys.exit()
print("training")
hear("stop")
save(5, weights="w5")
hear("checkpoint_stored")
say("bye", outcome="preempted", step=5)
"""
    await tm.submit(script(body))
    async with tm.agent():
        first = await tm.allocate()
        await tm.wait_for_line("training")
        await tm.preempt(first)
        preempted = await tm.wait_for(TrialPreempted)
        assert preempted.step == 5
        asked = tm.recorded_of(PreemptionRequested).seq
        assert tm.recorded_of(TrialPreempted).envelope.causes == (tm.recorded_of(TrialStarted).seq, asked)
        await tm.release(first)
        await tm.allocate()
        exited = await tm.wait_for(TrialExited)
    (saved,) = tm.events(CheckpointSaved)
    assert (saved.checkpoint_id, saved.step, saved.world_size, saved.zero_stage) == (f"{first}-s5", 5, 1, 1)
    manifest = json.loads(await tm.store.get(objectstore.manifest_key(saved.checkpoint_id)))
    assert [file["path"] for file in manifest["files"]] == ["weights"] == [file.path for file in saved.files]
    assert exited.outcome is Outcome.COMPLETED
    assert tm.events(TrialStarted)[1].resumed_from == saved.checkpoint_id
    assert await tm.wait_for_line("resumed w5 5") == (0, "stdout", "resumed w5 5")


@on_each_store
async def test_a_broken_checkpoint_is_said_and_the_one_before_it_used(tm: Cluster) -> None:
    body = """
if welcome["resume"]:
    print("resumed", welcome["resume"]["step"])
    sys.exit()
for step in (1, 2):
    save(step, weights=str(step))
    hear("checkpoint_stored")
os.kill(os.getpid(), signal.SIGKILL)
"""
    await tm.submit(script(body))
    async with tm.agent():
        first = await tm.allocate()
        await tm.wait_for(TrialExited)
        await tm.release(first)
        await tm.store.put(objectstore.checkpoint_key(tm.events(CheckpointSaved)[1].checkpoint_id, "weights"), b"9")
        await tm.allocate()
        await tm.wait_for_line("resumed 1")
    assert (await tm.wait_for_line(f"checkpoint {first}-s2 cannot be used: weights is damaged"))[:2] == (0, "agent")
    refused = await tm.wait_for(CheckpointRefused)
    assert (refused.checkpoint_id, refused.step, refused.reason) == (f"{first}-s2", 2, "weights is damaged")
    assert tm.recorded_of(CheckpointRefused).envelope.causes == (
        [recorded.seq for recorded in tm.recorded if isinstance(recorded.event, CheckpointSaved)][1],
        tm.recorded_of(GPUAllocated).seq,
    )


@on_each_store
async def test_an_experiment_may_start_from_a_checkpoint_of_another(tm: Cluster) -> None:
    other = tm.directory / "other"
    other.mkdir()
    (other / "weights").write_text("w7")
    files = await checkpoints.upload(tm.store, CheckpointId("old-1-a1-s7"), other, Patience(print))
    saved = CheckpointSaved(
        trial_id=TrialId("old-1"), experiment_id=ExperimentId("old"), allocation_id=AllocationId("old-1-a1"), epoch=1,
        agent_id=AGENT, checkpoint_id=CheckpointId("old-1-a1-s7"), step=7, world_size=4, zero_stage=3, files=files,
    )  # fmt: skip
    await checkpoints.write_manifest(tm.store, saved, Patience(print))
    body = """
resume = welcome["resume"]
print("from", resume["step"], resume["world_size"], open(os.path.join(resume["directory"], "weights")).read())
print("warm start:", resume["is_warm_start"])
"""
    await tm.submit(script(body), more="resume_from: old-1-a1-s7")
    async with tm.agent():
        first = await tm.allocate()
        await tm.wait_for_line("from 7 4 w7")
        await tm.wait_for_line("warm start: True")
        await tm.wait_for(TrialExited)
        await tm.release(first)
        await tm.store.put(objectstore.checkpoint_key(saved.checkpoint_id, "weights"), b"9")
        await tm.allocate()
        exited = await tm.wait_for(TrialExited, 2)
    assert tm.events(TrialStarted)[0].resumed_from == "old-1-a1-s7"
    assert exited.outcome is Outcome.FAILED
    assert "resume_from names checkpoint old-1-a1-s7, which cannot be used: weights is damaged" in (exited.error or "")


@on_each_store
async def test_an_upload_in_flight_is_finished_before_the_exit_is_reported(tm: Cluster) -> None:
    await tm.submit(script('save(4, weights="w" * 1000000)\nsay("bye", outcome="completed", step=4)'))
    async with tm.agent():
        await tm.allocate()
        await tm.wait_for(TrialExited)
    names = [recorded.envelope.name for recorded in tm.recorded]
    assert names.index("CheckpointSaved") < names.index("TrialExited")


async def test_a_checkpoint_outside_its_directory_fails_the_trial(tm: Cluster) -> None:
    await tm.submit(script('say("checkpoint", step=1, directory="/etc", zero_stage=None)\nsignal.pause()'))
    async with tm.agent():
        await tm.allocate()
        exited = await tm.wait_for(TrialExited)
    assert exited.outcome is Outcome.FAILED
    assert exited.error is not None and "lies in /etc; it must be a directory inside" in exited.error
    assert not tm.events(CheckpointSaved)


async def test_a_trial_that_does_not_stop_in_time_is_killed(tm: Cluster) -> None:
    await tm.submit(script('print("up")\nhear("stop")\nwhile True: signal.pause()'))
    async with tm.agent():
        allocation_id = await tm.allocate()
        await tm.wait_for_line("up")
        await tm.preempt(allocation_id, timeout_s=0.3)
        preempted = await tm.wait_for(TrialPreempted)
    assert preempted.step is None
    assert (await tm.wait_for_line("killed: still running 0.3 s after it was asked to stop"))[:2] == (0, "agent")


async def test_a_program_that_does_not_talk_gets_sigterm(tm: Cluster) -> None:
    await tm.submit({"main.py": "import time\nprint('up')\ntime.sleep(1000)"})
    async with tm.agent():
        allocation_id = await tm.allocate()
        await tm.wait_for_line("up")
        await tm.preempt(allocation_id)
        await tm.wait_for(TrialPreempted)


async def test_a_rank_that_is_asked_to_stop_after_its_bye_may_end_its_work(tm: Cluster, tmp_path: Path) -> None:
    told = tmp_path / "told"
    body = f"""
say("bye", outcome="completed", step=3)
connection.close()
print("parted")
while not os.path.exists("{told}"):
    time.sleep(0.01)
print("exported")
"""
    await tm.submit(script(body))
    async with tm.agent():
        allocation_id = await tm.allocate()
        await tm.wait_for_line("parted")
        await tm.preempt(allocation_id)
        await tm.wait_for_line("asked to stop: ")
        told.touch()
        assert (await tm.wait_for(TrialExited)).outcome is Outcome.COMPLETED
        assert await tm.wait_for_line("exported") == (0, "stdout", "exported")


async def test_when_an_agent_of_the_gang_is_lost_its_ranks_are_killed_at_once(tm: Cluster) -> None:
    await tm.submit(script('print("up")\nsignal.pause()'))
    async with tm.agent():
        allocation_id = await tm.allocate()
        await tm.wait_for_line("up")
        await tm.preempt(allocation_id, reason=PreemptionReason.AGENT_LOST)
        assert (await tm.wait_for(TrialPreempted)).step is None


async def test_missing_code_fails_the_trial_with_the_reason(tm: Cluster) -> None:
    await tm.submit({"main.py": ""}, store_code=False)
    async with tm.agent():
        await tm.allocate()
        exited = await tm.wait_for(TrialExited)
    assert exited.outcome is Outcome.FAILED
    assert exited.error is not None and exited.error.endswith("is not in the object store")
    assert not tm.events(TrialStarted)


async def test_metrics_that_are_not_finite_are_said_and_left_out(tm: Cluster) -> None:
    body = """
infinite, nan = float("inf"), float("nan")
say("metrics", points=[[1, time.time(), {"loss": 1.5, "norm": infinite}], [2, nan, {"loss": nan}]])
say("validation", step=2, metrics={"loss": float("nan")})
say("validation", step=3, metrics={"loss": 0.25, "accuracy": float("-inf")})
"""
    await tm.submit(script(body))
    async with tm.agent():
        await tm.allocate()
        await tm.wait_for(TrialExited)
        await eventually(lambda: tm.points)
    assert [(event.step, event.metrics, event.not_finite) for event in tm.events(MetricReported)] == [
        (2, {}, ("loss",)),
        (3, {"loss": 0.25}, ("accuracy",)),
    ]
    assert [(point.step, point.values) for point in tm.points] == [(1, {"loss": 1.5})]
    assert (await tm.wait_for_line("at step 3 these metrics are not finite and were left out: accuracy"))[:2] == (
        0,
        "agent",
    )


async def test_nothing_is_lost_while_the_broker_is_killed_and_comes_back(tm: Cluster) -> None:
    body = """
for step in range(60):
    say("validation", step=step, metrics={"loss": float(step)})
    say("metrics", points=[[step, time.time(), {"rate": 0.5}]])
    print("line", step)
    if step == 20:
        save(step, weights="w")
        hear("checkpoint_stored")
    if step in (5, 40):
        print("now", step)
    time.sleep(0.02)
say("bye", outcome="completed", step=60)
"""
    await tm.submit(script(body))
    async with tm.agent():
        await tm.allocate()
        for step in (5, 40):
            await tm.wait_for_line(f"now {step}")
            tm.nats.server.kill()
            tm.nats.server.start()
        exited = await tm.wait_for(TrialExited, timeout_s=40)
        await eventually(lambda: len(tm.points) >= 60)
        await tm.wait_for_line("line 59")
    assert exited.outcome is Outcome.COMPLETED
    assert [event.step for event in tm.events(MetricReported)] == list(range(60))
    assert [point.step for point in tm.points] == list(range(60))
    assert [text for _, _, text in tm.lines if text.startswith("line")] == [f"line {step}" for step in range(60)]
    assert len(tm.events(CheckpointSaved)) == 1


async def test_an_interrupted_trial_is_not_called_failed_and_the_next_one_runs(tm: Cluster) -> None:
    await tm.submit(script('print("parent", os.getppid())\nif welcome["allocation_id"].endswith("a1"): signal.pause()'))
    async with tm.agent():
        first = await tm.allocate()
        _, _, line = await tm.wait_for_line("parent")
        os.kill(int(line.split()[1]), signal.SIGKILL)
        assert (await tm.wait_for(TrialExited)).outcome is Outcome.INTERRUPTED
        await tm.release(first)
        await tm.allocate()
        assert (await tm.wait_for(TrialExited, 2)).outcome is Outcome.COMPLETED


async def test_an_agent_that_leaves_lets_its_trials_save_first(tm: Cluster) -> None:
    body = """
print("training")
hear("stop")
save(9, weights="w9")
hear("checkpoint_stored")
say("bye", outcome="preempted", step=9)
"""
    await tm.submit(script(body))
    async with tm.agent():
        await tm.allocate()
        await tm.wait_for_line("training")
    await tm.wait_for(AgentLeft)
    names = [recorded.envelope.name for recorded in tm.recorded]
    assert names[-3:] == ["CheckpointSaved", "TrialPreempted", "AgentLeft"]


async def test_an_agent_that_leaves_waits_for_its_trials_as_long_as_it_is_told_and_no_longer(tm: Cluster) -> None:
    await tm.submit(script('print("training")\nhear("stop")\nsignal.pause()'))
    async with tm.agent(stop_grace_s=0.5):
        await tm.allocate()
        await tm.wait_for_line("training")
    await tm.wait_for(AgentLeft)
    assert (await tm.wait_for_line("killed: still running"))[2].startswith("killed: still running 0.5 s after")
    assert [recorded.envelope.name for recorded in tm.recorded][-2:] == ["TrialPreempted", "AgentLeft"]


async def test_a_lost_agent_kills_what_is_void_and_joins_again(tm: Cluster) -> None:
    await tm.submit(script('print("pid", os.getpid())\nsignal.pause()'))
    async with tm.agent():
        await tm.allocate()
        _, _, line = await tm.wait_for_line("pid")
        first = await tm.joined(AGENT)
        await tm.say("scheduler", AgentLost(pool_id=POOL, agent_id=AGENT, incarnation=first.incarnation, silent_s=11.0))
        second = await tm.wait_for(AgentJoined, 2)
        assert second.incarnation != first.incarnation
        assert not is_alive(int(line.split()[1]))
    assert not tm.events(TrialExited) and not tm.events(TrialPreempted)


async def test_a_task_without_slots_runs_as_one_process_that_sees_no_gpu(tm: Cluster) -> None:
    body = 'print("ranks", os.environ["WORLD_SIZE"], "devices", repr(os.environ.get("CUDA_VISIBLE_DEVICES")))'
    await tm.submit(script(body), slots=0)
    async with tm.agent():
        await tm.allocate((AGENT, ()))
        _, _, line = await tm.wait_for_line("ranks")
        assert line == "ranks 1 devices ''"
        assert (await tm.wait_for(TrialExited)).outcome is Outcome.COMPLETED


async def test_what_the_log_says_twice_is_done_once(tm: Cluster) -> None:
    await tm.submit(script('print("up")'))
    async with tm.agent():
        await tm.allocate()
        await tm.wait_for(TrialExited)
    async with tm.agent():  # a new incarnation reads the whole log again
        await tm.wait_for(AgentJoined, 2)
        await eventually(lambda: tm.recorded[-1].envelope.name == "AgentJoined")
    assert len(tm.events(TrialStarted)) == 1


async def test_kill_9_of_the_agent_ends_everything_that_it_started(tm: Cluster, tmp_path: Path) -> None:
    body = """
child = os.fork()
if child == 0:
    signal.pause()
print("pids", os.getppid(), os.getpid(), child)
signal.pause()
"""
    await tm.submit(script(body), entrypoint="[python, -B, main.py]")
    process = await asyncio.create_subprocess_exec(
        *tm.light_agent(), env=tm.environment(), stdout=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    await tm.allocate()
    _, _, line = await tm.wait_for_line("pids")
    process.kill()
    await process.wait()
    pids = [int(word) for word in line.split()[1:]]
    await eventually(lambda: not any(map(is_alive, pids)))
    async with tm.agent():
        await tm.wait_for(AgentJoined, 2)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
