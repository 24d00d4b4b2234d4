"""Rank numbers, command lines, environments."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from services.worker import launch
from services.worker.allocation import Allocation, Rendezvous
from services.worker.launch import Command, Place
from shared.config.launcher import Launcher
from shared.errors import Rejected
from shared.events import GangMember, Slot, SlotKind
from shared.ids import AgentId, AllocationId, ExperimentId, TrialId

CPU = Slot(number=0, kind=SlotKind.CPU, name="cpu")
LOOPBACK = Rendezvous(address="127.0.0.1", port=4711)


def gpu(number: int) -> Slot:
    return Slot(number=number, kind=SlotKind.CUDA, name="H200", device_uuid=f"GPU-{number}")


def test_ranks_are_numbered_over_members_in_order() -> None:
    allocation = Allocation(
        allocation_id=AllocationId("e-1-a1"),
        trial_id=TrialId("e-1"),
        experiment_id=ExperimentId("e"),
        epoch=1,
        seq=1,
        members=(
            GangMember(agent_id=AgentId("a"), incarnation="1", slots=(3, 1)),
            GangMember(agent_id=AgentId("b"), incarnation="1", slots=(0, 2, 1)),
        ),
        experiment=None,
        trial=None,
    )
    slots = {number: gpu(number) for number in range(4)}
    place = launch.place_of(allocation, AgentId("b"), slots)
    assert (place.ranks, place.world_size, [slot.number for slot in place.slots]) == (range(2, 5), 5, [0, 2, 1])


@pytest.mark.parametrize(
    ("entrypoint", "argv"),
    [
        ("python main.py --lr 0.1", ("main.py", "--lr", "0.1")),
        ("python3 -u main.py 'two words'", ("main.py", "two words")),
        ("python -m package.train x", ("-m", "package.train", "x")),
        (("python", "main.py", "a b"), ("main.py", "a b")),
    ],
)
def test_plain_python_is_forked(entrypoint: str | tuple[str, ...], argv: tuple[str, ...]) -> None:
    assert launch.command(entrypoint, {}, may_fork=True) == Command(argv=argv, warm=True)


@pytest.mark.parametrize(
    ("entrypoint", "argv"),
    [
        ("bash run.sh", ("bash", "run.sh")),
        ("python -c 'print(1)'", (sys.executable, "-c", "print(1)")),
        ("python -O main.py", (sys.executable, "-O", "main.py")),
        ("python -m", (sys.executable, "-m")),
        ("python", (sys.executable,)),
    ],
)
def test_anything_else_is_executed(entrypoint: str, argv: tuple[str, ...]) -> None:
    assert launch.command(entrypoint, {}, may_fork=True) == Command(argv=argv, warm=False)


def test_what_only_a_new_interpreter_sees_is_executed() -> None:
    assert not launch.command("python main.py", {}, may_fork=False).warm
    assert not launch.command("python main.py", {"PYTHONHASHSEED": "0"}, may_fork=True).warm
    assert not launch.command("python main.py", {"OMP_NUM_THREADS": "many"}, may_fork=True).warm
    assert launch.command("python main.py", {"OMP_NUM_THREADS": "2", "GREETING": "x"}, may_fork=True).warm


@pytest.mark.parametrize("entrypoint", ["python 'main.py", "", "  "])
def test_an_entrypoint_without_words_is_rejected(entrypoint: str) -> None:
    with pytest.raises(Rejected, match="entrypoint"):
        launch.command(entrypoint, {}, may_fork=True)


def test_ranks_inherit_nothing_of_the_platforms_settings() -> None:
    secrets = {"TM_NATS_URL": "nats://secret"} | {
        f"OTEL_EXPORTER_OTLP_{signal}HEADERS": "authorization=Bearer secret"
        for signal in ("", "TRACES_", "METRICS_", "LOGS_")
    }
    collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    base = launch.base_environment({"HOME": "/home/x", "PATH": "/bin"} | collector | secrets, Path("/var/a1"))
    assert base["HOME"] == "/home/x"
    assert base["PATH"].endswith(":/bin") and base["PATH"].startswith(str(sys.executable).rpartition("/")[0])
    assert collector.items() <= base.items() and "secret" not in str(base)
    assert [name for name in base if name.startswith("TM_")] == ["TM_AGENT_DIRECTORY"]


def test_a_cpu_rank_computes_with_one_thread_unless_the_user_says_otherwise() -> None:
    place = Place(first_rank=2, world_size=4, slots=(CPU, CPU))
    environment = launch.environment(
        {}, {"OMP_NUM_THREADS": "2", "RANK": "99"}, place, 3, LOOPBACK, {"TM_TRIAL_ID": "t"}
    )
    assert environment == {
        "PYTHONUNBUFFERED": "1", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "2", "GLOO_SOCKET_IFNAME": "lo",
        "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "4711",
        "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0", "TM_TRIAL_ID": "t",
    }  # fmt: skip


def test_a_plain_script_is_told_nothing_of_ranks() -> None:
    place = Place(first_rank=0, world_size=1, slots=(CPU,))
    environment = launch.environment({}, {}, place, 0, LOOPBACK, {"TM_TRIAL_ID": "t"}, Launcher.PLAIN)
    assert environment == {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "TM_TRIAL_ID": "t"}


def test_a_torch_script_finds_its_place_and_no_deepspeed_settings() -> None:
    place = Place(first_rank=0, world_size=2, slots=(CPU, CPU))
    environment = launch.environment({}, {}, place, 1, LOOPBACK, {}, Launcher.TORCH)
    assert {"RANK": "1", "WORLD_SIZE": "2", "MASTER_PORT": "4711"}.items() <= environment.items()
    assert "DS_ACCELERATOR" not in environment


def test_a_gpu_rank_sees_the_gpus_of_its_agents_share() -> None:
    place = Place(first_rank=0, world_size=2, slots=(gpu(3), gpu(1)))
    environment = launch.environment({}, {}, place, 0, Rendezvous(address="10.0.0.1", port=1), {})
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-3,GPU-1"
    assert not {"DS_ACCELERATOR", "OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME"} & environment.keys()


def test_processors_are_given_to_slots_in_turn() -> None:
    place = Place(first_rank=4, world_size=8, slots=tuple(Slot(number=n, kind=SlotKind.CPU, name="") for n in (1, 3)))
    assert launch.cpus_of(place, 4, None, range(8)) is None
    assert launch.cpus_of(place, 4, 2, range(8)) == (2, 3)
    assert launch.cpus_of(place, 5, 2, range(8)) == (6, 7)
    assert launch.cpus_of(place, 5, 2, [0, 5]) == (0, 5)
    assert launch.cpus_of(place, 4, 9, [0, 5]) == (0, 5)
    assert launch.cpus_of(replace(place, slots=()), 4, 2, range(8)) is None


def test_a_single_rank_hosts_its_own_store() -> None:
    environment = launch.environment({}, {}, Place(first_rank=0, world_size=1, slots=(CPU,)), 0, LOOPBACK, {})
    assert "TORCHELASTIC_USE_AGENT_STORE" not in environment


def test_a_plain_script_finds_its_hyperparameters_unless_they_are_huge() -> None:
    assert launch.told_to_plain_scripts({"lr": 0.1}) == {"TM_HYPERPARAMETERS": '{"lr": 0.1}'}
    assert launch.told_to_plain_scripts({"x": "y" * launch.MAX_VARIABLE_BYTES}) == {}


def test_ranks_talk_through_the_interface_that_has_the_agents_address() -> None:
    assert launch.interface_variables("127.0.0.1") == {}
    assert launch.interface_variables("203.0.113.1") == {}
