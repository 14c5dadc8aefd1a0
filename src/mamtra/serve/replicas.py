"""`mamtra serve --ray`: replicas of the server on one machine or many, behind the proxy of Ray Serve.

Every replica is a process with the whole server (`mamtra.serve.app`) and a model of its own. Ray Serve gives a request to the
less busy of two replicas drawn at random, starts more of them while texts or their bytes do not fit (`mamtra.serve.scaling`), and
replaces one that dies or cannot speak.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import ValidationError

from mamtra.errors import MamTraError
from mamtra.runtime.arguments import checked
from mamtra.runtime.optional import need
from mamtra.runtime.ray_cluster import HERE, join_cluster
from mamtra.runtime.strict_models import first_problem
from mamtra.serve.keys import environment_keys
from mamtra.serve.scaling import POLICY
from mamtra.serve.settings import ServeSettings

NAME = "mamtra"
"""Of the application in Ray Serve."""
INSTALL = "'mamtra[serve,ray]'"

log = logging.getLogger("mamtra.serve")


class Replicas(NamedTuple):
    """How many there are, and what each has to itself.

    Attributes:
        least: that run always.
        most: that run while what is asked for does not fit into fewer.
        cpus: reserved for each.
        gpus: reserved for each; a fraction where several share one.
        patience: seconds that more must be needed until there are more; 20 times as long for fewer.
    """

    least: int = 1
    most: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    patience: float = 30.0

    @classmethod
    def parse(cls, text: str, gpus: float = 0.0) -> Replicas:
        """From ``N`` or ``LEAST-MOST``.

        Raises:
            MamTraError: it is neither.
        """
        first, sign, last = text.partition("-")
        if not (first.isascii() and first.isdigit() and (not sign or (last.isascii() and last.isdigit()))):
            raise MamTraError(f"--replicas {text} is no number of replicas; use N, or LEAST-MOST such as 1-4.")
        least, most = int(first), int(last or first)
        if not 1 <= least <= most <= 1000:
            raise MamTraError(f"--replicas {text} is out of range; use 1 to 1000, the smaller number first.")
        return cls(least, most, gpus=gpus)


class ModelPlace(NamedTuple):
    """What a replica loads; a directory has to be at the same path on every machine.

    Attributes:
        name: model directory or name; None for the embedded voice.
        runtime: ``onnx``, ``torch``, or None for what `mamtra.tts.load` chooses.
        device: such as ``cuda``; None for the best one.
        dtype: as in `mamtra.tts.load`, by name.
        flow_steps: as in `mamtra.tts.load`.
        flow_history: as in `mamtra.tts.load`.
    """

    name: str | None = None
    runtime: str | None = None
    device: str | None = None
    dtype: str | None = None
    flow_steps: int | None = None
    flow_history: int | None = None


@checked
def serve_replicas(
    model: ModelPlace | None = None,
    settings: ServeSettings | None = None,
    replicas: Replicas | None = None,
    address: str = HERE,
) -> None:
    """Serve until SIGTERM or Ctrl-C; texts that are being spoken then may end.

    Args:
        model: what to load.
        settings: of each replica; `streams` and `waiting` are for each too.
        replicas: how many.
        address: ``local``, ``auto`` for the cluster that this machine is part of, or ``HOST:PORT``.

    Raises:
        MamTraError: it would be open to everybody, a library is missing, no cluster answers, or no replica starts.
    """
    told = threading.Event()
    cluster = _join(settings, address)
    # after Ray, which has handlers of its own for them
    earlier = {sig: signal.signal(sig, lambda *_: told.set()) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        stop = _deploy(cluster, model, settings, replicas)
        told.wait()
        stop()
    finally:
        for sig, handler in earlier.items():
            signal.signal(sig, handler)


def start_replicas(
    model: ModelPlace | None = None,
    settings: ServeSettings | None = None,
    replicas: Replicas | None = None,
    address: str = HERE,
) -> Callable[[], None]:
    """Start as `serve_replicas` does, and return once all replicas are warm.

    Returns:
        Ends them, and the Ray that was started here.

    Raises:
        MamTraError: see `serve_replicas`.
    """
    return _deploy(_join(settings, address), model, settings, replicas)


class _Cluster(NamedTuple):
    """Ray, and whether it was started here."""

    ray: Any
    serve: Any
    own: bool

    def leave(self) -> None:
        """End the application."""
        self.serve.shutdown()
        if self.own:
            self.ray.shutdown()


def _join(settings: ServeSettings | None, address: str) -> _Cluster:
    settings = settings or ServeSettings()
    settings.check_reach()
    if settings.wyoming_port is not None:
        raise MamTraError("Wyoming is served by one process; leave --wyoming or --ray out.")
    for module in ("fastapi", "ray", "ray.serve"):
        need(module, "--ray", INSTALL)
    import ray
    from ray import serve

    return _Cluster(ray, serve, join_cluster(ray, address))


def _deploy(
    cluster: _Cluster, model: ModelPlace | None, settings: ServeSettings | None, replicas: Replicas | None
) -> Callable[[], None]:
    settings, replicas, serve = settings or ServeSettings(), replicas or Replicas(), cluster.serve
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        serve.start(http_options={"host": settings.host, "port": settings.port, "keep_alive_timeout_s": 75})
        serve.run(_bound(serve, model or ModelPlace(), settings, replicas), name=NAME, route_prefix="/")
    except Exception as error:
        reason = _reason(serve) or str(error).strip().splitlines()[-1]
        cluster.leave()
        raise MamTraError(f"No replica could start: {reason[:500]}") from error
    log.info("%d to %d replicas at %s:%d.", replicas.least, replicas.most, settings.host, settings.port)
    return cluster.leave


def _reason(serve: Any) -> str | None:
    """What the replicas died of: the last error in words of this package, out of the traces that Ray Serve keeps."""
    application = serve.status().applications.get(NAME)
    traces = [each.message for each in application.deployments.values()] if application else []
    found = re.findall(rf"{MamTraError.__name__}: (.+)", "\n".join(traces))
    return found[-1] if found else None


class Replica:
    """What Ray Serve asks of a replica beside answering requests."""

    app: Any

    def check_health(self) -> None:
        """Called every few seconds; a replica that raises is replaced.

        Raises:
            RuntimeError: it cannot speak.
        """
        if not self.app.state.speaker.ready:
            raise RuntimeError("The model cannot speak.")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Called every few seconds, see `mamtra.serve.admission.Admission.load`."""
        return self.app.state.speaker.admission.load()


