"""Not a test: the far end of a Kubernetes client, for TrainJobs: real processes instead of pods.

It speaks the paths of the API that are needed, in JSON as the API writes it, and does what controllers and kubelets do:
a TrainJob becomes one process a node with the variables of Kubeflow Trainer's torch plugin, `$(NAME)` in a command is
replaced, deleting a job sends TERM to its pods and KILL after their grace. It has no scheduler and one host.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlparse

NAMESPACE = "sap-llm"
_JOBS = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs"
_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


@dataclass
class Pod:
    name: str
    labels: dict[str, str]
    process: subprocess.Popen[bytes]
    log: Path
    grace: float


@dataclass
class Cluster:
    """Jobs and their pods; a context that ends with all of them."""

    folder: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                cluster.answer(self, "GET")

            def do_POST(self) -> None:
                cluster.answer(self, "POST")

            def do_DELETE(self) -> None:
                cluster.answer(self, "DELETE")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        for pods in self.pods.values():
            for pod in pods:
                with suppress(ProcessLookupError):
                    os.killpg(pod.process.pid, signal.SIGKILL)
                pod.process.wait()

    def kubeconfig(self) -> Path:
        """As a user has it."""
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        path = self.folder / "kubeconfig"
        named = {"name": "local"}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [named | {"cluster": {"server": url}}],
                    "users": [named | {"user": {}}],
                    "contexts": [named | {"context": {"cluster": "local", "user": "local"}}],
                    "current-context": "local",
                }
            )
        )
        return path

    def answer(self, request: BaseHTTPRequestHandler, method: str) -> None:
        url = urlparse(request.path)
        selector = dict(entry.split("=") for entry in parse_qs(url.query).get("labelSelector", []))
        body = json.loads(request.rfile.read(int(request.headers.get("Content-Length", 0))) or "{}")
        name = url.path.removeprefix(_JOBS).strip("/")
        with self.lock:
            if url.path.startswith(_PODS):
                answer = self._pod_answer(url.path.removeprefix(_PODS).strip("/"), selector)
            elif method == "POST":
                answer = self._create(body)
            elif not name:
                found = [job for job in self.jobs.values() if _matches(job["metadata"]["labels"], selector)]
                answer = 200, {"items": found}
            elif name not in self.jobs:
                answer = 404, {"message": f"trainjobs {name} not found"}
            elif method == "DELETE":
                answer = self.delete(name)
            else:
                answer = 200, self._seen(name)
        status, value = answer
        content = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        request.send_response(status)
        request.send_header("Content-Type", "text/plain" if isinstance(value, str) else "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _create(self, job: dict[str, Any]) -> tuple[int, Any]:
        if job["spec"]["runtimeRef"]["name"] != "sap-llm-torch":
            return 403, {"message": 'admission webhook denied the request: TrainingRuntime "other" not found'}
        name, trainer = job["metadata"]["name"], job["spec"]["trainer"]
        (patched,) = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        template = patched["template"]["spec"]["template"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.jobs[name], self.pods[name] = job, []
        for node in range(trainer["numNodes"]):
            variables = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # as in the image
            variables |= {entry["name"]: entry["value"] for entry in trainer["env"]}
            variables |= {"PET_NODE_RANK": str(node), "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port)}
            command = [re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], part) for part in trainer["command"]]  # noqa: B023
            log = self.folder / f"{name}-{node}.log"
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    command, env={**os.environ, **variables}, stdout=stream, stderr=stream, start_new_session=True
                )
            grace = float(template["spec"]["terminationGracePeriodSeconds"])
            self.pods[name].append(Pod(f"{name}-node-0-{node}", template["metadata"]["labels"], process, log, grace))
        return 201, job

    def _seen(self, name: str) -> dict[str, Any]:
        codes = [pod.process.poll() for pod in self.pods[name]]
        conditions = []
        if any(codes):
            conditions = [{"type": "Failed", "status": "True", "reason": "JobsFailed"}]
        elif all(code == 0 for code in codes):
            conditions = [{"type": "Complete", "status": "True", "reason": "JobsCompleted"}]
        ready = sum(code is None for code in codes)
        jobs = [{"name": "node", "ready": ready, "active": ready, "succeeded": 0, "failed": 0, "suspended": 0}]
        return self.jobs[name] | {"status": {"conditions": conditions, "jobsStatus": jobs}}

    def delete(self, name: str) -> tuple[int, Any]:
        def end() -> None:
            for pod in self.pods[name]:
                with suppress(ProcessLookupError):
                    os.killpg(pod.process.pid, signal.SIGTERM)
            for pod in self.pods[name]:
                try:
                    pod.process.wait(pod.grace)
                except subprocess.TimeoutExpired:
                    with suppress(ProcessLookupError):
                        os.killpg(pod.process.pid, signal.SIGKILL)
                    pod.process.wait()
            time.sleep(0.1)
            with self.lock:
                del self.jobs[name], self.pods[name]

        self.jobs[name]["metadata"]["deletionTimestamp"] = "2026-11-27T06:00:00Z"
        if name not in self.deleted:
            self.deleted.append(name)
            threading.Thread(target=end, daemon=True).start()
        return 200, {"kind": "Status", "status": "Success"}

    def _pod_answer(self, path: str, selector: dict[str, str]) -> tuple[int, Any]:
        pods = [pod for pods in self.pods.values() for pod in pods if _matches(pod.labels, selector)]
        if not path:
            return 200, {"kind": "PodList", "items": [_as_json(pod) for pod in pods]}
        name = path.removesuffix("/log")
        return 200, next(pod.log.read_text() for pod in pods if pod.name == name)


def _as_json(pod: Pod) -> dict[str, Any]:
    code = pod.process.poll()
    state: dict[str, Any] = {"running": {}}
    if code is not None:
        state = {
            "terminated": {"exitCode": code if code >= 0 else 128 - code, "reason": "Error" if code else "Completed"}
        }
    status = {"name": "node", "state": state, "ready": code is None, "restartCount": 0, "image": "", "imageID": ""}
    return {"metadata": {"name": pod.name, "labels": pod.labels}, "status": {"containerStatuses": [status]}}


def _matches(labels: dict[str, str], selector: dict[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in selector.items())
