"""What the trials of these tests run, and how they talk to their agent."""

TALK = """
import json, os, signal, socket, sys, time
import msgpack

RANK = int(os.environ["RANK"])
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["TM_SOCKET"])
unpacker = msgpack.Unpacker()

def say(kind, **fields):
    connection.sendall(msgpack.packb({"type": kind, **fields}))

def hear(kind):
    while True:
        for frame in unpacker:
            assert frame["type"] == kind, frame
            return frame
        received = connection.recv(65536)
        assert received, "the agent hung up"
        unpacker.feed(received)

def save(step, **files):
    directory = os.path.join(welcome["checkpoint_directory"], f"step-{step}")
    os.makedirs(directory, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(directory, name), "w") as file:
            file.write(text)
    say("checkpoint", step=step, directory=directory, zero_stage=1)

say("hello", rank=RANK, pid=os.getpid())
welcome = hear("welcome")
"""


def script(body: str) -> dict[str, str]:
    """Return the code directory of a trial that talks to its agent and then does `body`."""
    return {"talk.py": TALK, "main.py": "from talk import *\n" + body}
