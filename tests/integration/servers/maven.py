"""Servers of the Java world: their jars, fetched by Maven once and kept below `~/.cache/sap_llm`.

Belongs here: getting jars, and the command that runs a main class given as source. Servers are modules of their own.
"""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.integration.servers.process import unavailable

CACHE = Path.home() / ".cache" / "sap_llm"
_FETCH_SECONDS = 600

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>server</artifactId><version>1</version>
<dependencies><dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>
<version>{version}</version></dependency></dependencies></project>
"""


def jars(name: str, *, group: str, artifact: str, version: str) -> Path:
    """Folder with an artifact and all that it needs; the test is skipped where Java or Maven is missing."""
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            unavailable(name, f"{tool} is not installed")
    cache = CACHE / f"{artifact}-{version}"
    if not (cache / "complete").exists():
        cache.mkdir(parents=True, exist_ok=True)
        (cache / "pom.xml").write_text(_POM.format(group=group, artifact=artifact, version=version))
        done = subprocess.run(
            ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={cache / 'lib'}"],
            cwd=cache,
            capture_output=True,
            text=True,
            timeout=_FETCH_SECONDS,
            check=False,
        )
        if done.returncode:
            unavailable(name, f"Maven cannot fetch {artifact}: {(done.stdout + done.stderr)[-500:]}")
        (cache / "complete").touch()
    return cache / "lib"


def java(folder: Path, jars_at: Path, main: str, *arguments: str, options: Iterable[str] = ()) -> list[str]:
    """Command that runs a main class.

    Args:
        folder: Where its source is written to.
        jars_at: Folder of the jars.
        main: Java source of one public class.
        arguments: Of the class.
        options: Of the virtual machine.
    """
    name = main.partition("public class ")[2].partition(" ")[0]
    file = folder / f"{name}.java"
    file.write_text(main)
    return ["java", *options, "-cp", f"{jars_at}/*", str(file), *arguments]
