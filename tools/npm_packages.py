"""The npm packages of docs/package.json, which the website is built with."""

import shutil
import subprocess
from pathlib import Path

NO_NPM = (
    "The site's scripts come from npm packages, but npm was not found: install Node.js with npm "
    "(Debian, Ubuntu: apt-get install nodejs npm)."
)


class SiteError(Exception):
    """The site cannot be built; the message says why."""


def install_packages(root: Path) -> Path:
    """Install the npm packages of docs/package-lock.json, once; return their folder."""
    folder = root / "build" / "npm"
    wanted = [root / "docs" / name for name in ("package.json", "package-lock.json")]
    stamp, state = folder / "installed", "".join(path.read_text("utf-8") for path in wanted)
    if not stamp.is_file() or stamp.read_text("utf-8") != state:
        npm = shutil.which("npm")
        if npm is None:
            raise SiteError(NO_NPM)
        folder.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        for path in wanted:
            shutil.copy(path, folder)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        if subprocess.run(command, cwd=folder).returncode:
            raise SiteError("npm could not install the packages of docs/package-lock.json")
        stamp.write_text(state, "utf-8")
    return folder / "node_modules"
