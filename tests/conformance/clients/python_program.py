"""Uses the Python client as its documentation does: one request a line (JSON), answered by one line each."""

import base64
import json
import sys
import threading

from kubernetes import client
from kubernetes.stream import portforward, stream

WRITING = threading.Lock()


def core_api(request):
    configuration = client.Configuration()
    configuration.host = request["server"]
    configuration.ssl_ca_cert = request["caFile"]
    configuration.api_key["authorization"] = "Bearer " + request["token"]
    return client.CoreV1Api(client.ApiClient(configuration))


def run_exec(request):
    stdin = request.get("stdin")
    tty = request.get("tty", False)
    options = {"container": request["container"]} if "container" in request else {}
    session = stream(
        core_api(request).connect_get_namespaced_pod_exec,
        request["pod"],
        "default",
        command=request["argv"],
        stdin=stdin is not None,
        stdout=True,
        stderr=not tty,
        tty=tty,
        binary=True,
        _preload_content=False,
        **options,
    )
    if stdin is not None:
        session.write_stdin(base64.b64decode(stdin))
    session.run_forever(timeout=15)
    outputs = {"stdout": session.read_stdout(), "stderr": session.read_stderr()}
    status = session.peek_channel(3)
    try:
        code = session.returncode
    except (ValueError, KeyError, TypeError) as failure:  # the library expects an exit code in every failure
        code, outputs["status"] = None, status
    session.close()
    return {"code": code, "outputs": {name: encoded(value) for name, value in outputs.items()}}


def run_forward(request):
    payload = base64.b64decode(request["bytes"])
    forwarded = portforward(
        core_api(request).connect_get_namespaced_pod_portforward,
        request["pod"],
        "default",
        ports=",".join(str(port) for port in request["ports"]),
    )
    outputs = {}
    for port in request["ports"]:
        connection = forwarded.socket(port)
        connection.setblocking(True)
        connection.settimeout(10)
        sender = threading.Thread(target=connection.sendall, args=(payload,), daemon=True)
        sender.start()
        received = bytearray()
        while len(received) < len(payload):
            try:
                chunk = connection.recv(65536)
            except OSError:
                break
            if not chunk:
                break
            received += chunk
        outputs[f"port {port}"] = encoded(bytes(received))
        error = forwarded.error(port)
        if error:
            outputs[f"error of port {port}"] = encoded(error)
    forwarded.close()
    return {"outputs": outputs}


def encoded(value):
    data = value.encode() if isinstance(value, str) else bytes(value)
    return base64.b64encode(data).decode()


def describe(failure):
    """A refusal without its headers, among which are a date and an id."""
    reason = str(getattr(failure, "reason", failure)).split(" -+-+- ")
    body = getattr(failure, "body", None)
    parts = [reason[0], *([reason[-1]] if len(reason) > 2 else []), *([str(body)] if body else [])]
    return f"{type(failure).__name__} {getattr(failure, 'status', '')}: {' '.join(parts)}"


def answer(line):
    request = json.loads(line)
    try:
        reply = {"exec": run_exec, "forward": run_forward}[request["verb"]](request)
    except Exception as failure:  # whatever the library throws is what its user sees
        reply = {"error": describe(failure)}
    with WRITING:
        print(json.dumps({"id": request["id"], **reply}), flush=True)


for each in sys.stdin:
    threading.Thread(target=answer, args=(each,), daemon=True).start()
