"""A container engine as far as Rehearsal sees one: a client in the foreground, and a process that is not of its family."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

place, does = sys.argv[1], sys.argv[2]


def client():
    engine = socket.socket(socket.AF_UNIX)
    engine.connect(place)
    socket.send_fds(engine, [json.dumps([does, os.getcwd()] + sys.argv[3:]).encode()], [0, 1, 2])
    # Nothing of the pipes stays here: they are the container's.
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    sys.exit(int(engine.recv(64) or b"125"))


def serve(connection, running):
    words, fds, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    does, folder, name, *command = json.loads(words)
    if does == "kill":
        container = running.get(name)
        if container is None:
            connection.sendall(b"1")
            return
        os.killpg(container.pid, signal.SIGKILL)
        container.wait()
        connection.sendall(b"0")
        return
    stdin, stdout, stderr = fds
    # Of what the client has in its environment nothing comes along.
    container = subprocess.Popen(
        command, cwd=folder, env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}, stdin=stdin, stdout=stdout, stderr=stderr,
        start_new_session=True,
    )
    running[name] = container
    for fd in fds:
        os.close(fd)
    with open(place + ".log", "a") as log:
        log.write(f"{name} {container.pid}\n")
    code = container.wait()
    try:
        connection.sendall(str(code if code >= 0 else 128 - code).encode())
    except OSError:
        pass


def handle(connection, running):
    with connection:
        serve(connection, running)


if does == "daemon":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(16)
    print("ready", flush=True)
    running = {}
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=handle, args=(connection, running), daemon=True).start()
else:
    client()
