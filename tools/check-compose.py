"""Checks a compose file where no docker compose is at hand: YAML, references between services, volumes and mounted files."""

import pathlib
import sys

import yaml

path = pathlib.Path(sys.argv[1])
compose = yaml.safe_load(path.read_text())
services = compose["services"]
conditions = {"service_started", "service_healthy", "service_completed_successfully"}
faults = []

for name, service in services.items():
    if "image" not in service and "build" not in service:
        faults.append(f"{name}: neither image nor build")
    for other, how in (service.get("depends_on") or {}).items():
        if other not in services:
            faults.append(f"{name}: depends on {other}, which does not exist")
        elif how["condition"] not in conditions:
            faults.append(f"{name}: unknown condition {how['condition']}")
        elif how["condition"] == "service_healthy" and "healthcheck" not in services[other]:
            faults.append(f"{name}: waits for {other} to be healthy, which has no healthcheck")
        elif how["condition"] == "service_completed_successfully" and services[other].get("restart") in ("always", "unless-stopped"):
            faults.append(f"{name}: waits for {other} to complete, which is restarted for ever")
    for volume in service.get("volumes") or []:
        source = volume.split(":")[0]
        if source.startswith("."):
            if not (path.parent / source).exists():
                faults.append(f"{name}: mounts {source}, which does not exist")
        elif source not in (compose.get("volumes") or {}):
            faults.append(f"{name}: mounts the volume {source}, which is not declared")
    for port in service.get("ports") or []:
        if not str(port).startswith("127.0.0.1:"):
            faults.append(f"{name}: publishes {port} beyond this host")
    command = service.get("command")
    if isinstance(command, list) and len(command) > 1 and command[0] == "node" and not (path.parent / command[1]).exists():
        faults.append(f"{name}: runs {command[1]}, which does not exist")

print("\n".join(faults) if faults else f"{path}: {len(services)} services, no fault")
sys.exit(1 if faults else 0)