def application(arguments: dict[str, Any]) -> Any:
    """The application for a configuration file of Ray Serve, as ``import_path: mamtra.serve.replicas:application``.

    Args:
        arguments: under ``args`` of the file: what `ModelPlace` has; all
            others are settings of `mamtra.serve.settings.ServeSettings`, with ``host`` 0.0.0.0 by default. A key is taken from
            ``MAMTRA_API_KEY``.

    Raises:
        MamTraError: a setting is unknown or wrong, or everybody would be let in.
    """
    from ray import serve

    place = ModelPlace(**{name: arguments.get(name) for name in ModelPlace._fields})
    given = {name: value for name, value in arguments.items() if name not in ModelPlace._fields}
    try:
        settings = ServeSettings(**{"host": "0.0.0.0", "keys": environment_keys(), **given})
    except ValidationError as error:
        raise MamTraError(f"The application's args: {first_problem(error)}.") from error
    settings.check_reach()
    return _bound(serve, place, settings, Replicas())


def _bound(serve: Any, model: ModelPlace, settings: ServeSettings, replicas: Replicas) -> Any:
    deployment = serve.deployment(serve.ingress(_app_builder(model, settings))(Replica))
    return deployment.options(**_options(settings, replicas)).bind()


def _options(settings: ServeSettings, replicas: Replicas) -> dict[str, Any]:
    """Of the deployment."""
    number: dict[str, Any] = {"num_replicas": replicas.least}
    if replicas.most > replicas.least:
        number = {
            "autoscaling_config": {
                "min_replicas": replicas.least,
                "max_replicas": replicas.most,
                "target_ongoing_requests": settings.streams,
                "look_back_period_s": max(11.0, replicas.patience),  # Ray wants more than the 10 s of its own interval
                "upscale_delay_s": replicas.patience,
                "downscale_delay_s": 20 * replicas.patience,
                "policy": {"policy_function": POLICY},
            }
        }
    return {
        **number,
        "name": NAME,
        # beyond these a replica would answer that it is full while another one is free
        "max_ongoing_requests": settings.streams + settings.waiting,
        "health_check_period_s": 5,
        "health_check_timeout_s": 30,
        "graceful_shutdown_timeout_s": settings.drain_seconds,
        "ray_actor_options": {"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
    }


def _app_builder(model: ModelPlace, settings: ServeSettings) -> Any:
    def build() -> Any:
        from mamtra.serve.app import create_app
        from mamtra.tts import load

        options = model._asdict()
        app = create_app(load(options.pop("name"), **options), settings, warm_up=False)
        app.state.speaker.warm_up()  # a replica gets requests once it is built
        return app

    return build
